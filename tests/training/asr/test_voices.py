import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from training.asr.voices import (
    FLITE_HELD_OUT,
    KOKORO_HELD_OUT,
    MixingNetwork,
    draw_cheap,
    draw_kokoro,
    kokoro_language,
)

NAMES = ["af_bella", "af_heart", "am_adam", "bm_lewis", "zf_xiaoni", *KOKORO_HELD_OUT]


def test_held_out_voices_are_never_drawn_for_training_nor_mixed() -> None:
    dice = random.Random(1)
    drawn = [draw_kokoro(NAMES, heldout=False, dice=dice) for _ in range(2000)]
    assert not any(name in voice.name for voice in drawn for name in KOKORO_HELD_OUT)
    assert {name for name in NAMES if any(name in voice.name for voice in drawn)} == set(NAMES) - set(KOKORO_HELD_OUT)
    assert any("+" in voice.name for voice in drawn)
    assert {draw_cheap("flite", heldout=False, dice=dice).name for _ in range(500)} == {"awb", "slt", "kal16"}


def test_evaluation_draws_held_out_voices_only() -> None:
    dice = random.Random(1)
    assert {draw_kokoro(NAMES, heldout=True, dice=dice).name for _ in range(200)} == set(KOKORO_HELD_OUT)
    assert draw_cheap("flite", heldout=True, dice=dice).name == FLITE_HELD_OUT


def test_an_engine_without_a_held_out_voice_has_none_to_draw() -> None:
    with pytest.raises(ValueError, match="espeak"):
        draw_cheap("espeak", heldout=True, dice=random.Random(1))


def test_a_mixture_speaks_the_english_of_its_largest_part() -> None:
    assert kokoro_language("bm_lewis") == "en-GB"
    assert kokoro_language("bm_lewis*0.4+af_bella*0.6") == "en-US"


def test_a_mixture_is_convex(checkpoint: Callable[[str], Path]) -> None:
    network = MixingNetwork(checkpoint("kokoro"), checkpoint("kokoro-voices") / "voices.safetensors")
    first, second = (network.style(name, 30) for name in ("af_heart", "am_puck"))
    mixed = network.style("af_heart*0.3+am_puck*0.7", 30)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, 0.3 * first + 0.7 * second, rtol=1e-5, atol=1e-6)
