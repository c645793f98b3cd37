"""Overlap-save against a direct convolution in float64."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone knows)

from models.tts.checkpoint import Convolution
from models.tts.overlap_save import OverlapSave

TOLERANCE = 2e-6
"""Of the largest output; a direct convolution in float32 errs as much."""


@pytest.mark.parametrize("length", [1, 25, 26, 27, 700])
@pytest.mark.parametrize("dilation", [1, 3, 5])
@pytest.mark.parametrize("kernel", [2, 7, 11])
def test_is_a_convolution(kernel: int, dilation: int, length: int) -> None:
    dice = torch.Generator().manual_seed(kernel)
    weight, bias = torch.randn(24, 40, kernel, generator=dice), torch.randn(24, generator=dice)
    x = torch.randn(length, 40, generator=dice)
    padding = kernel // 2 * dilation

    y = OverlapSave(Convolution(weight, bias, 1, padding, dilation))(x)

    exact = x.t()[None].double(), weight.double(), bias.double()
    direct = F.conv1d(*exact, padding=padding, dilation=dilation)[0].t()
    assert y.shape == direct.shape
    assert (y - direct).abs().max() <= TOLERANCE * direct.abs().max()


def test_goes_on_from_block_to_block() -> None:
    """A signal of several blocks, whose parts alone give the same."""
    dice = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 8, 7, generator=dice)
    convolve = OverlapSave(Convolution(weight, torch.zeros(8), 1, 0, 1))
    x = torch.randn(10_000, 8, generator=dice)
    whole = convolve(x)
    for start in (0, 3_300, 9_000):
        part = convolve(x[start : start + 500])
        torch.testing.assert_close(part, whole[start : start + len(part)], atol=1e-5, rtol=1e-5)
