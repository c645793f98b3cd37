"""Index arithmetic for rows of different lengths, without padding and without a loop."""

import torch
from torch import Tensor


def ranges(begins: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The integers [begin, begin + count) of every row, one row after the other, and the row of each: both `[sum of
    counts]`, from `begins` and `counts` `[rows]`.
    """
    rows = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    skipped = (begins - counts.cumsum(0) + counts).repeat_interleave(counts)
    return skipped + torch.arange(len(rows), device=counts.device), rows
