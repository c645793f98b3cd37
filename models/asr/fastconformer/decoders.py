"""Which decoder a checkpoint asks for."""

import torch

from models.asr.fastconformer.beam import BeamDecoder
from models.asr.fastconformer.checkpoint import Loaded
from models.asr.fastconformer.ctc import CtcDecoder
from models.asr.fastconformer.decoder import Decoder
from models.asr.fastconformer.transducer import TransducerDecoder
from models.asr.fastconformer.weights import CheckpointError


def make_decoder(loaded: Loaded, capacity: int, dtype: torch.dtype = torch.float32) -> Decoder:
    """For `capacity` streams, with weights in `dtype`: beam search if there is an n-gram model, which wants a CTC head;
    else greedy, of the RNNT head if there is one. Raises CheckpointError.
    """
    network, vocabulary, ngram = loaded
    if ngram is None:
        greedy = CtcDecoder if network.config.rnnt is None else TransducerDecoder
        return greedy(network, capacity, dtype)
    if network.ctc_decoder is None:
        raise CheckpointError("the checkpoint has an n-gram model, which only a CTC head can use, but no such head")
    return BeamDecoder(network, vocabulary, ngram, capacity, dtype)
