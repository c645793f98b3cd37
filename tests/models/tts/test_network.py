"""The network against the published graph, run whole."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from models.audio import FloatArray
from models.tts.network import FRAME_SAMPLES, KokoroNetwork
from models.tts.phonemes import Pronouncer

VOICE = "am_michael"
SPEED = 1.2


@pytest.fixture(scope="module")
def ids(pronouncer: Pronouncer) -> list[int]:
    utterance = pronouncer.utter("A rainbow is light.", "en-US", final=True)
    assert utterance is not None
    return utterance.ids


@pytest.fixture(scope="module")
def exact(checkpoint: Callable[[str], Path], voices_file: Path) -> KokoroNetwork:
    return KokoroNetwork(checkpoint("kokoro"), voices_file, dtype=torch.float32)


def likeness_db(expected: FloatArray, audio: FloatArray) -> float:
    """Signal-to-noise ratio of `audio` as a copy of `expected`."""
    return float(10 * np.log10((expected**2).sum() / ((expected - audio) ** 2).sum()))


def test_sounds_as_the_published_graph_does(
    exact: KokoroNetwork, ids: list[int], checkpoint: Callable[[str], Path], voices_file: Path
) -> None:
    """They differ by the graph's rounding of activations to 8 bits, which makes 15 dB."""
    session = onnxruntime.InferenceSession(checkpoint("kokoro") / "kokoro-v1.0.int8.onnx")
    style = exact.style(VOICE, len(ids))
    inputs = {"tokens": np.array([[0, *ids, 0]]), "style": style, "speed": np.array([SPEED], np.float32)}
    (published,) = session.run(["audio"], inputs)

    audio = exact.speak(ids, VOICE, SPEED).audio

    assert audio.shape == published.shape
    assert likeness_db(published, audio) > 12


def test_half_precision_is_closer_than_that(
    exact: KokoroNetwork, ids: list[int], checkpoint: Callable[[str], Path], voices_file: Path
) -> None:
    half = KokoroNetwork(checkpoint("kokoro"), voices_file, dtype=torch.bfloat16)
    assert likeness_db(exact.speak(ids, VOICE, SPEED).audio, half.speak(ids, VOICE, SPEED).audio) > 22


def test_durations_are_those_of_the_audio(exact: KokoroNetwork, ids: list[int]) -> None:
    speech = exact.speak(ids, VOICE, SPEED)
    assert len(speech.starts) == len(ids) + 1
    assert (np.diff(speech.starts) >= 0).all()
    assert not (speech.starts % FRAME_SAMPLES).any()
    assert 0 < speech.starts[0] < speech.starts[-1] < len(speech.audio)


def test_speed_shortens(exact: KokoroNetwork, ids: list[int]) -> None:
    slow, normal, fast = (len(exact.speak(ids[:9], VOICE, speed).audio) for speed in (0.6, 1.0, 2.0))
    assert slow > 1.3 * normal
    assert normal > 1.4 * fast
