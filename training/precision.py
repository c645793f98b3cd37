"""The precision of a training step."""

import torch

from models.linear import fastest_dtype


def mixed() -> torch.autocast:
    """bfloat16 products with float32 weights where the processor multiplies bfloat16 in hardware; float32 elsewhere."""
    dtype = fastest_dtype()
    return torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
