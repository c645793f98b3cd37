"""A Kokoro whose slots every test finds empty."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.tts.kokoro import Kokoro
from models.tts.phonemes import Pronouncer


@pytest.fixture(scope="session")
def voices_file(checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint("kokoro-voices") / "voices.safetensors"


@pytest.fixture(scope="session")
def loaded(checkpoint: Callable[[str], Path], voices_file: Path) -> Kokoro:
    return Kokoro(checkpoint("kokoro"), voices_file, capacity=3)


@pytest.fixture
def kokoro(loaded: Kokoro) -> Kokoro:
    for slot in range(loaded.capacity):
        loaded.open(slot, {})
    return loaded


@pytest.fixture(scope="session")
def pronouncer(checkpoint: Callable[[str], Path]) -> Pronouncer:
    return Pronouncer(checkpoint("kokoro"))
