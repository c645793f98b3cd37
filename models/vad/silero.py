"""Silero VAD: how likely each 32 ms of a stream is speech."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from models.audio import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, AudioRing, HeldAudio
from models.base import Message, Output, Pending, StreamModel
from models.onnx import open_session

FRAME_SAMPLES = 512
CONTEXT_SAMPLES = 64
STATE_SIZE = 128
BUCKET = "frame"
_FILE = "silero_vad_16k_op15.onnx"


class _Snapshot(msgspec.Struct, array_like=True, frozen=True):
    audio: HeldAudio
    state: bytes
    slack_s: float


class SileroVad(StreamModel):
    """Takes `audio` (16 kHz mono int16); puts out `vad` per frame of 512 samples.

    `vad`: pts = end of the frame, meta {"speech": probability}. A slot is pending while a whole frame is unread.
    """

    name: ClassVar[str] = "silero-vad"
    accepts: ClassVar[frozenset[str]] = frozenset({"audio"})

    def __init__(self, directory: Path, capacity: int, window_s: float = 30.0) -> None:
        """`directory` holds the checkpoint; each slot can hold `window_s` seconds of unread audio."""
        samples = round(window_s * SAMPLE_RATE_HZ)
        self.capacity = self.max_batch = capacity
        self.window = samples * BYTES_PER_SAMPLE
        self._session = open_session(directory / _FILE)
        self._sample_rate_hz = np.array(SAMPLE_RATE_HZ, np.int64)
        self._ring = AudioRing(capacity, samples, history=CONTEXT_SAMPLES)
        self._state = np.zeros((2, capacity, STATE_SIZE), np.float32)
        self._slack_s = np.zeros(capacity)

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        self._ring.reset(slot)
        self._state[:, slot] = 0

    def push(self, slot: int, message: Message) -> None:
        self._ring.append(slot, message.pts, message.data)
        self._slack_s[slot] = message.slack_s

    def pending(self) -> Iterable[Pending]:
        ready = np.flatnonzero(self._ring.written - self._ring.released >= FRAME_SAMPLES)
        return [Pending(int(slot), BUCKET, float(self._slack_s[slot])) for slot in ready]

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        rows = np.asarray(slots)
        starts = self._ring.released[rows]
        audio = self._ring.read(rows, starts - CONTEXT_SAMPLES, CONTEXT_SAMPLES + FRAME_SAMPLES)
        inputs = {"input": audio, "state": self._state[:, rows], "sr": self._sample_rate_hz}
        speech, state = self._session.run(["output", "stateN"], inputs)
        self._state[:, rows] = state
        self._ring.released[rows] += FRAME_SAMPLES
        return [
            Output(slot, "vad", int(start) + FRAME_SAMPLES, meta={"speech": float(probability)})
            for slot, start, probability in zip(slots, starts, speech[:, 0], strict=True)
        ]

    def consumed(self, slot: int) -> int:
        return int(self._ring.released[slot]) * BYTES_PER_SAMPLE

    def snapshot(self, slot: int) -> bytes:
        state = self._state[:, slot].tobytes()
        return msgspec.msgpack.encode(_Snapshot(self._ring.snapshot(slot), state, float(self._slack_s[slot])))

    def restore(self, slot: int, snapshot: bytes) -> None:
        saved = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        self._ring.restore(slot, saved.audio)
        self._state[:, slot] = np.frombuffer(saved.state, np.float32).reshape(2, STATE_SIZE)
        self._slack_s[slot] = saved.slack_s

    def close(self, slot: int) -> None:
        self._ring.reset(slot)
