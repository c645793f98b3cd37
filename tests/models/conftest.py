"""Real speech for the tests of networks."""

import wave
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session")
def speech() -> Callable[[str], bytes]:
    """PCM of `tests/data/NAME.wav`: 16 kHz mono int16."""

    def read(name: str) -> bytes:
        with wave.open(str(DATA / f"{name}.wav")) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
            return bytes(file.readframes(file.getnframes()))

    return read
