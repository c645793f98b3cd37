"""From a client's audio to what the pipelines take: 16 kHz mono int16."""

import binascii
from functools import cache

import av
import numpy as np
import soxr
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from app.realtime.config import AudioFormat, Pcm, Pcma
from pipelines.turns import SAMPLE_RATE_HZ

MAX_APPEND_BYTES = 15 * 2**20
"""Largest base64 text of one append."""
G711_RATE_HZ = 8_000


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
