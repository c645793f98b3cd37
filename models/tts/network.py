"""Kokoro-82M: symbols, a voice and a speed in; audio and the duration of each symbol out."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file

from models.audio import FloatArray
from models.linear import fastest_dtype
from models.onnx import open_session
from models.tts.checkpoint import Checkpoint
from models.tts.decoder import Decoder

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 600
"""Durations are whole frames of 25 ms."""
_FILE = "kokoro-v1.0.int8.onnx"
_PADDING = 0
_DURATIONS = "/encoder/Round_output_0"
_DECODER_INPUTS = (
    "/encoder/MatMul_1_output_0",
    "/encoder/Reshape_output_0",
    "/encoder/Reshape_1_output_0",
    "/decoder/Slice_output_0",
)


class Speech(NamedTuple):
    """`audio`: float32 `[N]` at 24 kHz. `starts`: int64 `[symbols + 1]`, where each symbol starts and the last ends."""

    audio: FloatArray
    starts: npt.NDArray[np.int64]


class KokoroNetwork:
    """The network and its voices; one utterance at a time."""

    def __init__(self, directory: Path, voices: Path, threads: int = 1, dtype: torch.dtype | None = None) -> None:
        """`directory` holds the checkpoint, `voices` is a safetensors file with a `[510, 256]` tensor a voice: the
        style of an utterance of each length. `dtype` is the decoder's.
        """
        checkpoint = Checkpoint(directory / _FILE)
        self._session = open_session(checkpoint.until((_DURATIONS, *_DECODER_INPUTS)), threads)
        self._decoder = Decoder(checkpoint, dtype or fastest_dtype())
        self._styles = load_file(voices)

    @property
    def voices(self) -> set[str]:
        """Names of the voices that are there."""
        return set(self._styles)

    def style(self, voice: str, symbols: int) -> FloatArray:
        """How `voice` says an utterance of so many symbols: float32 `[1, 256]`."""
        return self._styles[voice][symbols - 1 : symbols].astype(np.float32)

    def speak(self, ids: Sequence[int], voice: str, speed: float) -> Speech:
        """Say 1 to 510 symbols."""
        inputs = {
            "tokens": np.array([[_PADDING, *ids, _PADDING]], np.int64),
            "style": self.style(voice, len(ids)),
            "speed": np.array([speed], np.float32),
        }
        durations, *states = self._session.run([_DURATIONS, *_DECODER_INPUTS], inputs)
        audio = self._decoder(*map(torch.from_numpy, states))
        ends = np.cumsum(durations[0].astype(np.int64)) * FRAME_SAMPLES
        return Speech(audio.numpy(), ends[:-1])
