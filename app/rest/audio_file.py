"""Decoding an uploaded audio file, a little at a time."""

from collections.abc import Iterator
from typing import BinaryIO

import av
from av.error import FFmpegError

from pipelines.turns import SAMPLE_RATE_HZ


class NotAudio(ValueError):
    """The file cannot be decoded as audio."""


def decode(source: BinaryIO, rate_hz: int = SAMPLE_RATE_HZ) -> Iterator[bytes]:
    """Yield the first audio track as mono little-endian int16, in pieces of half a second. Raises NotAudio."""
    piece = bytearray()
    for frame in _frames(source, rate_hz):
        piece += frame
        if len(piece) >= rate_hz:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _frames(source: BinaryIO, rate_hz: int) -> Iterator[bytes]:
    try:
        with av.open(source, "r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise NotAudio("the file has no audio track")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
            for frame in container.decode(audio=0):
                for resampled in resampler.resample(frame):
                    yield resampled.to_ndarray().tobytes()
            for resampled in resampler.resample(None):
                yield resampled.to_ndarray().tobytes()
    except (FFmpegError, ValueError, EOFError) as error:
        if isinstance(error, NotAudio):
            raise
        raise NotAudio(f"the file is not audio that can be decoded: {error}") from error
