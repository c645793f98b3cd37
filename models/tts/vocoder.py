"""Kokoro's vocoder, an ISTFTNet (arXiv 2203.02395) with styled residual blocks, in PyTorch.

Signals are `[T, C]`, channels last, which is what the processor's matrix units want: in bfloat16 they convolve five
times as fast as the 8-bit network does.
"""

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone knows)
from torch import Tensor

from models.tts.checkpoint import Checkpoint, Convolution, Linear

STAGES = 2
KERNELS = 3
"""Residual blocks of a stage that run side by side."""
LAYERS = 3
"""Pairs of convolutions in a residual block."""
FFT = 20
HOP = 5
GAIN = 1.5
"""The ONNX file's inverse transform does not divide by the windows' sum."""
EPSILON = 1e-5


def fastest_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it in hardware, float32 elsewhere."""
    return torch.bfloat16 if torch.cpu.get_capabilities().get("amx_bf16", False) else torch.float32


class _Convolution:
    def __init__(self, parameters: Convolution, dtype: torch.dtype) -> None:
        weight, bias, stride, padding, dilation = parameters
        self._weight = weight[:, :, None].to(dtype).contiguous(memory_format=torch.channels_last)
        self._bias = bias.to(dtype)
        self._stride, self._padding, self._dilation = (1, stride), (0, padding), (1, dilation)

    def __call__(self, x: Tensor) -> Tensor:
        return _narrow(F.conv2d(_wide(x), self._weight, self._bias, self._stride, self._padding, self._dilation))


class _Upsampling:
    def __init__(self, parameters: Convolution, dtype: torch.dtype) -> None:
        weight, bias, stride, padding, _ = parameters
        self._weight, self._bias = weight[:, :, None].to(dtype), bias.to(dtype)
        self._stride, self._padding = (1, stride), (0, padding)

    def __call__(self, x: Tensor) -> Tensor:
        return _narrow(F.conv_transpose2d(_wide(x), self._weight, self._bias, self._stride, self._padding))


class _Activation:
    """Adaptive instance normalisation, then Snake: x + sin²(ax) / a (arXiv 2006.08195)."""

    def __init__(self, style: Linear, alpha: Tensor, dtype: torch.dtype) -> None:
        self._style = style
        self._half = 0.5 / alpha.flatten()
        self._frequency = (2 * alpha.flatten()).to(dtype)
        self._amplitude = (-0.5 / alpha.flatten()).to(dtype)
        self._minus_one = torch.tensor(-1.0, dtype=dtype)

    def __call__(self, x: Tensor, style: Tensor) -> Tensor:
        """sin² is (1 - cos(2ax)) / 2a; its constant goes into the normalisation's shift."""
        scale, shift = (style @ self._style.weight + self._style.bias)[0].chunk(2)
        shifted = _narrow(F.batch_norm(_wide(x), None, None, 1 + scale, shift + self._half, True, 0.0, EPSILON))
        wave = torch.addcmul(self._minus_one, shifted, self._frequency).cos_()
        return shifted.addcmul_(wave, self._amplitude)


class _ResidualBlock:
    def __init__(self, checkpoint: Checkpoint, path: str, dtype: torch.dtype) -> None:
        self._layers = [
            tuple(
                (
                    _Activation(
                        checkpoint.linear(f"{path}/adain{half}.{layer}/fc"),
                        checkpoint.tensor(path, f"alpha{half}.{layer}"),
                        dtype,
                    ),
                    _Convolution(checkpoint.convolution(f"{path}/convs{half}.{layer}"), dtype),
                )
                for half in (1, 2)
            )
            for layer in range(LAYERS)
        ]

    def __call__(self, x: Tensor, style: Tensor) -> Tensor:
        for layer in self._layers:
            y = x
            for activate, convolve in layer:
                y = convolve(activate(y, style))
            x = y.add_(x)
        return x


class Vocoder:
    """Hidden states to samples, 300 for each."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        self._dtype = dtype
        stages = range(STAGES)
        self._ups = [_Upsampling(checkpoint.plain_convolution(f"ups.{i}", "ConvTranspose"), dtype) for i in stages]
        self._source = [_Convolution(checkpoint.convolution(f"noise_convs.{i}"), dtype) for i in stages]
        self._source_blocks = [_ResidualBlock(checkpoint, f"noise_res.{i}", dtype) for i in stages]
        self._blocks = [_ResidualBlock(checkpoint, f"resblocks.{i}", dtype) for i in range(STAGES * KERNELS)]
        self._last = _Convolution(checkpoint.plain_convolution("conv_post"), dtype)
        self._window = torch.hann_window(FFT)

    @torch.inference_mode()
    def __call__(self, hidden: Tensor, style: Tensor, source: Tensor) -> Tensor:
        """float32 `[300 T]` of `hidden` `[1, 512, T]`, `style` `[1, 128]` and the spectrum of the harmonic `source`
        `[1, 22, 60 T + 1]`.
        """
        x, source = (tensor[0].t().to(self._dtype).contiguous() for tensor in (hidden, source))
        for stage in range(STAGES):
            x = self._ups[stage](F.leaky_relu(x, 0.1))
            if stage == STAGES - 1:
                x = torch.cat([x[1:2], x])
            x = x + self._source_blocks[stage](self._source[stage](source), style)
            blocks = self._blocks[stage * KERNELS : (stage + 1) * KERNELS]
            x = sum((block(x, style) for block in blocks[1:]), blocks[0](x, style)) / KERNELS
        magnitude, phase = self._last(F.leaky_relu(x, 0.01)).float().t().chunk(2)
        spectrum = torch.polar(magnitude.exp(), phase.sin())
        return torch.istft(spectrum[None], FFT, HOP, FFT, self._window)[0] * GAIN


def _wide(x: Tensor) -> Tensor:
    """`[T, C]` as an image `[1, C, 1, T]` with channels last in memory."""
    return x.t()[None, :, None]


def _narrow(x: Tensor) -> Tensor:
    """The inverse of `_wide`."""
    return x[0, :, 0].t()
