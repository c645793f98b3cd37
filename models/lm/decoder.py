"""The Llama/Qwen2 decoder in inference form, over slots.

A forward pass appends `length` tokens to each of some slots. K/V live in `[layers, capacity, kv_heads, context,
head_dim]`; a row's tokens are written at its slot and positions, then attend to that slot's cache up to themselves.
Decoding is the case of length 1, prefilling that of a chunk: one code path, so the two agree.
"""

import math
from collections.abc import Mapping, Sequence
from mmap import mmap
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from models.linear import Linear, pack
from models.lm.config import DecoderConfig


class _Layer(NamedTuple):
    attention_norm: Tensor
    qkv: Linear
    output: Linear
    mlp_norm: Tensor
    gate_up: Linear
    down: Linear


class _Layout(NamedTuple):
    """Where the rows of one pass are: the same for every layer.

    Attention runs over the contiguous slots [first, end) that hold all rows, since a view is free and a gather copies
    the cache; `rows` `[n]` are the rows' places therein, None if they fill it in order. `bias` `[slots, 1, groups *
    length, keys]` is 0 where a query may look and -inf elsewhere; None if all may look everywhere.
    """

    cos: Tensor
    sin: Tensor
    slots: Tensor
    positions: Tensor
    first: int
    end: int
    keys: int
    rows: Tensor | None
    bias: Tensor | None


class _Cache:
    """Keys and values of one layer: `[capacity, kv_heads, context, head_dim]`."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values
        self._by_position = keys.transpose(1, 2), values.transpose(1, 2)

    def append(self, keys: Tensor, values: Tensor, layout: _Layout) -> None:
        """Write `[n, length, kv_heads, head_dim]` at the rows' places."""
        place = (layout.slots, layout.positions)
        self._by_position[0].index_put_(place, keys)
        self._by_position[1].index_put_(place, values)


class Decoder:
    """`weights` by Hugging Face name, all of one dtype and on one device, which are the decoder's."""

    def __init__(self, config: DecoderConfig, weights: Mapping[str, Tensor], capacity: int, context: int) -> None:
        self.config = config
        self.context = context
        # A copy of its own: a view would keep the whole file that was mapped.
        self._embedding = weights["model.embed_tokens.weight"].clone()
        self._head = pack(weights["model.embed_tokens.weight" if config.tied else "lm_head.weight"])
        self._norm = weights["model.norm.weight"]
        self._layers = [_layer(config, weights, f"model.layers.{index}") for index in range(config.layers)]
        dtype, device = self._embedding.dtype, self._embedding.device
        shape = (config.layers, capacity, config.kv_heads, context, config.head_dim)
        self._keys, self._values = _cache(shape, dtype, device), _cache(shape, dtype, device)
        self._caches = [_Cache(*pair) for pair in zip(self._keys, self._values, strict=True)]
        self._eps = torch.tensor(config.rms_eps, device=device)
        self._cos, self._sin = _rotations(config, context, dtype, device)

    def embed(self, tokens: Tensor) -> Tensor:
        """Embeddings of `tokens` (int64, any shape): `[..., hidden]`."""
        return functional.embedding(tokens.to(self._embedding.device), self._embedding)

    @torch.inference_mode()
    def forward(self, embedded: Tensor, slots: Sequence[int], starts: Sequence[int]) -> Tensor:
        """Append `embedded` `[n, length, hidden]` to distinct `slots` from positions `starts` on.

        Returns the normalised state of each row's last token, `[n, hidden]`. What a slot's cache held from its start
        on is overwritten or not looked at; positions must stay below `context`.
        """
        rows, length, hidden = embedded.shape
        layout = self._layout(slots, starts, length)
        state = embedded.reshape(rows * length, hidden)
        for layer, cache in zip(self._layers, self._caches, strict=True):
            qkv = layer.qkv(self._normalise(state, layer.attention_norm))
            attended = self._attend(qkv.view(rows, length, -1, self.config.head_dim), cache, layout)
            state = state + layer.output(attended)
            normed = self._normalise(state, layer.mlp_norm)
            gate, up = layer.gate_up(normed).chunk(2, dim=-1)
            state = state + layer.down(functional.silu(gate).mul_(up))
        last = state.view(rows, length, hidden)[:, -1]
        return self._normalise(last, self._norm)

    @torch.inference_mode()
    def logits(self, state: Tensor) -> Tensor:
        """Logits after states `[n, hidden]`: fp32 `[n, vocab]`."""
        return self._head(state).float()

    def _normalise(self, state: Tensor, weight: Tensor) -> Tensor:
        """RMSNorm (arXiv:1910.07467) of `state` `[n, hidden]` by `weight`, in fewer passes than torch's."""
        norm = torch.linalg.vector_norm(state, dim=-1, keepdim=True, dtype=torch.float32)
        scale = torch.addcmul(self._eps, norm, norm, value=1 / state.shape[-1]).rsqrt_()
        return torch.mul(state, scale, out=torch.empty_like(state)).mul_(weight)

    def _attend(self, qkv: Tensor, cache: _Cache, layout: _Layout) -> Tensor:
        """Store the keys and values of `qkv` `[n, length, heads + 2 kv_heads, head_dim]` and attend:
        `[n * length, heads * head_dim]`.

        The query heads of a group share their keys, so they ride as further queries of one head: no K/V is repeated.
        """
        rows, length, _, dim = qkv.shape
        heads, kv_heads = self.config.heads, self.config.kv_heads
        rotated = _rotate(qkv[:, :, : heads + kv_heads], layout)
        cache.append(rotated[:, :, heads:], qkv[:, :, heads + kv_heads :], layout)
        grouped = rotated[:, :, :heads].view(rows, length, kv_heads, -1, dim).permute(0, 2, 3, 1, 4)
        queries = grouped.reshape(rows, kv_heads, -1, dim)
        if layout.rows is not None:
            everyone = queries.new_zeros(layout.end - layout.first, *queries.shape[1:])
            queries = everyone.index_copy_(0, layout.rows, queries)
        attended = functional.scaled_dot_product_attention(
            queries,
            cache.keys[layout.first : layout.end, :, : layout.keys],
            cache.values[layout.first : layout.end, :, : layout.keys],
            attn_mask=layout.bias,
        )
        if layout.rows is not None:
            attended = attended[layout.rows]
        return attended.view(rows, kv_heads, -1, length, dim).permute(0, 3, 1, 2, 4).reshape(rows * length, heads * dim)

    def _layout(self, slots: Sequence[int], starts: Sequence[int], length: int) -> _Layout:
        device = self._keys.device
        first, end, keys = min(slots), max(slots) + 1, max(starts) + length
        if keys > self.context:
            raise ValueError(f"position {keys - 1} is beyond the context of {self.context}")
        slot_index = torch.tensor(slots, device=device)
        positions = torch.tensor(starts, device=device)[:, None] + torch.arange(length, device=device)
        in_order = list(slots) == list(range(first, end))
        rows = None if in_order else slot_index - first
        uniform = in_order and length == 1 and len({*starts}) == 1
        bias = None if uniform else self._bias(positions, rows, end - first, keys)
        cos, sin = self._cos[positions].unsqueeze(2), self._sin[positions].unsqueeze(2)
        return _Layout(cos, sin, slot_index[:, None], positions, first, end, keys, rows, bias)

    def _bias(self, positions: Tensor, rows: Tensor | None, slots: int, keys: int) -> Tensor:
        """Slots without a row look at position 0: their result is discarded, but must not be NaN."""
        length = positions.shape[1]
        last = positions
        if rows is not None:
            last = positions.new_zeros(slots, length).index_copy_(0, rows, positions)
        hidden = torch.arange(keys, device=positions.device) > last[:, None, :, None]
        bias = torch.zeros(hidden.shape, dtype=self._keys.dtype, device=positions.device)
        groups = self.config.heads // self.config.kv_heads
        return bias.masked_fill_(hidden, float("-inf")).repeat(1, 1, groups, 1)


def _layer(config: DecoderConfig, weights: Mapping[str, Tensor], name: str) -> _Layer:
    attention, mlp = f"{name}.self_attn", f"{name}.mlp"

    def fused(kind: str) -> Tensor:
        return torch.cat([weights[f"{attention}.{part}_proj.{kind}"] for part in "qkv"])

    gate_up = torch.cat([weights[f"{mlp}.gate_proj.weight"], weights[f"{mlp}.up_proj.weight"]])
    return _Layer(
        weights[f"{name}.input_layernorm.weight"],
        pack(fused("weight"), fused("bias") if config.attention_bias else None),
        pack(weights[f"{attention}.o_proj.weight"]),
        weights[f"{name}.post_attention_layernorm.weight"],
        pack(gate_up),
        pack(weights[f"{mlp}.down_proj.weight"]),
    )


def _cache(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros. On a CPU, in memory that the system provides as it is first written: an unused slot takes none."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.frombuffer(mmap(-1, math.prod(shape) * dtype.itemsize), dtype=dtype).view(shape)


def _rotations(config: DecoderConfig, context: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin of RoPE's angles, `[context, head_dim]` each; the first half of sin is negated for `_rotate`."""
    half = config.head_dim // 2
    frequencies = config.rope_theta ** -(torch.arange(half, dtype=torch.float32) / half)
    angles = torch.arange(context, dtype=torch.float32)[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], -1).to(device, dtype), torch.cat([-sin, sin], -1).to(device, dtype)


def _rotate(heads: Tensor, layout: _Layout) -> Tensor:
    """RoPE (arXiv:2104.09864), with the two halves of each head `[..., head_dim]` as the pairs' coordinates."""
    return torch.addcmul(heads * layout.cos, heads.roll(heads.shape[-1] // 2, -1), layout.sin)
