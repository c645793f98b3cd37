"""`Subsampling` chunk by chunk: every stage keeps the last frame of its input, so nothing is computed twice."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.asr.fastconformer.subsampling import FREQUENCY_PADDING, KERNEL, STRIDE, Subsampling
from models.linear import Linear, pack


class _Stage:
    """A strided convolution and what follows it, up to its ReLU. Frames are `[B, T, bins, channels]`."""

    def __init__(self, strided: nn.Conv2d, pointwise: nn.Conv2d | None, dtype: torch.dtype) -> None:
        self._depthwise: tuple[Tensor, Tensor | None] | None = None
        if pointwise is None:
            product = strided
        else:
            product = pointwise
            kernel = strided.weight.to(dtype, memory_format=torch.channels_last)
            self._depthwise = kernel, _cast(strided.bias, dtype)
        self._product: Linear = pack(product.weight.flatten(1).to(dtype), _cast(product.bias, dtype), "relu")

    def __call__(self, frames: Tensor) -> Tensor:
        """Frames `[B, 2T + 1, bins in, channels in]` to `[B, T, bins out, channels out]`."""
        before, after = FREQUENCY_PADDING
        bins = frames.shape[2] // STRIDE + 1
        if self._depthwise is None:
            padded = functional.pad(frames[..., 0], (before, after))
            return self._product(padded.unfold(1, KERNEL, STRIDE).unfold(2, KERNEL, STRIDE).flatten(3))
        weight, bias = self._depthwise
        mixed = functional.conv2d(frames.permute(0, 3, 1, 2), weight, bias, STRIDE, (0, before), groups=len(weight))
        return self._product(mixed.permute(0, 2, 3, 1))[:, :, :bins]


class StreamingSubsampling:
    """The stages and the projection of `Subsampling` in `dtype`; outputs are multiplied by `scale`."""

    def __init__(self, subsampling: Subsampling, mel_bins: int, scale: float, dtype: torch.dtype) -> None:
        convolutions = [layer for layer in subsampling.conv if isinstance(layer, nn.Conv2d)]
        pointwise = [None, *convolutions[2::2]]
        strided = [convolutions[0], *convolutions[1::2]]
        self._stages = [_Stage(*pair, dtype) for pair in zip(strided, pointwise, strict=True)]
        self.shapes: list[tuple[int, int, int]] = []
        """Shape of the frame that each stage keeps: `(1, bins, channels)`."""
        bins, channels = mel_bins, 1
        for convolution in strided:
            self.shapes.append((1, bins, channels))
            bins, channels = bins // STRIDE + 1, convolution.out_channels
        out = subsampling.out
        weight = out.weight.view(-1, channels, bins).transpose(1, 2).flatten(1)
        self._out = pack((scale * weight).to(dtype), _cast(scale * out.bias, dtype))

    def __call__(self, mels: Tensor, kept: list[Tensor], first: bool, last: bool) -> tuple[Tensor, list[Tensor]]:
        """Mels `[B, M, mel_bins]` to `[B * T, width]`, and what the stages keep of them.

        `kept` is what the stages kept of the chunk before, each `[B, 1, bins, channels]`; zeros if these mels are the
        `first` of their streams. If they are the `last`, each stage sees the silent frame after them.
        """
        hidden, keeps = mels[..., None], []
        for stage, before in zip(self._stages, kept, strict=True):
            joined = torch.cat([before, hidden], 1)
            keeps.append(joined[:, -1:])
            if first or last:
                joined = functional.pad(joined, (0, 0, 0, 0, int(first), int(last)))
            hidden = stage(joined)
        return self._out(hidden.flatten(2).flatten(0, 1)), keeps


def _cast(bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if bias is None else bias.to(dtype)
