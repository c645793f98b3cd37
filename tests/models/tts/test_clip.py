"""What of the network's audio is played."""

import numpy as np
import pytest

from models.audio import FloatArray
from models.tts.clip import LEAD_S, PAUSES_S, TAIL_S, clip
from models.tts.network import SAMPLE_RATE_HZ, Speech
from models.tts.phonemes import Utterance, Word

SILENCE = 12_000
SOUND = 24_000


def speech() -> Speech:
    """Half a second of silence, a second of tone (two words and a mark), half a second of silence."""
    audio = np.zeros(2 * SILENCE + SOUND, np.float32)
    audio[SILENCE:-SILENCE] = 0.5 * np.sin(np.arange(SOUND) * 0.1)
    starts = [SILENCE, SILENCE + 6_000, SILENCE + 9_000, SILENCE + SOUND, 2 * SILENCE + SOUND]
    return Speech(audio, np.array(starts))


def utterance(mark: str) -> Utterance:
    return Utterance(f"a b{mark}", [Word(0, 1, 0, 1), Word(2, 3, 2, 3)], 3)


def samples(pcm: bytes) -> FloatArray:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32_768)


@pytest.mark.parametrize(("mark", "speed"), [(".", 1.0), (",", 1.0), ("?", 2.0)])
def test_silence_becomes_a_natural_pause(mark: str, speed: float) -> None:
    expected = (LEAD_S + TAIL_S + PAUSES_S[mark] / speed) * SAMPLE_RATE_HZ + SOUND
    assert clip(utterance(mark), speech(), speed).samples == pytest.approx(expected, abs=200)


def test_ends_do_not_click() -> None:
    loud = Speech(np.full(SOUND, 0.9, np.float32), speech().starts)
    audio = samples(clip(utterance(","), loud, 1.0).pcm)
    assert abs(audio[0]) < 0.01
    assert np.abs(np.diff(audio)).max() < 0.01


def test_words_move_with_the_audio() -> None:
    made = clip(utterance("."), speech(), 1.0)
    lead = round(LEAD_S * SAMPLE_RATE_HZ)
    places = [(start, end, first - lead, last - lead) for start, end, first, last in made.words]
    assert [place[:2] for place in places] == [(0, 1), (2, 3)]
    assert [time for place in places for time in place[2:]] == pytest.approx([0, 6_000, 9_000, SOUND], abs=60)


def test_silence_alone_stays() -> None:
    silence = Speech(np.zeros(6_000, np.float32), np.array([0, 600, 1_200, 1_800, 6_000]))
    assert clip(utterance(","), silence, 1.0).samples == 6_000 + round(PAUSES_S[","] * SAMPLE_RATE_HZ)
