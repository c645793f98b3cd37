"""Attention of a few queries over slots' caches, in the faster of two forms.

Both compute softmax(queries keys^T / sqrt(head_dim) + bias) values.
"""

import torch
from torch import Tensor
from torch.nn import functional

MIN_PRODUCT_SLOTS = 4
"""Fewer slots than this are faster through the fused kernel, whose cost per slot is higher and per call lower."""


def attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None, length: int) -> Tensor:
    """Attend with `queries` `[slots, kv_heads, n, head_dim]`, where n is a multiple of the `length` of the pass, to
    `keys` and `values` `[slots, kv_heads, positions, head_dim]`: `[slots, kv_heads, n, head_dim]`.

    `bias` `[slots, 1, n, positions]` is added to the scores; None is zero.
    """
    if length == 1 and queries.device.type == "cpu" and queries.shape[0] >= MIN_PRODUCT_SLOTS:
        return _by_products(queries, keys, values, bias)
    return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)


def _by_products(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Two batched products over all slots. With the few queries on the right, oneDNN reads the keys in half the time
    that it takes with the keys on the right. Scores are rounded to the dtype before softmax.
    """
    shape = queries.shape
    scaled = (queries * shape[-1] ** -0.5).flatten(0, 1)
    scores = torch.bmm(keys.flatten(0, 1), scaled.transpose(1, 2)).transpose(1, 2)
    scores = scores.view(*shape[:3], -1)
    weights = (scores if bias is None else scores + bias).softmax(-1)
    return torch.bmm(weights.flatten(0, 1), values.flatten(0, 1)).view(shape)
