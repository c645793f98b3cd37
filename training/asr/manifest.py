"""Manifests in NeMo's form and the audio of their lines."""

import wave
from pathlib import Path

import msgspec
import numpy as np

from models.audio import SAMPLE_RATE_HZ, FloatArray
from training.asr.audio import decode


class Utterance(msgspec.Struct, frozen=True):
    """A line of a manifest; other fields are passed by."""

    audio_filepath: str
    duration: float
    text: str
    offset: float = 0.0
    """Where in its file it begins, seconds."""
    engine: str = ""
    source: str = ""
    alignment: list[tuple[str, float, float]] | None = None
    """Words and the seconds from which to which they are said, counted from where the utterance begins."""

    def audio(self) -> FloatArray:
        """Mono at 16 kHz: float32 `[N]`."""
        start = round(self.offset * SAMPLE_RATE_HZ)
        return read_audio(self.audio_filepath)[start : start + round(self.duration * SAMPLE_RATE_HZ)]


def read_manifest(file: Path) -> list[Utterance]:
    """Its utterances with absolute paths. A last line that is still being written is passed by."""
    lines = file.read_bytes().split(b"\n")[:-1]
    utterances = (msgspec.json.decode(line, type=Utterance) for line in lines)
    return [msgspec.structs.replace(u, audio_filepath=str(file.parent / u.audio_filepath)) for u in utterances]


def read_audio(file: str) -> FloatArray:
    """A whole file as mono audio at 16 kHz: float32 `[N]`."""
    if file.endswith(".wav"):
        with wave.open(file) as wav:
            if wav.getparams()[:3] == (1, 2, SAMPLE_RATE_HZ):
                samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
                return samples.astype(np.float32) / np.float32(32_768)
    return decode(Path(file))
