"""Matrix products with constant weights, in the fastest form this machine has."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Linear = Callable[[Tensor], Tensor]
"""`[rows, in]` -> `[rows, out]`."""


def pack(weight: Tensor, bias: Tensor | None = None) -> Linear:
    """A linear layer for `weight` `[out, in]` and `bias` `[out]`, in the weight's dtype and on its device.

    bf16 on a CPU goes through oneDNN with the weight reordered once, which halves the time of small batches: plain
    `linear` reorders or strides it in every call.
    """
    if weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return _prepacked(weight, bias)
    return lambda rows: functional.linear(rows, weight, bias)


def _prepacked(weight: Tensor, bias: Tensor | None) -> Linear:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, 1)
    product = torch.ops.mkldnn._linear_pointwise.default

    def linear(rows: Tensor) -> Tensor:
        result: Tensor = product(rows, packed, bias, "none", [], "")
        return result

    return linear
