"""How the tests of networks run, and real speech for them."""

import wave
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """As a worker has; several contend for the cores with whatever else runs."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def speech() -> Callable[[str], bytes]:
    """PCM of `tests/data/NAME.wav`: 16 kHz mono int16."""

    def read(name: str) -> bytes:
        with wave.open(str(DATA / f"{name}.wav")) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
            return bytes(file.readframes(file.getnframes()))

    return read
