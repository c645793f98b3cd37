"""Opus (RFC 6716) to and from the audio of the pipelines: 16 kHz mono int16 in, 24 kHz mono int16 out."""

from fractions import Fraction

import av
import numpy as np
import soxr
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from app.rtc.arrivals import CLOCK_HZ
from pipelines import speak
from pipelines.turns import SAMPLE_RATE_HZ

SILENCE = b"\xf8\xff\xfe"
"""20 ms of nothing."""
BIT_RATE = 40_000
EXPECTED_LOSS_PERCENT = 5
"""Against so much loss each packet carries a coarse copy of the one before (RFC 6716 section 2.1.7)."""


class OpusDecoder:
    """Keeps the decoder's and the resampler's state between packets."""

    def __init__(self) -> None:
        context = AudioCodecContext.create("libopus", "r")
        assert isinstance(context, AudioCodecContext)
        context.format, context.layout, context.sample_rate = av.AudioFormat("s16"), av.AudioLayout("mono"), CLOCK_HZ
        self._context = context
        self._resampler = soxr.ResampleStream(CLOCK_HZ, SAMPLE_RATE_HZ, 1, dtype="float32", quality="MQ")

    def decode(self, payload: bytes) -> tuple[int, bytes]:
        """A packet's length in samples at 48 kHz, and its audio. What cannot be decoded is no audio."""
        if not payload:
            return 0, b""
        try:
            frames = self._context.decode(av.Packet(payload))
        except av.FFmpegError:
            return 0, b""
        pcm = b"".join(self._resampled(frame.to_ndarray().reshape(-1).astype(np.int16)) for frame in frames)
        return sum(frame.samples for frame in frames), pcm

    def silence(self, samples: int) -> bytes:
        """So many samples at 48 kHz in which nothing was said."""
        return self._resampled(np.zeros(samples, np.int16))

    def _resampled(self, samples: NDArray[np.int16]) -> bytes:
        resampled: NDArray[np.float32] = self._resampler.resample_chunk(samples.astype(np.float32))
        rounded: NDArray[np.int16] = np.clip(np.rint(resampled), -32_768, 32_767).astype("<i2")
        return rounded.tobytes()


class OpusEncoder:
    """Keeps the encoder's state between packets of 20 ms."""

    def __init__(self) -> None:
        context = AudioCodecContext.create("libopus", "w")
        assert isinstance(context, AudioCodecContext)
        context.format, context.layout = av.AudioFormat("s16"), av.AudioLayout("mono")
        context.sample_rate, context.bit_rate = speak.SAMPLE_RATE_HZ, BIT_RATE
        context.time_base = Fraction(1, speak.SAMPLE_RATE_HZ)
        context.options = {"application": "voip", "fec": "1", "packet_loss": str(EXPECTED_LOSS_PERCENT)}
        self._context = context

    def encode(self, pcm: bytes) -> bytes:
        """The packet of 20 ms of audio."""
        frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2").reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = speak.SAMPLE_RATE_HZ
        (packet,) = self._context.encode(frame)
        return bytes(packet)
