"""Loading weights: safetensors under Hugging Face names."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.lm.config import DecoderConfig, UnsupportedModel, from_huggingface

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
    config = from_huggingface(json.loads((directory / "config.json").read_text()))
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise UnsupportedModel(f"{directory} has no *.safetensors")
    weights = {name: value for file in files for name, value in load_file(file).items()}
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
