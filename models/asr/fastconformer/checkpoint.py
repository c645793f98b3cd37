"""Loading checkpoints of three kinds, and saving our own.

- a `.nemo` archive;
- a directory that transformers wrote (`config.json` with a `model_type`);
- our own directory: `model.safetensors` under NeMo's names, `config.json` of `Config`, and a vocabulary.

An n-gram model (`ngram.safetensors`) may lie beside any of them.
"""

from pathlib import Path
from typing import NamedTuple

import msgspec
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.asr.fastconformer import huggingface, nemo, ngram
from models.asr.fastconformer import vocabulary as vocabularies
from models.asr.fastconformer.config import Config
from models.asr.fastconformer.network import FastConformer
from models.asr.fastconformer.ngram import NGram
from models.asr.fastconformer.vocabulary import Vocabulary, VocabularyError
from models.asr.fastconformer.weights import CheckpointError, build, decode_json, read_safetensors

__all__ = ["CheckpointError", "Loaded", "load", "save"]
CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Loaded(NamedTuple):
    """A network for inference, its vocabulary, and the n-gram model beside it, if any."""

    network: FastConformer
    vocabulary: Vocabulary
    ngram: NGram | None


def load(path: Path, dtype: torch.dtype = torch.float32) -> Loaded:
    """Read the checkpoint at `path`, with weights as `dtype`. Raises CheckpointError."""
    try:
        config, weights, vocabulary = _read(path)
    except VocabularyError as error:
        raise CheckpointError(str(error)) from error
    if len(vocabulary) != config.vocabulary:
        raise CheckpointError(f"the tokenizer has {len(vocabulary)} tokens, the network {config.vocabulary}")
    language = ngram.load(path if path.is_dir() else path.parent, len(vocabulary))
    return Loaded(build(config, weights, dtype), vocabulary, language)


def save(directory: Path, network: FastConformer, vocabulary: Vocabulary, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write `network` to `directory`, which is made, in our own form and with weights as `dtype`."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().to("cpu", dtype).contiguous() for name, value in network.state_dict().items()}
    save_file(weights, directory / WEIGHTS)
    (directory / CONFIG).write_bytes(msgspec.json.format(msgspec.json.encode(network.config)))
    vocabulary.save(directory)


def _read(path: Path) -> tuple[Config, dict[str, Tensor], Vocabulary]:
    if path.is_file():
        return nemo.read(path)
    if huggingface.model_type(path) is None:
        return decode_json(path / CONFIG, Config), read_safetensors(path), vocabularies.load(path)
    config, weights = huggingface.read(path)
    return config, weights, vocabularies.load(path, config.vocabulary)
