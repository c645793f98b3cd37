"""A GGUF file's metadata and tensors under Hugging Face names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from torch import Tensor

from models.lm.config import LLAMA, DecoderConfig, from_gguf

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class GgufFile:
    """An open file; tensors are mapped into memory and dequantised as they are asked for."""

    def __init__(self, path: Path) -> None:
        self._reader = GGUFReader(path)
        self.metadata: dict[str, Any] = {name: field.contents() for name, field in self._reader.fields.items()}
        tied = all(tensor.name != "output.weight" for tensor in self._reader.tensors)
        self.config: DecoderConfig = from_gguf(self.metadata, tied=tied)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Names and fp32 values. Names that Hugging Face has no counterpart for are left as they are."""
        for tensor in self._reader.tensors:
            name = _name(tensor.name)
            # A copy, since the file's own arrays are read-only views.
            values = torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))
            yield name, self._unpermute(name, values)

    def _unpermute(self, name: str, values: Tensor) -> Tensor:
        """GGUF stores Llama's q and k with a rotation's pairs interleaved; Hugging Face (and we) in two halves."""
        heads = {"q_proj": self.config.heads, "k_proj": self.config.kv_heads}.get(name.split(".")[-2])
        if self.config.architecture != LLAMA or heads is None:
            return values
        return values.view(heads, self.config.head_dim // 2, 2, -1).transpose(1, 2).reshape(values.shape)


def _name(name: str) -> str:
    match name.split("."):
        case ["blk", layer, part, kind] if part in NAMES:
            return f"model.layers.{layer}.{NAMES[part]}.{kind}"
        case [part, kind] if part in NAMES:
            return f"{NAMES[part]}.{kind}"
    return name
