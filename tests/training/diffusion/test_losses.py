from pathlib import Path

import pytest
import torch

from tests.training.diffusion.toy import write_perceptual
from training.diffusion.losses import Weights, likeness, unlike_textures
from training.diffusion.perceptual import Perceptual

STROKES = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


def test_textures_may_lie_elsewhere_but_not_be_blurred(tmp_path: Path) -> None:
    perceptual = Perceptual(write_perceptual(tmp_path / "perceptual.pth"))
    moved = STROKES.roll((16, 24), (2, 3))
    blurred = torch.nn.functional.avg_pool2d(STROKES, 3, 1, 1)
    assert unlike_textures(STROKES, STROKES, perceptual) == 0
    assert 4 * unlike_textures(moved, STROKES, perceptual) < unlike_textures(blurred, STROKES, perceptual)


def test_pictures_without_texture_are_alike(tmp_path: Path) -> None:
    perceptual = Perceptual(write_perceptual(tmp_path / "perceptual.pth"))
    flat = torch.zeros(1, 3, 128, 128, requires_grad=True)
    unlike = unlike_textures(flat, torch.full_like(flat, 0.5), perceptual)
    (gradient,) = torch.autograd.grad(unlike, flat)
    assert unlike.item() == pytest.approx(0, abs=0.1)
    assert gradient.isfinite().all()


def test_colours_are_compared_in_squares() -> None:
    swapped = STROKES.reshape(2, 3, 16, 8, 16, 8).flip(3, 5).reshape(STROKES.shape)
    parts = likeness(swapped, STROKES, Weights(pixels=0.5, colours=1.0))
    assert parts.keys() == {"pixels", "colours"}
    assert parts["colours"].item() == pytest.approx(0, abs=1e-6)
    assert parts["pixels"].item() == pytest.approx(0.5 * (swapped - STROKES).abs().mean().item())
