"""Long convolutions in few multiplications: overlap-save over short Fourier transforms, all in real numbers.

A tile of N samples gives N - K + 1 outputs of a kernel of K. Directly, each output takes K products of matrices; by
Fourier, the whole tile takes M = 3 N / 2 - 1: for K = 11 and N = 32, that is 47 instead of 242. What goes before and
comes after are small constant matrices (Winograd 1980 writes all fast convolutions so).
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone knows)
from torch import Tensor

from models.tts.checkpoint import Convolution

_TILE = 32
_BLOCK = 128
"""Rows of a product of matrices: enough for it to be fast, and few enough that what is between stays in the cache."""


class Transform(NamedTuple):
    """The outputs of a tile are `back @ ((forth @ tile) * (kernel_forth @ kernel))`; float64.

    `forth` `[M, N]`, `kernel_forth` `[M, K]`, `back` `[N - K + 1, M]`.
    """

    forth: Tensor
    kernel_forth: Tensor
    back: Tensor


class OverlapSave:
    """A float32 convolution of stride 1, `[T, in]` contiguous -> `[T', out]`, as exact as a direct one."""

    def __init__(self, parameters: Convolution) -> None:
        """The kernel must be shorter than a tile."""
        weight, self._bias, _, self._padding, self._dilation = parameters
        self._kernel = weight.shape[2]
        forth, kernel_forth, back = transform(_TILE, self._kernel)
        self._forth, self._back = forth.float(), back.float()
        self._weight = torch.einsum("mk,oik->mio", kernel_forth, weight.double()).float().contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        products, channels, out = self._weight.shape
        dilation, hop = self._dilation, _TILE - self._kernel + 1
        outputs = len(x) + 2 * self._padding - (self._kernel - 1) * dilation
        count = math.ceil(outputs / (hop * dilation))
        padded = (count * hop + self._kernel - 1) * dilation
        x = F.pad(x, (0, 0, self._padding, padded - len(x) - self._padding))
        step = dilation * channels
        tiles = x.as_strided((count, _TILE, step), (hop * step, step, 1))
        y = x.new_empty(count, hop, dilation * out)
        for first in range(0, count, _BLOCK // dilation):
            block = slice(first, first + _BLOCK // dilation)
            spectrum = (self._forth @ tiles[block]).transpose(0, 1).reshape(products, -1, channels)
            product = torch.bmm(spectrum, self._weight).view(products, -1, dilation * out)
            torch.matmul(self._back, product.transpose(0, 1), out=y[block])
        return y.view(-1, out)[:outputs].add_(self._bias)


def transform(tile: int, kernel: int) -> Transform:
    """Of an even `tile`: the two real bins, then real part, imaginary part and their sum of each of the others, since
    three real products make a complex one (Gauss).
    """
    half = tile // 2
    fourier = torch.fft.fft(torch.eye(tile, dtype=torch.float64))
    backward = fourier.conj()[: tile - kernel + 1] / tile
    inner = 2 * backward[:, 1:half]
    back = (backward[:, [0, half]].real, inner.real + inner.imag, inner.imag - inner.real, -inner.imag)
    return Transform(_parts(fourier, half), _parts(fourier.conj()[:, :kernel], half), torch.cat(back, 1))


def _parts(rows: Tensor, half: int) -> Tensor:
    inner = rows[1:half]
    return torch.cat([rows[[0, half]].real, inner.real, inner.imag, inner.real + inner.imag])
