"""Playing the items of a conversation one after the other, and knowing how much of them was heard."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

RATE_HZ = 24_000
SAMPLE_BYTES = 2
BYTES_PER_S = RATE_HZ * SAMPLE_BYTES
AHEAD_S = 5.0


class Cut(NamedTuple):
    """An item of which only the first `played_s` seconds were played."""

    item: str
    played_s: float


class Playback(ABC):
    """Plays 24 kHz mono int16 audio that comes faster than it plays, and knows how far it is.

    It goes by the clock: a device plays in real time, `latency_s` after it is given audio, and so does whoever would
    listen to a file.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, latency_s: float = 0.0) -> None:
        self._clock = clock
        self._latency_s = latency_s
        self._items: dict[str, int] = {}
        """Bytes of each item that may not be over, in order."""
        self._ends_at = clock()
        self._stopped: set[str] = set()

    @abstractmethod
    def close(self) -> None:
        """Stop at once, for good."""

    @abstractmethod
    def _add(self, pcm: bytes) -> None:
        """Play more."""

    @abstractmethod
    def _take_back(self, size: int) -> None:
        """The last `size` bytes shall not be played."""

    @property
    def remaining_s(self) -> float:
        """How long it takes to play what there is, in seconds."""
        return max(0.0, self._ends_at - self._clock())

    def play(self, pcm: bytes, item: str = "") -> None:
        """Add audio of an item. What comes late of an item that was stopped is dropped."""
        if item in self._stopped:
            return
        now = self._clock()
        if now >= self._ends_at:
            self._items = {item: self._items.get(item, 0)}
            self._ends_at = now + self._latency_s
        self._items[item] = self._items.get(item, 0) + len(pcm)
        self._ends_at += len(pcm) / BYTES_PER_S
        self._add(pcm)

    def stop(self) -> list[Cut]:
        """Stop now; returns the items that were not played to their end, for `Conversation.truncate`."""
        unplayed = round(self.remaining_s * RATE_HZ) * SAMPLE_BYTES
        self._take_back(unplayed)
        self._ends_at = self._clock()
        cuts = []
        for item, size in reversed(self._items.items()):
            lost = min(size, unplayed)
            unplayed -= lost
            if lost:
                cuts.append(Cut(item, (size - lost) / BYTES_PER_S))
        self._stopped.update(item for item in self._items if item)
        self._items = {}
        return cuts[::-1]

    async def room(self) -> None:
        """Wait until no more than a few seconds are still to be played."""
        await asyncio.sleep(max(0.0, self.remaining_s - AHEAD_S))

    async def finish(self) -> None:
        """Wait until all is played."""
        await asyncio.sleep(self.remaining_s)
