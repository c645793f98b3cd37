"""A service whose model answers every message at once: what remains is the cost of the engine and the broker."""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from models.base import Message, Output, Pending, StreamModel
from workers.service import Service
from workers.settings import WorkerSettings

WINDOW_BYTES = 64_000


class Noop(StreamModel):
    """Returns each message's `pts`. Steps take all slots that have a message."""

    name = "noop"
    accepts = frozenset({"audio"})
    window = WINDOW_BYTES

    def __init__(self, capacity: int) -> None:
        self.capacity = self.max_batch = capacity
        self._queued: list[deque[Message]] = [deque() for _ in range(capacity)]
        self._consumed = [0] * capacity

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        self._queued[slot].clear()
        self._consumed[slot] = 0

    def push(self, slot: int, message: Message) -> None:
        self._queued[slot].append(message)

    def pending(self) -> Iterable[Pending]:
        return [Pending(slot, "noop", queued[0].slack_s) for slot, queued in enumerate(self._queued) if queued]

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        outputs = []
        for slot in slots:
            message = self._queued[slot].popleft()
            self._consumed[slot] += len(message.data)
            outputs.append(Output(slot, "echo", message.pts))
        return outputs

    def consumed(self, slot: int) -> int:
        return self._consumed[slot]

    def snapshot(self, slot: int) -> bytes:
        return b""

    def restore(self, slot: int, snapshot: bytes) -> None:
        self._queued[slot].clear()


def service(settings: WorkerSettings) -> Service:
    """One lane with the no-op model."""
    return Service("noop", [[Noop(settings.slots)]], device="cpu")
