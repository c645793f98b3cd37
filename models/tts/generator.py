"""Kokoro's generator, an iSTFTNet (arXiv 2203.02395) with styled residual blocks."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone knows)
from torch import Tensor

from models.tts.checkpoint import Checkpoint, Convolution
from models.tts.layers import AdaIN, Convolve, Upsample
from models.tts.overlap_save import OverlapSave
from models.tts.source import FFT, HOP

_STAGES = 2
_KERNELS = 3
"""Residual blocks of a stage that run side by side."""
_LAYERS = 3
"""Pairs of convolutions in a residual block."""
_LONG = 7
"""Kernels from which on overlap-save is faster; those of the blocks are 3, 7 and 11."""
_GAIN = 1.5
"""The ONNX file's inverse transform does not divide by the windows' sum."""


class SnakeConvolution:
    """AdaIN, Snake (arXiv 2006.08195) and a convolution.

    Snake is x + sin²(ax) / a = (u + 1 - cos u) / 2a with u = 2ax: AdaIN puts out u, the convolution's weight takes
    1 / 2a and its bias the 1, except at the ends, where the convolution's zeros stand for it.
    """

    def __init__(self, checkpoint: Checkpoint, path: str, half: int, layer: int, dtype: torch.dtype) -> None:
        self._norm = AdaIN(checkpoint.linear(f"{path}/adain{half}.{layer}/fc"))
        self._double = 2 * checkpoint.tensor(path, f"alpha{half}.{layer}").flatten()
        convolution = checkpoint.convolution(f"{path}/convs{half}.{layer}")
        self._convolve = _convolve(_scaled(convolution, 1 / self._double), dtype)

    def __call__(self, x: Tensor, style: Tensor) -> Tensor:
        u = self._norm(x, style, self._double)
        return self._convolve(u.sub_(u.cos()).add_(1))


class SnakeBlock:
    """Three pairs of convolutions, each pair with a shortcut."""

    def __init__(self, checkpoint: Checkpoint, path: str, dtype: torch.dtype) -> None:
        self._layers = [
            [SnakeConvolution(checkpoint, path, half, layer, dtype) for half in (1, 2)] for layer in range(_LAYERS)
        ]

    def __call__(self, x: Tensor, style: Tensor) -> Tensor:
        for first, second in self._layers:
            x = second(first(x, style), style).add_(x)
        return x


class Generator:
    """Hidden states to samples, 300 for each."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._ups = [
            Upsample(checkpoint.plain_convolution(f"generator/ups.{i}", "ConvTranspose"), dtype) for i in range(_STAGES)
        ]
        self._source = [Convolve(checkpoint.convolution(f"generator/noise_convs.{i}"), dtype) for i in range(_STAGES)]
        self._source_blocks = [SnakeBlock(checkpoint, f"generator/noise_res.{i}", dtype) for i in range(_STAGES)]
        self._blocks = [
            [SnakeBlock(checkpoint, f"generator/resblocks.{_KERNELS * stage + i}", dtype) for i in range(_KERNELS)]
            for stage in range(_STAGES)
        ]
        self._last = Convolve(checkpoint.plain_convolution("generator/conv_post"), dtype)
        self._window = torch.hann_window(FFT)

    def __call__(self, x: Tensor, style: Tensor, source: Tensor) -> Tensor:
        """float32 `[300 T]` of `x` `[T, 512]`, `style` `[1, 128]` and the spectrum of the source `[60 T + 1, 22]`."""
        source = source.to(self._dtype).contiguous()
        for stage in range(_STAGES):
            x = self._ups[stage](F.leaky_relu(x, 0.1))
            if stage == _STAGES - 1:
                x = torch.cat([x[1:2], x])
            x = x.add_(self._source_blocks[stage](self._source[stage](source), style))
            first, *others = (block(x, style) for block in self._blocks[stage])
            x = sum(others, first) / _KERNELS
        magnitude, phase = self._last(F.leaky_relu(x, 0.01)).float().t().chunk(2)
        spectrum = torch.polar(magnitude.exp(), phase.sin())
        return torch.istft(spectrum[None], FFT, HOP, FFT, self._window)[0] * _GAIN


def _convolve(parameters: Convolution, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """The faster way: matrix units make up for more multiplications, vector units do not."""
    if dtype == torch.float32 and parameters.weight.shape[2] >= _LONG:
        return OverlapSave(parameters)
    return Convolve(parameters, dtype)


def _scaled(convolution: Convolution, factors: Tensor) -> Convolution:
    """The same of an input that is `1 / factors` as large."""
    return convolution._replace(weight=convolution.weight * factors[:, None])
