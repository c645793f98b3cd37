"""How far a painting is from what the teacher made: in place, in colour, and in the textures that lie anywhere."""

import msgspec
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, l1_loss

from training.diffusion.perceptual import Perceptual

_BLUR = 8
"""Pixels that are one in the comparison of colours."""
_FLAT = 1.0
"""Size of Gram features that are next to nothing; those of photographs are some 15."""


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of each part of the loss. What asks for strokes in their very places gets blur: `pixels` and `edges` are for
    reconstruction, `colours` and `textures` for painting.
    """

    pixels: float = 1.0
    edges: float = 0.0
    """Differences of neighbouring pixels."""
    colours: float = 0.0
    """Of squares of 8 pixels."""
    textures: float = 0.0
    """Gram features (Gatys et al. 2016, section 2.2) of a network that has seen the world."""


def likeness(images: Tensor, wanted: Tensor, weights: Weights) -> dict[str, Tensor]:
    """Mean absolute differences of `[B, 3, H, W]`, weighted, by name; those of weight 0 are left out."""
    images = images.float()
    parts = {"pixels": weights.pixels * l1_loss(images, wanted)}
    if weights.edges:
        apart = [l1_loss(images.diff(dim=axis), wanted.diff(dim=axis)) for axis in (2, 3)]
        parts["edges"] = weights.edges * torch.stack(apart).sum()
    if weights.colours:
        parts["colours"] = weights.colours * l1_loss(avg_pool2d(images, _BLUR), avg_pool2d(wanted, _BLUR))
    return parts


def unlike_textures(images: Tensor, wanted: Tensor, perceptual: Perceptual) -> Tensor:
    """How far the centred Gram features of each block are apart, in direction (squared) and in size (of which the
    logarithm), the mean over blocks and pictures `[B, 3, H, W]`.
    """
    with torch.no_grad():
        aims = [_gram(features) for features in perceptual(wanted)]
    apart = []
    for features, aim in zip(perceptual(images), aims, strict=True):
        gram = _gram(features)
        size, wanted_size = (_FLAT + of.norm(dim=1, keepdim=True) for of in (gram, aim))
        direction = (gram / size - aim / wanted_size).square().sum(1)
        apart.append((direction + (size / wanted_size).log().abs().squeeze(1)).mean())
    return torch.stack(apart).mean()


def _gram(features: Tensor) -> Tensor:
    """How the channels of `[B, C, H, W]` vary together: `[B, C * C]`."""
    flat = features.flatten(2)
    flat = flat - flat.mean(2, keepdim=True)
    return (flat @ flat.mT).float().flatten(1) / flat.shape[2]
