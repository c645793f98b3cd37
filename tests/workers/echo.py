"""A small service for tests, without torch: `python -m workers tests.workers.echo:service`."""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np

from models.base import Message, Output, Pending, StreamError, StreamModel
from workers.service import Service
from workers.settings import WorkerSettings

SHORT_BYTES = 8
WINDOW_BYTES = 1024
MAX_BATCH = 4

POISON = b"poison"
"""Makes the step of its slot raise."""
SPOILT = b"spoilt"
"""Input that a step finds bad."""
REFUSED = b"refused"
"""Input that `push` finds bad."""
BUG = b"bug"
"""Makes `push` raise what it should not."""


class Echo(StreamModel):
    """Takes `text`; puts out `echo` per message, in capitals, and `flushed` after a flush.

    `echo`: pts of the message, meta {"digest": of everything echoed so far, in order}. A step echoes one message of
    each slot; long messages have a bucket of their own.
    """

    name: ClassVar[str] = "echo"
    accepts: ClassVar[frozenset[str]] = frozenset({"text"})

    def __init__(self, capacity: int, max_batch: int = MAX_BATCH, window: int = WINDOW_BYTES) -> None:
        self.capacity = capacity
        self.max_batch = max_batch
        self.window = window
        self.steps: list[tuple[Hashable, tuple[int, ...]]] = []
        """Bucket and slots of every step that succeeded."""
        self._queues: list[deque[Message]] = [deque() for _ in range(capacity)]
        self._flushed: set[int] = set()
        self._digests = np.zeros(capacity, np.uint64)
        self._consumed = [0] * capacity

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        if "refused" in options:
            raise StreamError("no such option", code="invalid_option", param="refused")
        self.close(slot)

    def push(self, slot: int, message: Message) -> None:
        if message.data == REFUSED:
            raise StreamError("text must not be refused", param="data")
        if message.data == BUG:
            raise ZeroDivisionError("a bug in push")
        queue = self._queues[slot]
        queue.append(message)
        if sum(len(queued.data) for queued in queue) > self.window:
            raise StreamError("more data than the window allows", code="overrun")

    def flush(self, slot: int) -> None:
        self._flushed.add(slot)

    def cancel(self, slot: int, turn: int) -> None:
        self._consumed[slot] += sum(len(queued.data) for queued in self._queues[slot])
        self._queues[slot].clear()

    def pending(self) -> Iterable[Pending]:
        for slot, queue in enumerate(self._queues):
            if queue:
                yield Pending(slot, "short" if len(queue[0].data) <= SHORT_BYTES else "long", queue[0].slack_s)
            elif slot in self._flushed:
                yield Pending(slot, "tail", 1.0)

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        if bucket == "tail":
            self._flushed -= set(slots)
            self.steps.append((bucket, tuple(slots)))
            return [Output(slot, "flushed") for slot in slots]
        heads = [self._queues[slot][0] for slot in slots]
        if any(head.data == POISON for head in heads):
            raise RuntimeError("the step is poisoned")
        if any(head.data == SPOILT for head in heads):
            raise StreamError("text must not be spoilt", param="data")
        rows = np.asarray(slots)
        sums = np.array([sum(head.data) for head in heads], np.uint64)
        self._digests[rows] = self._digests[rows] * np.uint64(31) + sums
        for slot, head in zip(slots, heads, strict=True):
            self._queues[slot].popleft()
            self._consumed[slot] += len(head.data)
        self.steps.append((bucket, tuple(slots)))
        return [
            Output(slot, "echo", head.pts, head.data.upper(), {"digest": int(self._digests[slot])})
            for slot, head in zip(slots, heads, strict=True)
        ]

    def consumed(self, slot: int) -> int:
        return self._consumed[slot]

    def snapshot(self, slot: int) -> bytes:
        return msgspec.msgpack.encode([int(self._digests[slot]), self._consumed[slot]])

    def restore(self, slot: int, snapshot: bytes) -> None:
        self._digests[slot], self._consumed[slot] = msgspec.msgpack.decode(snapshot)

    def close(self, slot: int) -> None:
        self._queues[slot].clear()
        self._flushed.discard(slot)
        self._digests[slot] = 0
        self._consumed[slot] = 0


class Keeper(StreamModel):
    """Takes `text` and `release`; puts out nothing.

    With the option `keep` it holds every byte until a `release` up to it (`pts`, in bytes).
    """

    name: ClassVar[str] = "keeper"
    accepts: ClassVar[frozenset[str]] = frozenset({"text", "release"})
    max_batch = 1

    def __init__(self, capacity: int, window: int = WINDOW_BYTES) -> None:
        self.capacity = capacity
        self.window = window
        self._keeps = [False] * capacity
        self._received = [0] * capacity
        self._released = [0] * capacity

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        self._keeps[slot] = options.get("keep", False)
        self._received[slot] = self._released[slot] = 0

    def push(self, slot: int, message: Message) -> None:
        self._received[slot] += len(message.data)
        if message.kind == "release":
            self._released[slot] = message.pts

    def pending(self) -> Iterable[Pending]:
        return ()

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        raise AssertionError("never pending")

    def consumed(self, slot: int) -> int:
        return self._released[slot] if self._keeps[slot] else self._received[slot]

    def snapshot(self, slot: int) -> bytes:
        return msgspec.msgpack.encode([self._keeps[slot], self._received[slot], self._released[slot]])

    def restore(self, slot: int, snapshot: bytes) -> None:
        self._keeps[slot], self._received[slot], self._released[slot] = msgspec.msgpack.decode(snapshot)


def echo_service(slots: int, window: int = WINDOW_BYTES) -> Service:
    """An echo and a keeper, each on a lane."""
    return Service("echo", lanes=[[Echo(slots, window=window)], [Keeper(slots, window)]], device="cpu")


def service(settings: WorkerSettings) -> Service:
    """For `python -m workers`."""
    return echo_service(settings.slots)
