"""From the fields and tensors of a checkpoint to a network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.asr.fastconformer.config import Config
from models.asr.fastconformer.network import FastConformer


class CheckpointError(Exception):
    """The checkpoint is damaged, contradicts itself, or needs what is not implemented; the message names it."""


T = TypeVar("T")


def decode_json(path: Path, kind: type[T]) -> T:
    """The JSON file at `path` as a struct of `kind`. Raises CheckpointError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError) as error:
        raise CheckpointError(f"{path.name}: {error}") from error


def configure(**fields: Any) -> Config:
    """`Config` of its fields as JSON has them. Raises CheckpointError."""
    try:
        return msgspec.convert(fields, Config)
    except msgspec.MsgspecError as error:
        raise CheckpointError(str(error)) from error


def build(config: Config, weights: Mapping[str, Tensor], dtype: torch.dtype) -> FastConformer:
    """The network of `config` with `weights` under NeMo's names, for inference. Raises CheckpointError."""
    with torch.device("meta"):
        network = FastConformer(config)
    wanted = network.state_dict()
    faults = [f"missing {name}" for name in sorted(wanted.keys() - weights.keys())]
    faults += [f"surplus {name}" for name in sorted(weights.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & weights.keys()):
        got, expected = list(weights[name].shape), list(wanted[name].shape)
        if got != expected:
            faults.append(f"{name} is {got}, expected {expected}")
    if faults:
        raise CheckpointError("; ".join(faults))
    network.load_state_dict({name: value.to(dtype) for name, value in weights.items()}, assign=True)
    return network.eval().requires_grad_(False)


def read_safetensors(directory: Path) -> dict[str, Tensor]:
    """All tensors of the `model*.safetensors` files in `directory`. Raises CheckpointError."""
    files = sorted(directory.glob("model*.safetensors"))
    if not files:
        raise CheckpointError(f"{directory} has no model*.safetensors")
    weights: dict[str, Tensor] = {}
    for file in files:
        try:
            shard = load_file(file)
        except SafetensorError as error:
            raise CheckpointError(f"{file.name}: {error}") from error
        if repeated := sorted(shard.keys() & weights.keys()):
            raise CheckpointError(f"{file.name} repeats {', '.join(repeated)}")
        weights |= shard
    return weights
