"""Recent audio of every slot, held in one preallocated tensor."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from models.base import StreamError

SAMPLE_RATE_HZ = 16_000
BYTES_PER_SAMPLE = 2
_FULL_SCALE = 32_768

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


class HeldAudio(msgspec.Struct, array_like=True, frozen=True):
    """What a ring holds of one slot: `data` (int16 little-endian PCM) ends at sample `written`."""

    released: int
    written: int
    data: bytes


class AudioRing:
    """Up to `samples` unreleased samples of each slot (mono int16) and the `history` samples before those.

    Positions are samples since the slot's stream began. `released` and `written` are int64 `[capacity]`; what lies in
    [released - history, written) is held.
    """

    def __init__(self, capacity: int, samples: int, history: int = 0) -> None:
        self._audio = np.zeros((capacity, samples + history), np.int16)
        self._samples = samples
        self._history = history
        self.released = np.zeros(capacity, np.int64)
        self.written = np.zeros(capacity, np.int64)

    def reset(self, slot: int) -> None:
        """Forget the slot's audio and start again at sample 0."""
        self.released[slot] = self.written[slot] = 0

    def append(self, slot: int, pts: int, data: bytes) -> None:
        """Add int16 little-endian PCM that begins at sample `pts`.

        Raises StreamError if it does not continue what was written, is not whole samples, or does not fit.
        """
        if len(data) % BYTES_PER_SAMPLE:
            raise StreamError(f"audio must be whole 16-bit samples, got {len(data)} bytes", param="data")
        written = int(self.written[slot])
        if pts != written:
            raise StreamError(f"audio must continue at sample {written}, got {pts}", param="pts")
        samples = np.frombuffer(data, "<i2")
        unreleased = written + len(samples) - int(self.released[slot])
        if unreleased > self._samples:
            raise StreamError(f"at most {self._samples} samples can be held, got {unreleased}", param="data")
        self._store(slot, written, samples)
        self.written[slot] += len(samples)

    def release(self, slot: int, pts: int) -> None:
        """Free the samples before `pts`, or before what was written if that is less; never takes a release back."""
        self.released[slot] = max(int(self.released[slot]), min(pts, int(self.written[slot])))

    def read(self, slots: Sequence[int] | IntArray, starts: Sequence[int] | IntArray, count: int) -> FloatArray:
        """Samples [start, start + count) as float32 `[len(slots), count]` in [-1, 1), zero where not held."""
        rows = np.asarray(slots, np.int64)[:, None]
        positions = np.asarray(starts, np.int64)[:, None] + np.arange(count)
        held_from = np.maximum(self.released[rows] - self._history, 0)
        held = (positions >= held_from) & (positions < self.written[rows])
        samples = self._audio[rows, positions % self._audio.shape[1]].astype(np.float32)
        return np.where(held, samples / np.float32(_FULL_SCALE), np.float32(0))

    def snapshot(self, slot: int) -> HeldAudio:
        """A copy of what is held of the slot."""
        released, written = int(self.released[slot]), int(self.written[slot])
        positions = np.arange(max(released - self._history, 0), written)
        data = self._audio[slot, positions % self._audio.shape[1]].astype("<i2").tobytes()
        return HeldAudio(released, written, data)

    def restore(self, slot: int, held: HeldAudio) -> None:
        """Set the slot to a snapshot. Raises StreamError if it does not fit."""
        samples = np.frombuffer(held.data, "<i2")
        if held.written - held.released > self._samples or len(samples) > self._audio.shape[1]:
            raise StreamError(f"a snapshot of {len(samples)} samples does not fit", param="snapshot")
        self._store(slot, held.written - len(samples), samples)
        self.released[slot], self.written[slot] = held.released, held.written

    def _store(self, slot: int, pts: int, samples: npt.NDArray[np.int16]) -> None:
        positions = np.arange(pts, pts + len(samples))
        self._audio[slot, positions % self._audio.shape[1]] = samples
