"""Which step to run next: earliest deadline first, filled up with work of the same shape.

Pure and synchronous: the caller passes the time. Work that can wait a stated slack gets a deadline when it first
becomes ready and keeps it until it is stepped, so nothing starves: work that arrives later cannot have an ever earlier
deadline. A free device never waits for a fuller batch; batches form while it is busy.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Work(NamedTuple):
    """One slot of one model that could take part in a step of `bucket`."""

    model: int
    bucket: Hashable
    slot: int


@dataclass(frozen=True)
class Batch:
    """One step: distinct slots of one model and bucket. `queued_s` and `late_s` are per slot, `late_s` <= 0 if in
    time.
    """

    model: int
    bucket: Hashable
    slots: tuple[int, ...]
    queued_s: tuple[float, ...]
    late_s: tuple[float, ...]


class _Ready(NamedTuple):
    deadline: float
    since: float


class Scheduler:
    """Picks batches among ready work. `max_batch[i]` bounds the slots in a step of model `i`."""

    def __init__(self, max_batch: Sequence[int]) -> None:
        self._max_batch = max_batch
        self._ready: dict[Work, _Ready] = {}

    @property
    def ready(self) -> bool:
        """Whether a step could run now."""
        return bool(self._ready)

    def update(self, work: Iterable[tuple[Work, float]], now: float) -> None:
        """Replace the set of ready work, given as (work, slack in seconds); known work keeps its deadline."""
        known = self._ready
        self._ready = {item: known.get(item) or _Ready(now + slack_s, now) for item, slack_s in work}

    def next_batch(self, now: float) -> Batch | None:
        """Take the batch that holds the earliest deadline, or None if nothing is ready."""
        if not self._ready:
            return None
        first = min(self._ready, key=self._ready.__getitem__)
        mates = [item for item in self._ready if item.model == first.model and item.bucket == first.bucket]
        mates.sort(key=self._ready.__getitem__)
        chosen = mates[: self._max_batch[first.model]]
        ready = [self._ready.pop(item) for item in chosen]
        return Batch(
            first.model,
            first.bucket,
            tuple(item.slot for item in chosen),
            tuple(now - entry.since for entry in ready),
            tuple(now - entry.deadline for entry in ready),
        )
