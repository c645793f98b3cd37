"""Small networks with random weights, a vocabulary, and plain one-row decoders to compare with."""

import io
import random
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import sentencepiece
import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from models.asr.fastconformer.config import Config, EncoderConfig, RnntConfig
from models.asr.fastconformer.decoder import Heard, Token
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.ngram import Arcs
from models.asr.fastconformer.rnnt import Joint, Prediction
from models.asr.fastconformer.vocabulary import TokenizersVocabulary
from training.asr.ngram import Keys, count, prune, smooth, trie

Stepped = TypeVar("Stepped")
"""What a step gives for a row."""
SENTENCES = [
    "hello world it's a fine day",
    "the quick brown fox jumps over the lazy dog",
    "a new dog in new york city barks at the mayor of york",
]
CASED = ["Hello World, it is 4 o'clock in Zürich.", "The quick brown fox jumps over the lazy dog in New York."]
VOCABULARY = 48
WIDTH = 32
BLANK_BIASES = {"ctc_decoder.decoder_layers.0.bias": 4.0, "joint.joint_net.2.bias": 6.0}
SCALES = {"embed": 2.0, "joint.enc": 0.2, "joint.pred": 0.8}


def vocabulary(size: int = VOCABULARY) -> TokenizersVocabulary:
    """As the recipe makes it: lower-case letters and the apostrophe, with a mark before each word."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[], show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return TokenizersVocabulary(tokenizer)


def arcs(order: int = 3) -> Arcs:
    """An n-gram model of `SENTENCES`."""
    form = Keys(VOCABULARY.bit_length())
    counts = count([vocabulary().encode(sentence) for sentence in SENTENCES], order, VOCABULARY, form)
    return trie(prune(smooth(counts, VOCABULARY, form), counts, [1] * order), VOCABULARY, form)


def sentencepiece_model(size: int = 64, bytes_too: bool = False) -> bytes:
    """A SentencePiece BPE model as NeMo's checkpoints have it, trained on `CASED`."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(CASED),
        model_writer=model,
        vocab_size=size,
        model_type="bpe",
        byte_fallback=bytes_too,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


def network(ctc: bool = True, rnnt: bool = True, layers: int = 2, tokens: int = VOCABULARY) -> FastConformer:
    """Random weights, and the blank about as likely as all tokens together."""
    torch.manual_seed(0)
    encoder = EncoderConfig(layers=2, width=WIDTH, heads=4, feedforward=64, subsampling_channels=8)
    transducer = RnntConfig(prediction_width=24, prediction_layers=layers, joint_width=40, max_symbols=3)
    made = FastConformer(Config(tokens, encoder, ctc=ctc, rnnt=transducer if rnnt else None))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.normal_(std=next((std for part, std in SCALES.items() if part in name), 0.4))
            parameter[-1:] += BLANK_BIASES.get(name, 0.0)
    return made.eval().requires_grad_(False)


def frames(rows: int, count: int, seed: int = 1) -> Tensor:
    """Encoder frames `[rows, count, WIDTH]`; neighbours are alike, as in speech."""
    torch.manual_seed(seed)
    return torch.randn(rows, (count + 1) // 2, WIDTH).repeat_interleave(2, 1)[:, :count]


def ctc_reference(network: FastConformer, encoded: Tensor) -> list[Token]:
    """Greedy CTC of one row `[T, width]`."""
    assert network.ctc_decoder is not None
    tokens, last = [], network.config.blank
    for frame, logits in enumerate(network.ctc_decoder(encoded)):
        token = int(logits.argmax())
        if token not in (network.config.blank, last):
            tokens.append(Token(token, frame, float(logits.log_softmax(-1)[token])))
        last = token
    return tokens


def rnnt_reference(network: FastConformer, encoded: Tensor) -> list[Token]:
    """Greedy RNNT of one row `[T, width]`, frame by frame and symbol by symbol."""
    prediction, joint, rnnt = cast(Prediction, network.decoder), cast(Joint, network.joint), network.config.rnnt
    assert rnnt is not None
    tokens: list[Token] = []
    predicted, state = prediction(torch.tensor([[network.config.blank]]))
    for frame, key in enumerate(encoded):
        for _ in range(rnnt.max_symbols):
            logits = joint(key, predicted[0, 0])
            token = int(logits.argmax())
            if token == network.config.blank:
                break
            tokens.append(Token(token, frame, float(logits.log_softmax(-1)[token])))
            predicted, state = prediction(torch.tensor([[token]]), state)
    return tokens


def certain(heard: Sequence[Heard]) -> list[list[Token]]:
    """The tokens of each row of a decoder that is sure of all."""
    assert not any(row.likely for row in heard)
    return [row.certain for row in heard]


def same(got: Sequence[Token], wanted: Sequence[Token]) -> bool:
    """Equal tokens and frames, and log-probabilities to rounding."""
    return [token[:2] for token in got] == [token[:2] for token in wanted] and all(
        abs(one.logprob - other.logprob) < 1e-4 for one, other in zip(got, wanted, strict=True)
    )


def cuts(total: int, seed: int) -> list[int]:
    """`total` as a sum of chunk sizes."""
    generator = random.Random(seed)
    sizes: list[int] = []
    while sum(sizes) < total:
        sizes.append(min(generator.randint(1, 20), total - sum(sizes)))
    return sizes


def ragged(encoded: Tensor, step: Callable[[Sequence[int], Tensor], Sequence[Stepped]]) -> list[list[Stepped]]:
    """What each row of `[streams, frames, width]` gives step by step, cut elsewhere than the others. A step takes all
    streams that have as much.
    """
    streams, frames, _ = encoded.shape
    sizes = [cuts(frames, seed) for seed in range(streams)]
    parts: list[list[Stepped]] = [[] for _ in range(streams)]
    begun = [0] * streams
    while any(sizes):
        size = next(own[0] for own in sizes if own)
        slots = [slot for slot in reversed(range(streams)) if sizes[slot][:1] == [size]]
        rows = torch.stack([encoded[slot, begun[slot] : begun[slot] + size] for slot in slots])
        for slot, new in zip(slots, step(slots, rows), strict=True):
            parts[slot].append(new)
            begun[slot] += sizes[slot].pop(0)
    return parts
