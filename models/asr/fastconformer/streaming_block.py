"""`Block` chunk by chunk, over slots, with packed weights."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.asr.fastconformer.attention import RelativeAttention, encode_distances
from models.asr.fastconformer.block import Block, Convolution, FeedForward
from models.linear import pack, pack_add

Rows = Callable[[Tensor], Tensor]
"""`[rows, width]` -> `[rows, width]`."""
_FEW_ROWS = 16


class Window(NamedTuple):
    """What the `T` new frames of each of `B` streams attend to: the `left` frames before them, and each other.

    A block's keys and values live in `[places, 2 * width]`. `read` `[B * (left + T)]` are the places of a stream's
    frames in the order of time, `write` `[B * T]` those of the new ones. `bias` `[B, 1, 1, left + T]` is -inf for
    frames before the stream's first, else 0.
    """

    batch: int
    write: Tensor
    read: Tensor
    bias: Tensor


class _Attention:
    """One product makes scaled queries, keys, values, and the scores by distance (Dai et al. 2019, section 3.3).

    A projected distance does not depend on the input, so its product with a query is a linear function of the input.
    """

    def __init__(self, attention: RelativeAttention, left: int, longest: int, dtype: torch.dtype) -> None:
        query, key, value = attention.linear_q, attention.linear_k, attention.linear_v
        width, self._heads = query.in_features, attention.heads
        scale = (width // self._heads) ** -0.5
        weight = torch.cat([scale * query.weight, key.weight, value.weight])
        bias = torch.zeros_like(weight[:, 0])
        if query.bias is not None:
            bias = torch.cat([scale * query.bias, key.bias, value.bias])
        distances = torch.arange(left + longest - 1, -longest, -1, device=weight.device)
        positions = attention.linear_pos(encode_distances(distances, width))
        positions = positions.view(len(distances), self._heads, -1).transpose(0, 1)
        by_head = weight[:width].view(self._heads, -1, width)
        seen = bias[:width].view(self._heads, -1, 1) + scale * attention.pos_bias_v[..., None]
        bias[:width] += scale * attention.pos_bias_u.flatten()
        weight = torch.cat([weight, (positions @ by_head).flatten(0, 1)])
        self._product = pack(weight.to(dtype), torch.cat([bias, (positions @ seen).flatten()]).to(dtype))
        self._out = pack_add(attention.linear_out.weight.to(dtype), _cast(attention.linear_out.bias, dtype))
        self._distances, self._longest = len(distances), longest

    def __call__(self, normed: Tensor, residual: Tensor, cache: Tensor, window: Window) -> Tensor:
        """`[B * T, width]`, twice, to the same shape; new frames enter `cache` `[places, 2 * width]`."""
        width = normed.shape[1]
        shape = (window.batch, -1, self._heads, width // self._heads)
        product = self._product(normed)
        query = product[:, :width].view(shape).transpose(1, 2)
        cache.index_copy_(0, window.write, product[:, width : 3 * width])
        keys, values = cache.index_select(0, window.read).view(window.batch, -1, 2, *shape[2:]).permute(2, 0, 3, 1, 4)
        bias = self._by_key(product, query.shape[2], keys.shape[2]) + window.bias
        mixed = functional.scaled_dot_product_attention(query, keys, values, bias, scale=1.0)
        return self._out(mixed.transpose(1, 2).reshape(normed.shape), residual)

    def _by_key(self, product: Tensor, frames: int, keys: int) -> Tensor:
        """The scores by distance, the farthest first, as scores by key `[B, heads, frames, keys]`.

        Frame t is `keys - frames + t` from its first key: its scores begin at `longest - 1 - t`, which is a matter of
        strides (the shift of Dai et al. 2019, appendix B).
        """
        row = product.shape[1]
        shape = (len(product) // frames, self._heads, frames, keys)
        begin = row - self._heads * self._distances + self._longest - 1
        return product.as_strided(shape, (frames * row, self._distances, row - 1, 1), begin)


class _Convolution:
    """`Convolution` whose streams keep the last `kernel - 1` gated frames."""

    def __init__(self, convolution: Convolution, dtype: torch.dtype) -> None:
        first, depthwise, last = convolution.pointwise_conv1, convolution.depthwise_conv, convolution.pointwise_conv2
        self._gate = pack(first.weight[..., 0].to(dtype), _cast(first.bias, dtype))
        kernel = depthwise.weight.to(dtype)
        self._taps = kernel[:, 0].T.contiguous()
        self._kernel = kernel[:, :, None].contiguous(memory_format=torch.channels_last)
        self._bias = _cast(depthwise.bias, dtype)
        self._norm = _norm(convolution.batch_norm, dtype)
        self._out = pack_add(last.weight[..., 0].to(dtype), _cast(last.bias, dtype))

    def __call__(self, normed: Tensor, residual: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """`[B * T, width]`, twice, and `kept` `[B, kernel - 1, width]` to `[B * T, width]` and what is kept now."""
        gated = functional.glu(self._gate(normed), -1).view(len(kept), -1, kept.shape[2])
        joined = torch.cat([kept, gated], 1)
        activated = functional.silu(self._norm(self._mix(joined, len(normed))))
        return self._out(activated, residual), joined[:, gated.shape[1] :]

    def _mix(self, joined: Tensor, rows: int) -> Tensor:
        """`[B, kernel - 1 + T, width]` to `[rows, width]`. For few rows a convolution costs more than it computes."""
        if rows > _FEW_ROWS:
            mixed = functional.conv2d(
                joined.movedim(2, 1)[:, :, None], self._kernel, self._bias, groups=joined.shape[2]
            )
            return mixed[:, :, 0].movedim(1, 2).reshape(rows, -1)
        mixed = (joined.unfold(1, len(self._taps), 1).transpose(2, 3) * self._taps).sum(2).flatten(0, 1)
        return mixed if self._bias is None else mixed + self._bias


class StreamingBlock:
    """A block in `dtype`, for streams that attend `left` frames back and chunks of up to `longest` frames."""

    def __init__(self, block: Block, left: int, longest: int, dtype: torch.dtype) -> None:
        self._feed_forward1 = _feed_forward(block.norm_feed_forward1, block.feed_forward1, dtype)
        self._norm_attention = _norm(block.norm_self_att, dtype)
        self._attention = _Attention(block.self_attn, left, longest, dtype)
        self._norm_convolution = _norm(block.norm_conv, dtype)
        self._convolution = _Convolution(block.conv, dtype)
        self._feed_forward2 = _feed_forward(block.norm_feed_forward2, block.feed_forward2, dtype)
        self._norm_out = _norm(block.norm_out, dtype)

    def __call__(self, hidden: Tensor, cache: Tensor, kept: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """`[B * T, width]` to the same shape. `cache` `[places, 2 * width]` takes the new keys and values; what the
        convolution keeps, `[B, kernel - 1, width]`, comes in as `kept` and is returned as it is after.
        """
        hidden = self._feed_forward1(hidden)
        hidden = self._attention(self._norm_attention(hidden), hidden, cache, window)
        hidden, kept = self._convolution(self._norm_convolution(hidden), hidden, kept)
        return self._norm_out(self._feed_forward2(hidden)), kept


def _feed_forward(norm: nn.LayerNorm, module: FeedForward, dtype: torch.dtype) -> Rows:
    """Half a feed-forward of the normed input, added to the input."""
    normed = _norm(norm, dtype)
    bias1, bias2 = module.linear1.bias, module.linear2.bias
    up = pack(module.linear1.weight.to(dtype), _cast(bias1, dtype), "silu")
    down = pack_add((0.5 * module.linear2.weight).to(dtype), None if bias2 is None else (0.5 * bias2).to(dtype))
    return lambda hidden: down(up(normed(hidden)), hidden)


def _norm(module: nn.LayerNorm, dtype: torch.dtype) -> Rows:
    weight, bias, shape, epsilon = module.weight.to(dtype), module.bias.to(dtype), module.normalized_shape, module.eps
    return lambda hidden: functional.layer_norm(hidden, shape, weight, bias, epsilon)


def _cast(bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if bias is None else bias.to(dtype)
