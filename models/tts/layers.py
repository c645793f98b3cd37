"""What Kokoro's decoder is made of. Signals are `[T, C]`: channels last is what the processor's matrix units want."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone knows)
from torch import Tensor

from models.linear import onednn_takes
from models.tts.checkpoint import Checkpoint, Convolution, Linear

_EPSILON = 1e-5
_TYPICAL_FRAMES = 160
"""Of 25 ms: what weights are reordered for."""


class Convolve:
    """`[T, in]` -> `[T', out]` in `dtype`, with the weight in oneDNN's order where oneDNN takes it."""

    def __init__(self, parameters: Convolution, dtype: torch.dtype) -> None:
        weight, bias, stride, padding, dilation = parameters
        self._geometry = (0, padding), (1, stride), (1, dilation)
        self._bias = bias.to(dtype)
        self._weight = weight[:, :, None].to(dtype).contiguous(memory_format=torch.channels_last)
        self._prepacked = onednn_takes(dtype)
        if self._prepacked:
            shape = [1, weight.shape[1], 1, _TYPICAL_FRAMES]
            self._weight = torch.ops.mkldnn._reorder_convolution_weight(self._weight, *self._geometry, 1, shape)

    def __call__(self, x: Tensor) -> Tensor:
        padding, stride, dilation = self._geometry
        if not self._prepacked:
            return narrow(F.conv2d(wide(x), self._weight, self._bias, stride, padding, dilation))
        convolved: Tensor = torch.ops.mkldnn._convolution_pointwise(
            wide(x), self._weight, self._bias, *self._geometry, 1, "none", [], ""
        )
        return narrow(convolved)


class Upsample:
    """A transposed convolution `[T, in]` -> `[T stride, out]`; depthwise where `groups` is the number of channels."""

    def __init__(self, parameters: Convolution, dtype: torch.dtype, groups: int = 1) -> None:
        weight, bias, stride, padding, _ = parameters
        self._weight, self._bias = weight[:, :, None].to(dtype), bias.to(dtype)
        surplus = stride + 2 * padding - weight.shape[2]
        self._geometry = (1, stride), (0, padding), (0, surplus), groups

    def __call__(self, x: Tensor) -> Tensor:
        return narrow(F.conv_transpose2d(wide(x), self._weight, self._bias, *self._geometry))


class AdaIN:
    """Adaptive instance normalisation: each channel gets the mean and deviation that the style asks for."""

    def __init__(self, style: Linear) -> None:
        self._style = style

    def __call__(self, x: Tensor, style: Tensor, gain: Tensor | float = 1.0, offset: float = 0.0) -> Tensor:
        """`gain * normalised + offset`, for `x` `[T, C]` and `style` `[1, 128]`; statistics are in float32."""
        scale, shift = torch.addmm(self._style.bias, style, self._style.weight)[0].chunk(2)
        weight, bias = gain * (1 + scale), gain * shift + offset
        return narrow(F.batch_norm(wide(x), None, None, weight, bias, True, 0.0, _EPSILON))


class ResidualBlock:
    """AdaIN, leaky ReLU and convolution, twice; with `upsamples`, at twice the rate."""

    def __init__(self, checkpoint: Checkpoint, path: str, dtype: torch.dtype, upsamples: bool = False) -> None:
        self._norms = [AdaIN(checkpoint.linear(f"{path}/norm{i}/fc")) for i in (1, 2)]
        self._convolutions = [Convolve(checkpoint.convolution(f"{path}/conv{i}"), dtype) for i in (1, 2)]
        self._shortcut = Convolve(checkpoint.convolution(f"{path}/conv1x1"), dtype)
        self._pool = None
        if upsamples:
            pool = checkpoint.plain_convolution(f"{path}/pool", "ConvTranspose")
            self._pool = Upsample(pool, dtype, groups=len(pool.bias))

    def __call__(self, x: Tensor, style: Tensor) -> Tensor:
        """`[T, in]` -> `[T, out]` or `[2 T, out]`."""
        y = F.leaky_relu(self._norms[0](x, style), 0.2)
        if self._pool is not None:
            x, y = x.repeat_interleave(2, 0), self._pool(y)
        y = self._convolutions[0](y)
        y = self._convolutions[1](F.leaky_relu(self._norms[1](y, style), 0.2))
        return (y + self._shortcut(x)) / math.sqrt(2)


def wide(x: Tensor) -> Tensor:
    """`[T, C]` as an image `[1, C, 1, T]` with channels last in memory."""
    return x.t()[None, :, None]


def narrow(x: Tensor) -> Tensor:
    """The inverse of `wide`."""
    return x[0, :, 0].t()
