"""Loading checkpoints: safetensors under Hugging Face names, or GGUF, dequantised once to bf16 beside the file."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.lm import gguf_file
from models.lm.config import DecoderConfig, UnsupportedModel, from_huggingface

log = logging.getLogger(__name__)

DERIVED = "rotary_emb.inv_freq"
"""A tensor that old checkpoints store although it follows from the configuration."""

Weights = dict[str, Tensor]


class WeightsError(Exception):
    """The checkpoint's tensors are not those its configuration asks for; the message lists every difference."""


def load(directory: Path, dtype: torch.dtype = torch.bfloat16) -> tuple[DecoderConfig, Weights]:
    """Read the checkpoint in `directory` as `dtype`.

    Raises UnsupportedModel for a network that is not implemented, WeightsError for missing, surplus or misshapen
    tensors.
    """
    path = gguf_file.find(directory)
    config, weights = _load_safetensors(directory) if path is None else _load_gguf(path)
    if config.tied:
        weights.pop("lm_head.weight", None)
    weights = {name: value.to(dtype) for name, value in weights.items() if not name.endswith(DERIVED)}
    check(config, weights)
    return config, weights


def check(config: DecoderConfig, weights: Mapping[str, Tensor]) -> None:
    """Raise WeightsError unless the tensors are exactly those of `config`."""
    wanted = shapes(config)
    faults = [f"missing {name}" for name in sorted(wanted.keys() - weights.keys())]
    faults += [f"surplus {name}" for name in sorted(weights.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & weights.keys()):
        got = tuple(weights[name].shape)
        if got != wanted[name]:
            faults.append(f"{name} is {list(got)}, expected {list(wanted[name])}")
    if faults:
        raise WeightsError("; ".join(faults))


def shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the network and its shape."""
    hidden, queries, keys = config.hidden, config.heads * config.head_dim, config.kv_heads * config.head_dim
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "mlp.gate_proj.weight": (config.intermediate, hidden),
        "mlp.up_proj.weight": (config.intermediate, hidden),
        "mlp.down_proj.weight": (hidden, config.intermediate),
    }
    if config.attention_bias:
        layer |= {f"self_attn.{part}_proj.bias": (size,) for part, size in (("q", queries), ("k", keys), ("v", keys))}
    found = {f"model.layers.{index}.{name}": shape for index in range(config.layers) for name, shape in layer.items()}
    found |= {"model.embed_tokens.weight": (config.vocab, hidden), "model.norm.weight": (hidden,)}
    return found if config.tied else found | {"lm_head.weight": (config.vocab, hidden)}


def _load_safetensors(directory: Path) -> tuple[DecoderConfig, Weights]:
    config = from_huggingface(json.loads((directory / "config.json").read_text()))
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise UnsupportedModel(f"{directory} has neither *.safetensors nor *.gguf")
    return config, {name: value for file in files for name, value in load_file(file).items()}


def _load_gguf(path: Path) -> tuple[DecoderConfig, Weights]:
    file = gguf_file.GgufFile(path)
    cache = path.with_suffix(".bf16.safetensors")
    stamp = _stamp(path)
    if cache.exists():
        with safe_open(cache, "pt") as cached:
            if cached.metadata() == stamp:
                return file.config, load_file(cache)
    log.info("dequantising %s", path.name)
    weights = {name: value.to(torch.bfloat16) for name, value in file.tensors()}
    try:
        _save(weights, stamp, cache)
    except OSError as error:
        log.warning("cannot keep the dequantised weights: %s", error)
    return file.config, weights


def _stamp(path: Path) -> dict[str, str]:
    """What tells that a cache was made from another file."""
    status = path.stat()
    return {"source": path.name, "bytes": str(status.st_size), "modified_ns": str(status.st_mtime_ns)}


def _save(weights: Weights, stamp: dict[str, str], cache: Path) -> None:
    partial = cache.with_name(f".{cache.name}.{os.getpid()}")
    try:
        save_file(weights, partial, stamp)
        partial.replace(cache)
    finally:
        partial.unlink(missing_ok=True)
