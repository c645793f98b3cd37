"""A clause's audio as it is played: silence trimmed to a natural pause, ends without clicks, words placed."""

from typing import NamedTuple

import numpy as np

from models.audio import FloatArray
from models.tts.network import SAMPLE_RATE_HZ, Speech
from models.tts.phonemes import Utterance

LEAD_S = 0.05
"""Kept before the first sound."""
TAIL_S = 0.05
"""Kept after the last sound, before the pause."""
PAUSES_S = {".": 0.30, "!": 0.30, "?": 0.30, "…": 0.30, ":": 0.20, ";": 0.20, "—": 0.15, ",": 0.10}
"""Silence after a clause that ends with a mark, at speed 1."""
FADE_S = 0.005
_AUDIBLE = 0.005
"""Of full scale: about -46 dB."""


class Clip(NamedTuple):
    """`pcm`: 16-bit little-endian mono at 24 kHz. `words`: (text start, text end, first sample, end sample)."""

    pcm: bytes
    words: list[tuple[int, int, int, int]]

    @property
    def samples(self) -> int:
        """How long it plays."""
        return len(self.pcm) // 2


def clip(utterance: Utterance, speech: Speech, speed: float) -> Clip:
    """What of `speech` is played. A cut in the middle of a phrase leaves no pause."""
    begin, end = _audible(speech.audio)
    sound = speech.audio[begin:end] * _fades(end - begin)
    pause = round(PAUSES_S[utterance.symbols[-1]] / speed * SAMPLE_RATE_HZ)
    samples = np.concatenate([sound, np.zeros(pause, np.float32)])
    starts = np.clip(speech.starts - begin, 0, len(sound))
    words = [(word.start, word.end, int(starts[word.first]), int(starts[word.last])) for word in utterance.words]
    return Clip((np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes(), words)


def _audible(audio: FloatArray) -> tuple[int, int]:
    """From a little before the first sound to a little after the last."""
    loud = np.flatnonzero(np.abs(audio) > _AUDIBLE)
    if not len(loud):
        return 0, len(audio)
    begin = loud[0] - round(LEAD_S * SAMPLE_RATE_HZ)
    end = loud[-1] + round(TAIL_S * SAMPLE_RATE_HZ)
    return max(0, int(begin)), min(len(audio), int(end))


def _fades(samples: int) -> FloatArray:
    """Gain that rises from and falls to nothing, `[samples]`."""
    edge = np.arange(samples, dtype=np.float32) / np.float32(FADE_S * SAMPLE_RATE_HZ)
    gain: FloatArray = np.minimum(1, np.minimum(edge, edge[::-1]))
    return gain
