"""Multi-head attention with relative positions (Dai et al. 2019, "Transformer-XL", section 3.3)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def encode_distances(distances: Tensor, width: int) -> Tensor:
    """Sinusoids of distances `[N]` (query's position minus key's): float32 `[N, width]`, sine and cosine in turn."""
    frequencies = torch.exp(torch.arange(0, width, 2, device=distances.device) * (-math.log(10_000.0) / width))
    angles = distances[:, None].float() * frequencies
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def chunk_mask(frames: int, left_context: int, lookahead: int, device: torch.device | None = None) -> Tensor:
    """Which key (column) each query (row) sees: bool `[T, T]`.

    Frames see their own chunk of `lookahead + 1` and the `left_context` frames before it.
    """
    chunk = torch.arange(frames, device=device) // (lookahead + 1)
    behind = chunk[:, None] - chunk
    return (behind >= 0) & (behind <= left_context // (lookahead + 1))


class RelativeAttention(nn.Module):
    """Keys are projected relative positions besides content; the two biases stand for the query's own position."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q = nn.Linear(width, width, bias)
        self.linear_k = nn.Linear(width, width, bias)
        self.linear_v = nn.Linear(width, width, bias)
        self.linear_out = nn.Linear(width, width, bias)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(heads, width // heads))
        self.pos_bias_v = nn.Parameter(torch.zeros(heads, width // heads))

    def forward(self, hidden: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
        """`hidden` `[B, T, width]`; `positions` `[2T - 1, width]` encodes distances T-1 to -(T-1); `visible` bool
        `[B, 1, T, T]` (query, key). A query that sees nothing gets zero. Gives `[B, T, width]`.
        """
        query, key, value = (self._split(linear(hidden)) for linear in (self.linear_q, self.linear_k, self.linear_v))
        position = self._split(self.linear_pos(positions)[None])
        content = (query + self.pos_bias_u[:, None]) @ key.transpose(-1, -2)
        distance = shift((query + self.pos_bias_v[:, None]) @ position.transpose(-1, -2))
        scores = (content + distance[..., : key.shape[2]]) * query.shape[-1] ** -0.5
        lowest = torch.finfo(scores.dtype).min
        weights = functional.softmax(scores.masked_fill(~visible, lowest), -1).masked_fill(~visible, 0)
        attended = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        output: Tensor = self.linear_out(attended)
        return output

    def _split(self, rows: Tensor) -> Tensor:
        """`[B, T, width]` to `[B, heads, T, width / heads]`."""
        return rows.view(*rows.shape[:2], self.heads, -1).transpose(1, 2)


def shift(scores: Tensor) -> Tensor:
    """From scores by distance `[B, heads, T, P]`, the farthest key first, to scores by key (Dai et al. 2019, appendix
    B): row t moves left by T - 1 - t.
    """
    batch, heads, queries, positions = scores.shape
    padded = functional.pad(scores, (1, 0)).view(batch, heads, positions + 1, queries)
    return padded[:, :, 1:].view(batch, heads, queries, positions)
