"""A Whisper whose slots every test finds empty."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.asr.whisper.model import Whisper
from tests.models.asr.whisper.listening import WINDOW_S


@pytest.fixture(scope="session")
def loaded(checkpoint: Callable[[str], Path]) -> Whisper:
    return Whisper(checkpoint("whisper-base"), capacity=4, window_s=WINDOW_S, max_batch=3)


@pytest.fixture
def whisper(loaded: Whisper) -> Whisper:
    for slot in range(loaded.capacity):
        loaded.open(slot, {})
    return loaded
