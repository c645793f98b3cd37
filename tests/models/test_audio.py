"""The audio ring: what it holds, what it refuses, and that slots do not touch each other."""

import numpy as np
import pytest

from models.audio import AudioRing, FloatArray
from models.base import StreamError

CAPACITY = 3
SAMPLES = 100


def ramp(start: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.arange(start, start + count, dtype=np.int16)


def scaled(start: int, count: int) -> FloatArray:
    return ramp(start, count).astype(np.float32) / np.float32(32_768)


@pytest.fixture
def ring() -> AudioRing:
    return AudioRing(CAPACITY, SAMPLES)


def fill(ring: AudioRing, slot: int, until: int, step: int = 30) -> None:
    """Write a ramp up to sample `until`, keeping no more than the last 60 samples."""
    for pts in range(int(ring.written[slot]), until, step):
        ring.append(slot, pts, ramp(pts, min(step, until - pts)).tobytes())
        ring.release(slot, pts - 30)


def test_reads_back_what_was_written_scaled_to_one(ring: AudioRing) -> None:
    ring.append(1, 0, np.array([-32_768, 0, 16_384, 32_767], "<i2").tobytes())

    samples = ring.read([1], [0], 4)

    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, [[-1.0, 0.0, 0.5, 32_767 / 32_768]])


def test_reads_are_right_after_the_ring_has_wrapped(ring: AudioRing) -> None:
    fill(ring, 0, 970)
    np.testing.assert_array_equal(ring.read([0], [930], 40)[0], scaled(930, 40))


def test_reads_ragged_slots_at_once(ring: AudioRing) -> None:
    fill(ring, 0, 970)
    fill(ring, 2, 250)

    both = ring.read([2, 0], [230, 940], 20)

    np.testing.assert_array_equal(both, [scaled(230, 20), scaled(940, 20)])


def test_reads_zero_where_nothing_is_held(ring: AudioRing) -> None:
    fill(ring, 0, 50)
    ring.release(0, 40)

    samples = ring.read([0, 1], [-10, 0], 70)

    np.testing.assert_array_equal(samples[0, :50], np.zeros(50))
    np.testing.assert_array_equal(samples[0, 50:60], scaled(40, 10))
    np.testing.assert_array_equal(samples[0, 60:], np.zeros(10))
    assert not samples[1].any()


def test_history_outlives_its_release() -> None:
    ring = AudioRing(CAPACITY, SAMPLES, history=20)
    for pts in range(0, 1_000, 100):
        ring.append(0, pts, ramp(pts, 100).tobytes())
        ring.release(0, pts + 100)

    np.testing.assert_array_equal(ring.read([0], [970], 30)[0], [*np.zeros(10), *scaled(980, 20)])


@pytest.mark.parametrize(
    ("pts", "data", "param"),
    [(9, b"ab", "pts"), (11, b"ab", "pts"), (10, b"abc", "data"), (10, bytes(2 * SAMPLES), "data")],
    ids=["overlap", "gap", "half a sample", "too much"],
)
def test_refuses_bad_audio_and_stays_as_it_was(ring: AudioRing, pts: int, data: bytes, param: str) -> None:
    ring.append(0, 0, ramp(0, 10).tobytes())

    with pytest.raises(StreamError) as error:
        ring.append(0, pts, data)

    assert error.value.param == param
    ring.append(0, 10, ramp(10, 10).tobytes())
    np.testing.assert_array_equal(ring.read([0], [0], 20)[0], scaled(0, 20))


def test_holds_as_much_as_it_says(ring: AudioRing) -> None:
    ring.append(0, 0, ramp(0, SAMPLES).tobytes())
    ring.release(0, 7)
    ring.append(0, SAMPLES, ramp(SAMPLES, 7).tobytes())
    np.testing.assert_array_equal(ring.read([0], [7], SAMPLES)[0], scaled(7, SAMPLES))
    with pytest.raises(StreamError):
        ring.append(0, SAMPLES + 7, b"ab")


def test_release_stays_within_what_was_received_and_never_goes_back(ring: AudioRing) -> None:
    fill(ring, 0, 30)
    for pts, released in [(10, 10), (5, 10), (99, 30)]:
        ring.release(0, pts)
        assert ring.released[0] == released


def test_a_snapshot_moves_to_another_slot(ring: AudioRing) -> None:
    fill(ring, 0, 970)
    held = ring.snapshot(0)
    assert len(held.data) == 2 * (970 - int(ring.released[0]))

    fill(ring, 2, 250)
    ring.restore(2, held)
    ring.reset(0)

    assert (ring.released[2], ring.written[2]) == (held.released, 970)
    ring.append(2, 970, ramp(970, 10).tobytes())
    np.testing.assert_array_equal(ring.read([2], [940], 40)[0], scaled(940, 40))


def test_refuses_a_snapshot_that_does_not_fit(ring: AudioRing) -> None:
    fill(ring, 0, 90)
    with pytest.raises(StreamError, match="does not fit"):
        AudioRing(1, 20).restore(0, ring.snapshot(0))
