"""The list of voices, and the file that has them."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from models.tts.voices import DEFAULT_VOICE, UnknownVoice, resolve, voices

OPENAI = [
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
]


def test_every_voice_is_in_the_file(voices_file: Path) -> None:
    styles = load_file(voices_file)
    assert set(styles) == set(voices())
    for style in styles.values():
        assert style.shape == (510, 256)
        assert style.dtype == np.float16
        assert np.isfinite(style).all()


def test_there_is_choice() -> None:
    kinds = [(voice.language, voice.gender) for voice in voices().values()]
    for language in ("en-US", "en-GB"):
        for gender in ("female", "male"):
            assert kinds.count((language, gender)) >= 2


@pytest.mark.parametrize("name", OPENAI)
def test_openai_names_stand_for_voices(name: str) -> None:
    assert name in resolve(name).aliases
    assert resolve(resolve(name).name) == resolve(name)


def test_an_unknown_voice_is_told_the_choice() -> None:
    with pytest.raises(UnknownVoice, match=f"unknown voice 'nobody'.*{DEFAULT_VOICE}.*alloy"):
        resolve("nobody")
