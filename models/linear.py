"""Matrix products with constant weights, in the fastest form this machine has."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Linear = Callable[[Tensor], Tensor]
"""`[..., in]` -> `[..., out]`."""
LinearAdd = Callable[[Tensor, Tensor], Tensor]
"""`[..., in]` and a residual `[..., out]` -> their sum `[..., out]` after the product."""
Activation = Literal["none", "relu", "silu"]

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "none": lambda rows: rows,
    "relu": functional.relu,
    "silu": functional.silu,
}
_TYPICAL_ROWS = {torch.bfloat16: 1, torch.float32: 16}
"""What weights are reordered for; other numbers of rows are about as fast."""
_ONEDNN_NAMES = {"none": "none", "relu": "relu", "silu": "swish"}


def fastest_dtype() -> torch.dtype:
    """For what is bound by arithmetic: bfloat16 where the processor multiplies it in hardware, float32 elsewhere."""
    return torch.bfloat16 if torch.cpu.get_capabilities().get("amx_bf16", False) else torch.float32


def smallest_dtype() -> torch.dtype:
    """For what is bound by reading its weights: bfloat16 where oneDNN takes it (AVX-512), float32 elsewhere, where
    products in bfloat16 are up to ninety times as slow.
    """
    return torch.bfloat16 if onednn_takes(torch.bfloat16) else torch.float32


def onednn_takes(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies matrices of this type, float32 or bfloat16, on this machine."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(weight: Tensor, bias: Tensor | None = None, activation: Activation = "none") -> Linear:
    """A linear layer for `weight` `[out, in]` and `bias` `[out]`, in the weight's dtype and on its device.

    On a CPU it goes through oneDNN with the weight reordered once, which up to halves the time of small batches: plain
    `linear` reorders or strides it in every call.
    """
    if _prepacks(weight):
        packed, name = _reordered(weight), _ONEDNN_NAMES[activation]
        product = torch.ops.mkldnn._linear_pointwise.default

        def prepacked(rows: Tensor) -> Tensor:
            result: Tensor = product(rows, packed, bias, name, [], "")
            return result

        return prepacked
    activate = _ACTIVATIONS[activation]
    return lambda rows: activate(functional.linear(rows, weight, bias))


def pack_add(weight: Tensor, bias: Tensor | None = None) -> LinearAdd:
    """As `pack`, with the addition of a residual in the same pass."""
    if _prepacks(weight):
        packed = _reordered(weight)
        product = torch.ops.mkldnn._linear_pointwise.binary

        def prepacked(rows: Tensor, residual: Tensor) -> Tensor:
            result: Tensor = product(rows, residual, packed, bias, "add")
            return result

        return prepacked
    return lambda rows, residual: residual + functional.linear(rows, weight, bias)


def _prepacks(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype in _TYPICAL_ROWS and onednn_takes(weight.dtype)


def _reordered(weight: Tensor) -> Tensor:
    reordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _TYPICAL_ROWS[weight.dtype])
    return reordered
