"""Encoding speech as it is made: PCM goes in, bytes of a file come out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer

RATE_HZ = 24_000

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
MEDIA_TYPES: Mapping[Format, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


class AudioEncoder(Protocol):
    """Encodes mono little-endian int16 PCM at 24 kHz, a piece at a time. Holds back less than a tenth of a second."""

    def encode(self, pcm: bytes) -> bytes:
        """What can be written of the file now."""

    def finish(self) -> bytes:
        """The rest of the file."""


@dataclass(frozen=True)
class _Recipe:
    container: str
    codec: str
    bit_rate: int | None = None
    options: dict[str, str] = field(default_factory=dict)


_RECIPES: Mapping[Format, _Recipe] = {
    "mp3": _Recipe("mp3", "libmp3lame", 96_000, {"id3v2_version": "0"}),
    "opus": _Recipe("ogg", "libopus", 48_000, {"page_duration": "50000"}),
    "aac": _Recipe("adts", "aac", 64_000),
    "flac": _Recipe("flac", "flac"),
    "wav": _Recipe("wav", "pcm_s16le", None, {"fflags": "+bitexact"}),
}
"""Nothing in these files depends on their length, which is not known when they begin."""


def encoder(kind: Format) -> AudioEncoder:
    """An encoder for one file: MP3, Opus in Ogg, AAC in ADTS, FLAC, WAV of unknown length, or bare PCM."""
    return _Plain() if kind == "pcm" else _Encoded(_RECIPES[kind])


class _Plain:
    def encode(self, pcm: bytes) -> bytes:
        return pcm

    def finish(self) -> bytes:
        return b""


class _Written:
    """A file that cannot be rewound: what has been written waits to be taken."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


class _Encoded:
    def __init__(self, recipe: _Recipe) -> None:
        self._written = _Written()
        self._container: OutputContainer = av.open(self._written, "w", format=recipe.container, options=recipe.options)
        self._stream = cast(AudioStream, self._container.add_stream(recipe.codec, rate=RATE_HZ, layout="mono"))
        if recipe.bit_rate:
            self._stream.bit_rate = recipe.bit_rate
        self._pts = 0

    def encode(self, pcm: bytes) -> bytes:
        if pcm:
            samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, self._pts
            self._pts += frame.samples
            self._container.mux(self._stream.encode(frame))
        return self._written.take()

    def finish(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._written.take()
