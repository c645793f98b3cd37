"""A tiny checkpoint that the tests of diffusion share."""

from pathlib import Path

import pytest
import torch

from models.diffusion.networks import Networks
from tests.models.diffusion import checkpoints


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.write(tmp_path_factory.mktemp("diffusion"))


@pytest.fixture(scope="session")
def networks(saved: Path) -> Networks:
    return Networks(saved, torch.float32, torch.device("cpu"))


@pytest.fixture
def frames() -> torch.Tensor:
    """Eight unlike images."""
    return torch.rand(8, 3, checkpoints.SIZE, checkpoints.SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1
