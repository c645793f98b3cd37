"""What a worker measures about its steps."""

import time
from collections import Counter, deque
from typing import NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from models.base import StreamModel
from workers.scheduler import Batch

_STEP_BUCKETS_S = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
OVERLOAD_WINDOW_S = 5.0
OVERLOAD_LATE_SHARE = 0.5
OVERLOAD_LEAST_WORK = 8
"""A judgement needs so many pieces of work; slow models have few in the window."""
LATE_TOLERANCE_S = 0.02
"""Work without slack cannot start at the very moment it arrives."""
MAX_RECENT_STEPS = 4_096


class _Steps(NamedTuple):
    at: float
    model: str
    late: int
    total: int


class WorkerMetrics:
    """Counts steps; implements `StepObserver`. Also judges whether the worker keeps its deadlines."""

    def __init__(self, worker_id: str, service: str) -> None:
        self._registry = CollectorRegistry()
        self._worker = worker_id
        labels = ["worker", "model", "bucket"]
        self._step = Histogram(
            "millstream_step_seconds", "Duration of a step.", labels, buckets=_STEP_BUCKETS_S, registry=self._registry
        )
        self._batch = Histogram(
            "millstream_step_streams", "Streams in a step.", labels, buckets=_BATCH_BUCKETS, registry=self._registry
        )
        self._queued = Histogram(
            "millstream_queue_seconds",
            "Time that ready work waited for its step.",
            labels,
            buckets=_STEP_BUCKETS_S,
            registry=self._registry,
        )
        self._misses = prometheus_client.Counter(
            "millstream_slack_misses",
            "Work that started after its slack was spent, or was given up then.",
            labels,
            registry=self._registry,
        )
        slots = Gauge("millstream_slots", "Slots by state.", ["worker", "service", "state"], registry=self._registry)
        self._used = slots.labels(worker_id, service, "used")
        self._free = slots.labels(worker_id, service, "free")
        self._recent: deque[_Steps] = deque(maxlen=MAX_RECENT_STEPS)
        self._stepped_at: dict[tuple[str, int], float] = {}

    def stepped(self, model: StreamModel, batch: Batch, seconds: float, given_up: Counter[int]) -> None:
        """Record one step. Called on lane threads."""
        labels = (self._worker, model.name, str(batch.bucket))
        self._step.labels(*labels).observe(seconds)
        self._batch.labels(*labels).observe(len(batch.slots))
        for queued_s in batch.queued_s:
            self._queued.labels(*labels).observe(queued_s)
        missed = self._missed(model.name, batch, given_up)
        late = missed + sum(late_s > LATE_TOLERANCE_S for late_s in batch.late_s)
        self._misses.labels(*labels).inc(late)
        self._recent.append(_Steps(time.monotonic(), model.name, late, missed + len(batch.slots)))

    def _missed(self, model: str, batch: Batch, given_up: Counter[int]) -> int:
        """Of the work that was given up, as much as there was time for since the slot's last step, each piece taking
        its slack. A stream that asks for more is not owed it.
        """
        now, missed = time.monotonic(), 0
        for slot, queued_s, late_s in zip(batch.slots, batch.queued_s, batch.late_s, strict=True):
            before = self._stepped_at.get((model, slot), now)
            self._stepped_at[model, slot] = now
            if given_up[slot]:
                owed = (now - before) / max(queued_s - late_s, LATE_TOLERANCE_S)
                missed += min(given_up[slot], max(0, round(owed) - 1))
        return missed

    def overloaded(self) -> bool:
        """Whether some model's work of the last seconds missed its slack too often."""
        horizon = time.monotonic() - OVERLOAD_WINDOW_S
        while self._recent and self._recent[0].at < horizon:
            self._recent.popleft()
        late, total = Counter[str](), Counter[str]()
        for steps in list(self._recent):
            late[steps.model] += steps.late
            total[steps.model] += steps.total
        busy = (model for model in total if total[model] >= OVERLOAD_LEAST_WORK)
        return any(late[model] > OVERLOAD_LATE_SHARE * total[model] for model in busy)

    def render(self, used: int, capacity: int) -> bytes:
        """Prometheus text, with the slots as they are now."""
        self._used.set(used)
        self._free.set(capacity - used)
        return generate_latest(self._registry)
