"""Between a client's audio and that of the pipelines: 16 kHz mono int16 in, 24 kHz mono int16 out."""

import binascii
from functools import cache

import av
import numpy as np
import soxr
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from app.realtime.config import AudioFormat, Pcm, Pcma
from pipelines import speak
from pipelines.turns import SAMPLE_RATE_HZ

MAX_APPEND_BYTES = 15 * 2**20
"""Largest base64 text of one append."""
G711_RATE_HZ = 8_000
DELTA_MS = 200
"""Most audio that one delta carries."""


class BadAudio(ValueError):
    """The audio of an append cannot be decoded."""


class InputAudio:
    """A stream of appended audio in one format. Keeps the resampler's state between appends."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self.format = audio_format
        self._resampler = self._new_resampler()

    def decode(self, base64: str) -> bytes:
        """Decode and resample one append to little-endian int16 at 16 kHz. Raises BadAudio; then nothing was taken."""
        if len(base64) > MAX_APPEND_BYTES:
            raise BadAudio(f"an append is at most {MAX_APPEND_BYTES} bytes of base64, this one has {len(base64)}")
        try:
            data = binascii.a2b_base64(base64, strict_mode=True)
        except (binascii.Error, ValueError) as error:
            raise BadAudio(f"not valid base64: {error}") from None
        if not data:
            raise BadAudio("the append has no audio")
        return _bytes(self._resampler.resample_chunk(self._samples(data).astype(np.float32)))

    def flush(self) -> bytes:
        """The last samples, which the resampler holds back until it knows what follows; then it starts anew."""
        tail = self._resampler.resample_chunk(np.empty(0, np.float32), last=True)
        self._resampler = self._new_resampler()
        return _bytes(tail)

    def _new_resampler(self) -> soxr.ResampleStream:
        rate = self.format.rate if isinstance(self.format, Pcm) else G711_RATE_HZ
        return soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, dtype="float32")

    def _samples(self, data: bytes) -> NDArray[np.int16]:
        if not isinstance(self.format, Pcm):
            return _g711_table("pcm_alaw" if isinstance(self.format, Pcma) else "pcm_mulaw")[
                np.frombuffer(data, np.uint8)
            ]
        if len(data) % 2:
            raise BadAudio(f"16-bit PCM has an even number of bytes, this append has {len(data)}")
        return np.frombuffer(data, "<i2")


class OutputAudio:
    """The speech of one message in a client's format. Keeps the resampler's and the codec's state between pieces."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format
        self._resampler = soxr.ResampleStream(speak.SAMPLE_RATE_HZ, G711_RATE_HZ, 1, dtype="float32")

    def encode(self, pcm: bytes, *, last: bool = False) -> list[str]:
        """Base64 deltas of 24 kHz mono int16 audio."""
        if isinstance(self._format, Pcm):
            return _deltas(pcm, speak.SAMPLE_RATE_HZ * speak.SAMPLE_BYTES)
        samples = self._resampler.resample_chunk(np.frombuffer(pcm, "<i2").astype(np.float32), last=last)
        return _deltas(self._companded(np.frombuffer(_bytes(samples), "<i2")), G711_RATE_HZ)

    def _companded(self, samples: NDArray[np.int16]) -> bytes:
        """To the nearest value of the law."""
        values, codes = _sorted_law("pcm_alaw" if isinstance(self._format, Pcma) else "pcm_mulaw")
        middles = (values[1:].astype(np.int32) + values[:-1]) / 2
        return codes[np.searchsorted(middles, samples)].tobytes()


def _deltas(data: bytes, bytes_per_s: int) -> list[str]:
    size = bytes_per_s * DELTA_MS // 1_000
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return [binascii.b2a_base64(piece, newline=False).decode() for piece in pieces]


@cache
def _sorted_law(codec: str) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Values of a G.711 law in rising order, and their codes."""
    table = _g711_table(codec)
    codes = np.argsort(table, kind="stable").astype(np.uint8)
    return table[codes], codes


def _bytes(samples: NDArray[np.float32]) -> bytes:
    """Rounded here: what soxr rounds it dithers at random, and no two runs would hear the same."""
    return np.clip(np.rint(samples), -32_768, 32_767).astype("<i2").tobytes()


@cache
def _g711_table(codec: str) -> NDArray[np.int16]:
    """The 256 values of a G.711 law, int16."""
    context = AudioCodecContext.create(codec, "r")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate = G711_RATE_HZ
    context.layout = "mono"
    (frame,) = context.decode(av.Packet(bytes(range(256))))
    return frame.to_ndarray().reshape(-1).astype(np.int16)
