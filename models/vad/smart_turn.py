"""Smart Turn: whether a speaker who paused has finished, judged by sound and words alike."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from models.audio import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, AudioRing, FloatArray, HeldAudio
from models.base import Message, Output, Pending, StreamError, StreamModel
from models.mel import log_mel
from models.onnx import open_session

HEARD_SAMPLES = 8 * SAMPLE_RATE_HZ
BUCKET = "turn"
_FILE = "smart-turn-v3.2-cpu.onnx"
_VARIANCE_FLOOR = 1e-7


def turn_features(audio: FloatArray) -> FloatArray:
    """The network's input: float32 `[B, 128000]` (8 s) at zero mean and unit variance, as log-mel `[B, 80, 800]`."""
    mean = audio.mean(axis=1, keepdims=True)
    deviation = np.sqrt(audio.var(axis=1, keepdims=True) + np.float32(_VARIANCE_FLOOR))
    return log_mel((audio - mean) / deviation)


class _Judgement(msgspec.Struct, array_like=True, frozen=True):
    pts: int
    slack_s: float


class _Snapshot(msgspec.Struct, array_like=True, frozen=True):
    audio: HeldAudio
    release_pts: int
    judgement: _Judgement | None


class SmartTurn(StreamModel):
    """Takes `audio` (16 kHz mono int16), `release` and `judge`; puts out `turn` for the latest `judge` of a slot.

    `turn`: pts = that of the `judge`, meta {"probability": that the speaker has finished}, from the 8 s up to pts.
    """

    name: ClassVar[str] = "smart-turn"
    accepts: ClassVar[frozenset[str]] = frozenset({"audio", "release", "judge"})

    def __init__(self, directory: Path, capacity: int, window_s: float = 30.0) -> None:
        """`directory` holds the checkpoint; each slot can hold `window_s` seconds of unreleased audio."""
        samples = round(window_s * SAMPLE_RATE_HZ)
        self.capacity = self.max_batch = capacity
        self.window = samples * BYTES_PER_SAMPLE
        self._session = open_session(directory / _FILE)
        self._ring = AudioRing(capacity, samples, history=HEARD_SAMPLES)
        self._release_pts = [0] * capacity
        self._judgements: list[_Judgement | None] = [None] * capacity

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        self._ring.reset(slot)
        self._release_pts[slot] = 0
        self._judgements[slot] = None

    def push(self, slot: int, message: Message) -> None:
        match message.kind:
            case "audio":
                self._ring.append(slot, message.pts, message.data)
            case "release":
                received = int(self._ring.written[slot])
                self._release_pts[slot] = max(self._release_pts[slot], min(message.pts, received))
            case "judge":
                self._judge(slot, message)
        self._release(slot)

    def pending(self) -> Iterable[Pending]:
        return [
            Pending(slot, BUCKET, judgement.slack_s)
            for slot, judgement in enumerate(self._judgements)
            if judgement is not None
        ]

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        pts = [judgement.pts for slot in slots if (judgement := self._judgements[slot])]
        audio = self._ring.read(slots, np.asarray(pts) - HEARD_SAMPLES, HEARD_SAMPLES)
        (finished,) = self._session.run(["logits"], {"input_features": turn_features(audio)})
        for slot in slots:
            self._judgements[slot] = None
            self._release(slot)
        return [
            Output(slot, "turn", at, meta={"probability": float(probability)})
            for slot, at, probability in zip(slots, pts, finished[:, 0], strict=True)
        ]

    def consumed(self, slot: int) -> int:
        return int(self._ring.released[slot]) * BYTES_PER_SAMPLE

    def snapshot(self, slot: int) -> bytes:
        saved = _Snapshot(self._ring.snapshot(slot), self._release_pts[slot], self._judgements[slot])
        return msgspec.msgpack.encode(saved)

    def restore(self, slot: int, snapshot: bytes) -> None:
        saved = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        self._ring.restore(slot, saved.audio)
        self._release_pts[slot] = saved.release_pts
        self._judgements[slot] = saved.judgement

    def close(self, slot: int) -> None:
        self.open(slot, {})

    def _judge(self, slot: int, message: Message) -> None:
        written = int(self._ring.written[slot])
        if not self._release_pts[slot] <= message.pts <= written:
            expected = f"between {self._release_pts[slot]} (released) and {written} (received)"
            raise StreamError(f"judge must be {expected}, got {message.pts}", param="pts")
        self._judgements[slot] = _Judgement(message.pts, message.slack_s)

    def _release(self, slot: int) -> None:
        """Free what was released, as far as no judgement still waits for it."""
        judgement = self._judgements[slot]
        pts = self._release_pts[slot]
        self._ring.release(slot, min(pts, judgement.pts) if judgement else pts)
