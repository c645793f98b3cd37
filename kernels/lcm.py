"""One step of latent consistency models with residual guidance, for frames at any stages of any sessions at once.

Kodaira et al. 2023 (arXiv 2312.12491), sections 3.1 to 3.3. With x a latent, c what the network predicted for the
prompt, s the stock noise and a, b, k, o, g, d the row's coefficients, in float32:

    e  = d s + g (c - d s)
    x0 = o (x - b e) / a + k x
    x' = a' x0 + r n                               what the next stage begins with
    s' = n + a' (o (b s - b e) / a + k b s) / b'   its stock noise

where n is the session's noise for the next stage. A row with a prediction of its own for the negative prompt has that
in place of s.
"""

from enum import IntEnum

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024


class Coefficient(IntEnum):
    """Columns of `coefficients`."""

    ALPHA = 0
    """a: square root of the cumulative product of alphas."""
    BETA = 1
    """b: square root of 1 - a^2."""
    SKIP = 2
    """k: the input's share in the boundary condition."""
    OUT = 3
    """o: the prediction's share."""
    NEXT_ALPHA = 4
    """a' of the next stage; 1 at the last."""
    NEXT_BETA = 5
    """b' of the next stage; 1 at the last."""
    RENOISE = 6
    """r: b' where noise is added between stages, else 0; 0 at the last."""
    GUIDANCE = 7
    """g: the scale."""
    DELTA = 8
    """d: the stock noise's share; 0 without guidance."""


class Place(IntEnum):
    """Columns of `places`."""

    CELL = 0
    """Row of `latents` and `stock`; of no two rows the same."""
    NOISE = 1
    """Row of `noise`."""
    NEGATIVE = 2
    """Row of `negative`, -1 for none."""


def lcm_step(
    latents: Tensor,
    stock: Tensor,
    noise: Tensor,
    predicted: Tensor,
    negative: Tensor,
    places: Tensor,
    coefficients: Tensor,
) -> None:
    """Move `latents` and `stock` `[cells, E]` on, in place, where `places` int32 `[R, 3]` says.

    `noise` `[cells, E]`; `predicted` `[R, E]` and `negative` `[M, E]` come from the network; `coefficients` is float32
    `[R, 9]`. All but the last two may have any floating-point type.
    """
    if latents.is_cuda:
        lcm_step_triton(latents, stock, noise, predicted, negative, places, coefficients)
    else:
        lcm_step_torch(latents, stock, noise, predicted, negative, places, coefficients)


def lcm_step_torch(
    latents: Tensor,
    stock: Tensor,
    noise: Tensor,
    predicted: Tensor,
    negative: Tensor,
    places: Tensor,
    coefficients: Tensor,
) -> None:
    """`lcm_step` in torch's own operations."""
    cells, noises, negatives = places.long().unbind(1)
    a, b, k, o, next_a, next_b, r, g, d = coefficients[:, :, None].unbind(1)
    x, s, n, c = latents[cells].float(), stock[cells].float(), noise[noises].float(), predicted.float()
    own = (negatives >= 0).nonzero()[:, 0]
    s[own] = negative[negatives[own]].float()
    e = d * s + g * (c - d * s)
    x0 = o * (x - b * e) / a + k * x
    drift = o * (b * s - b * e) / a + k * b * s
    latents[cells] = (next_a * x0 + r * n).to(latents.dtype)
    stock[cells] = (n + next_a * drift / next_b).to(stock.dtype)


def lcm_step_triton(
    latents: Tensor,
    stock: Tensor,
    noise: Tensor,
    predicted: Tensor,
    negative: Tensor,
    places: Tensor,
    coefficients: Tensor,
) -> None:
    """`lcm_step` in one kernel that reads and writes every number once."""
    rows, numbers = predicted.shape
    grid = (rows, triton.cdiv(numbers, _BLOCK))
    lcm_kernel[grid](latents, stock, noise, predicted, negative, places, coefficients, numbers, _BLOCK)


@triton.jit  # type: ignore[untyped-decorator]
def lcm_kernel(latents, stock, noise, predicted, negative, places, coefficients, numbers, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """One block of one row."""
    row = tl.program_id(0)
    at = tl.program_id(1) * block + tl.arange(0, block)
    inside = at < numbers
    cell = tl.load(places + row * 3).to(tl.int64) * numbers + at
    noise_cell = tl.load(places + row * 3 + 1).to(tl.int64) * numbers + at
    negative_row = tl.load(places + row * 3 + 2).to(tl.int64)
    own = coefficients + row * 9
    a, b, k, o = tl.load(own), tl.load(own + 1), tl.load(own + 2), tl.load(own + 3)
    next_a, next_b, r = tl.load(own + 4), tl.load(own + 5), tl.load(own + 6)
    g, d = tl.load(own + 7), tl.load(own + 8)

    x = tl.load(latents + cell, mask=inside, other=0.0).to(tl.float32)
    n = tl.load(noise + noise_cell, mask=inside, other=0.0).to(tl.float32)
    c = tl.load(predicted + row.to(tl.int64) * numbers + at, mask=inside, other=0.0).to(tl.float32)
    s = tl.load(stock + cell, mask=inside & (negative_row < 0), other=0.0).to(tl.float32)
    s += tl.load(negative + negative_row * numbers + at, mask=inside & (negative_row >= 0), other=0.0).to(tl.float32)

    e = d * s + g * (c - d * s)
    x0 = o * (x - b * e) / a + k * x
    drift = o * (b * s - b * e) / a + k * b * s
    tl.store(latents + cell, (next_a * x0 + r * n).to(latents.dtype.element_ty), mask=inside)
    tl.store(stock + cell, (n + next_a * drift / next_b).to(stock.dtype.element_ty), mask=inside)
