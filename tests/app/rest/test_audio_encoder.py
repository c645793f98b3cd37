"""Encoding while audio comes, whatever the size of its pieces."""

from io import BytesIO
from typing import get_args

import av
import numpy as np
import pytest

from app.rest.audio_encoder import MEDIA_TYPES, RATE_HZ, AudioEncoder, Format, encoder

KINDS: tuple[Format, ...] = get_args(Format)
SECONDS = 2.0
HELD_BACK_S = 0.2
PRIMING_S = 0.1
"""Codecs put up to so much silence around the audio."""


def tone(seconds: float) -> bytes:
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (np.sin(2 * np.pi * 440 * at) * 8_000).astype("<i2").tobytes()


def encoded(encoding: AudioEncoder, pcm: bytes, size: int) -> bytes:
    pieces = [encoding.encode(pcm[start : start + size]) for start in range(0, len(pcm), size)]
    return b"".join([*pieces, encoding.finish()])


def decoded(data: bytes, kind: Format) -> np.ndarray:
    """Samples at 24 kHz of a file that is read as a stream, without seeking."""
    if kind == "pcm":
        return np.frombuffer(data, "<i2")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    with av.open(BytesIO(data), "r") as container:
        frames = [out for frame in [*container.decode(audio=0), None] for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [960, 4_802, 1_000_000])
def test_whatever_the_pieces(kind: Format, size: int) -> None:
    samples = decoded(encoded(encoder(kind), tone(SECONDS), size), kind)
    assert len(samples) / RATE_HZ == pytest.approx(SECONDS, abs=PRIMING_S)
    spectrum = np.abs(np.fft.rfft(samples.astype(float)))
    assert np.argmax(spectrum) * RATE_HZ / len(samples) == pytest.approx(440, abs=2)
    assert np.abs(samples).max() == pytest.approx(8_000, rel=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_can_be_heard_at_once(kind: Format) -> None:
    encoding = encoder(kind)
    pcm = tone(SECONDS)
    begun = b"".join(encoding.encode(pcm[start : start + 4_800]) for start in range(0, len(pcm), 4_800))
    assert len(decoded(begun, kind)) / RATE_HZ > SECONDS - HELD_BACK_S


@pytest.mark.parametrize("kind", ["wav", "flac", "pcm"])
def test_lossless(kind: Format) -> None:
    pcm = tone(1.0)
    assert decoded(encoded(encoder(kind), pcm, 4_800), kind).tobytes() == pcm


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_encode(kind: Format) -> None:
    encoding = encoder(kind)
    assert isinstance(encoding.encode(b"") + encoding.finish(), bytes)


def test_wav_header_says_that_the_length_is_unknown() -> None:
    data = encoded(encoder("wav"), tone(0.1), 4_800)
    assert (data[:4], data[8:12], len(data)) == (b"RIFF", b"WAVE", 44 + 4_800)
    assert data[4:8] == data[40:44] == b"\xff\xff\xff\xff"


def test_every_format_has_a_media_type() -> None:
    assert set(MEDIA_TYPES) == set(KINDS)
