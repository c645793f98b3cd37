from base64 import b64encode
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.realtime.audio import MAX_APPEND_BYTES, BadAudio, InputAudio
from app.realtime.config import AudioFormat, Pcm, Pcma, Pcmu

OUT_HZ = 16_000
ODD = b64encode(b"abc").decode()
FORMATS: list[tuple[AudioFormat, int, int]] = [(Pcm(), 24_000, 2), (Pcmu(), 8_000, 1), (Pcma(), 8_000, 1)]


def mu_law(code: int) -> int:
    """ITU-T G.711, table 2a."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def a_law(code: int) -> int:
    """ITU-T G.711, table 1a."""
    code ^= 0x55
    exponent, mantissa = code >> 4 & 7, code & 0x0F
    magnitude = (mantissa << 4) + 8 if exponent == 0 else (mantissa << 4) + 0x108 << exponent - 1
    return magnitude if code & 0x80 else -magnitude


def decoded(audio: InputAudio, data: bytes) -> NDArray[np.int16]:
    return np.frombuffer(audio.decode(b64encode(data).decode()), "<i2")


def flushed(audio: InputAudio) -> NDArray[np.int16]:
    return np.frombuffer(audio.flush(), "<i2")


def test_the_reference_formulas_give_the_extremes_of_the_standard() -> None:
    assert (mu_law(0x00), mu_law(0x80), mu_law(0x7F), mu_law(0xFF)) == (-32_124, 32_124, 0, 0)
    assert (a_law(0x2A), a_law(0xAA), a_law(0x55), a_law(0xD5)) == (-32_256, 32_256, -8, 8)


@pytest.mark.parametrize(("audio_format", "law"), [(Pcmu(), mu_law), (Pcma(), a_law)])
def test_every_code_of_g711_is_decoded_as_the_standard_says(
    audio_format: AudioFormat, law: Callable[[int], int]
) -> None:
    codes = bytes(code for code in range(256) for _ in range(100))
    samples = np.array([law(code) for code in codes], np.float32)
    expected = soxr.ResampleStream(8_000, OUT_HZ, 1, dtype="float32").resample_chunk(samples, last=True)
    audio = InputAudio(audio_format)
    heard = np.concatenate([decoded(audio, codes), flushed(audio)])
    assert np.array_equal(heard, np.clip(np.rint(expected), -32_768, 32_767))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(FORMATS), st.lists(st.integers(1, 5_000), min_size=1, max_size=20))
def test_no_audio_is_lost_or_made_up(audio_format: tuple[AudioFormat, int, int], chunks: list[int]) -> None:
    coding, rate, width = audio_format
    audio = InputAudio(coding)
    for _ in range(2):
        samples = sum(len(decoded(audio, bytes(width * chunk))) for chunk in chunks) + len(flushed(audio))
        assert abs(samples - sum(chunks) * OUT_HZ / rate) <= OUT_HZ / 1_000


@pytest.mark.parametrize("chunk", [50, 240, 2_400, 24_000])
def test_a_tone_keeps_its_pitch_level_and_place(chunk: int) -> None:
    tone = (10_000 * np.sin(2 * np.pi * 1_000 * np.arange(24_000) / 24_000)).astype("<i2")
    audio = InputAudio(Pcm())
    bounds = list(range(0, len(tone) + 1, chunk))
    pieces = [decoded(audio, tone[start:end].tobytes()) for start, end in pairwise(bounds)]
    heard = np.concatenate([*pieces, flushed(audio)]).astype(int)
    expected = 10_000 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)
    assert len(heard) == 16_000
    assert np.abs(heard - expected)[200:-200].max() < 20


def test_a_flush_leaves_nothing_behind() -> None:
    audio = InputAudio(Pcm())
    decoded(audio, np.full(4_800, 20_000, "<i2").tobytes())
    flushed(audio)
    assert not decoded(audio, bytes(9_600)).any()
    assert not flushed(audio).any()


def test_full_scale_does_not_wrap_around() -> None:
    audio = InputAudio(Pcm())
    square = np.repeat(np.array([32_767, -32_768] * 50, "<i2"), 100)
    heard = np.concatenate([decoded(audio, square.tobytes()), flushed(audio)]).astype(int)
    ideal = np.repeat(np.array([32_767, -32_768] * 50), 100)[(np.arange(len(heard)) * 1.5).astype(int)]
    settled = np.abs(np.convolve(ideal, np.ones(21) / 21, "same")) > 32_000
    assert (np.sign(heard) == np.sign(ideal))[settled].all()


def test_the_same_audio_is_always_heard_the_same() -> None:
    noise = np.random.default_rng(0).integers(-9_000, 9_000, 48_000).astype("<i2").tobytes()
    runs = [InputAudio(Pcm()) for _ in range(5)]
    assert len({audio.decode(b64encode(noise).decode()) for audio in runs}) == 1


def test_a_flush_of_nothing_is_nothing() -> None:
    assert InputAudio(Pcm()).flush() == b""


@pytest.mark.parametrize("text", ["", "A", "AAA", "AA=A", "AAAA\n", "AA AA", "ÄÄÄÄ", "AAAA====", "AAA-", ODD])
def test_what_is_not_audio_is_refused_and_nothing_is_taken(text: str) -> None:
    audio, other = InputAudio(Pcm()), InputAudio(Pcm())
    tone = np.arange(1_000, dtype="<i2").tobytes()
    before = decoded(audio, tone), decoded(other, tone)
    with pytest.raises(BadAudio):
        audio.decode(text)
    assert np.array_equal(*before)
    assert np.array_equal(decoded(audio, tone), decoded(other, tone))


def test_the_largest_append_is_taken_and_the_next_larger_is_not() -> None:
    largest = "A" * MAX_APPEND_BYTES
    assert len(InputAudio(Pcma()).decode(largest)) == pytest.approx(MAX_APPEND_BYTES * 3 / 4 * 2 * 2, rel=1e-3)
    with pytest.raises(BadAudio, match=str(MAX_APPEND_BYTES)):
        InputAudio(Pcm()).decode(largest + "AAAA")
