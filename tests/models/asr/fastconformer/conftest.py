"""How the tests of FastConformer run."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """As a worker has; several contend for the cores with whatever else runs."""
    torch.set_num_threads(1)
