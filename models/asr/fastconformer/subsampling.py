"""Eight mel frames to one encoder frame, by three causal strided convolutions (`dw_striding`)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.asr.fastconformer.config import SUBSAMPLING

KERNEL = 3
STRIDE = 2
STAGES = SUBSAMPLING.bit_length() - 1
FREQUENCY_PADDING = (KERNEL - 1, STRIDE - 1)


class Subsampling(nn.Module):
    """A convolution over time and frequency, two depthwise-separable ones, and a projection.

    Every stage is padded by two frames before and one after, so output i sees inputs up to 2i. The modules of `conv`
    are numbered as in NeMo's checkpoints.
    """

    def __init__(self, mel_bins: int, channels: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, channels, KERNEL, STRIDE), nn.ReLU()]
        bins = mel_bins
        for stage in range(STAGES):
            bins = bins // STRIDE + 1
            if stage:
                depthwise = nn.Conv2d(channels, channels, KERNEL, STRIDE, groups=channels)
                layers += [depthwise, nn.Conv2d(channels, channels, 1), nn.ReLU()]
        self.conv = nn.Sequential(*layers)
        self.out = nn.Linear(channels * bins, width)

    def forward(self, mels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Mels `[B, frames, mel_bins]` and valid frames `[B]` to `[B, T, width]` and valid encoder frames `[B]`."""
        hidden = mels[:, None]
        for layer in self.conv:
            if isinstance(layer, nn.Conv2d) and layer.stride[0] == STRIDE:
                hidden = layer(functional.pad(hidden, FREQUENCY_PADDING * 2))
                lengths = lengths // STRIDE + 1
            else:
                hidden = layer(hidden)
            if isinstance(layer, nn.ReLU):
                hidden = hidden * _valid(hidden.shape[2], lengths)[:, None, :, None]
        return self.out(hidden.transpose(1, 2).flatten(2)), lengths


def _valid(frames: int, lengths: Tensor) -> Tensor:
    return torch.arange(frames, device=lengths.device) < lengths[:, None]
