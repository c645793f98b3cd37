from collections import Counter

import pytest

from tests.workers.echo import Echo
from workers import metrics as metrics_module
from workers.metrics import MAX_RECENT_STEPS, OVERLOAD_LEAST_WORK, WorkerMetrics
from workers.scheduler import Batch


def stepped(metrics: WorkerMetrics, in_time: int, late: int) -> None:
    total = in_time + late
    batch = Batch(0, "short", tuple(range(total)), (0.02,) * total, (-0.1,) * in_time + (0.1,) * late)
    metrics.stepped(Echo(1), batch, 0.05, Counter())


@pytest.mark.parametrize(
    ("in_time", "late", "overloaded"),
    [(0, 0, False), (20, 0, False), (5, 5, False), (4, 5, True), (0, 7, False), (0, 8, True)],
)
def test_overloaded_when_more_than_half_is_late(in_time: int, late: int, overloaded: bool) -> None:
    metrics = WorkerMetrics("worker", "echo")
    stepped(metrics, in_time, 0)
    stepped(metrics, 0, late)
    assert metrics.overloaded() == overloaded


class Rare(Echo):
    name = "rare"


def test_a_model_that_steps_often_does_not_hide_one_that_is_late() -> None:
    metrics = WorkerMetrics("worker", "echo")
    stepped(metrics, 1000, 0)
    for _ in range(OVERLOAD_LEAST_WORK):
        metrics.stepped(Rare(1), Batch(0, "long", (0,), (0.5,), (0.1,)), 0.05, Counter())
    assert metrics.overloaded()


def test_overload_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = WorkerMetrics("worker", "echo")
    stepped(metrics, 0, OVERLOAD_LEAST_WORK)
    monkeypatch.setattr(metrics_module, "OVERLOAD_WINDOW_S", 0.0)
    assert not metrics.overloaded()


def test_remembers_a_bounded_number_of_steps() -> None:
    metrics = WorkerMetrics("worker", "echo")
    stepped(metrics, 0, 1000)
    assert metrics.overloaded()
    for _ in range(MAX_RECENT_STEPS):
        stepped(metrics, 1, 0)
    assert not metrics.overloaded()


@pytest.mark.parametrize(
    ("fps", "given_up", "overloaded"), [(15, 2, False), (3.5, 3, True), (2, 0, False), (3.5, 0, False), (15, 60, False)]
)
def test_pictures_that_made_way_for_newer_ones(
    monkeypatch: pytest.MonkeyPatch, fps: float, given_up: int, overloaded: bool
) -> None:
    """A stream is owed one for each slack of 0.1 s, however many it sends."""
    metrics = WorkerMetrics("worker", "restyle")
    for step in range(2 * OVERLOAD_LEAST_WORK):
        monkeypatch.setattr("workers.metrics.time.monotonic", lambda now=100 + step / fps: now)
        metrics.stepped(Echo(1), Batch(0, "frame", (3,), (0.02,), (-0.08,)), 0.05, Counter({3: given_up}))
    assert metrics.overloaded() == overloaded


def test_renders_steps_and_slots() -> None:
    metrics = WorkerMetrics("worker", "echo")
    stepped(metrics, 3, 1)
    text = metrics.render(used=3, capacity=8).decode().splitlines()
    labels = '{bucket="short",model="echo",worker="worker"}'
    assert f"millstream_step_seconds_sum{labels} 0.05" in text
    assert f"millstream_step_streams_sum{labels} 4.0" in text
    assert f"millstream_queue_seconds_count{labels} 4.0" in text
    assert f"millstream_slack_misses_total{labels} 1.0" in text
    assert 'millstream_slots{service="echo",state="used",worker="worker"} 3.0' in text
    assert 'millstream_slots{service="echo",state="free",worker="worker"} 5.0' in text
