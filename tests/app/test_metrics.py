from collections import Counter
from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.metrics import GatewayMetrics, SessionMetrics
from app.realtime import events
from app.realtime.errors import ErrorDetail
from models.base import StreamModel
from workers.metrics import WorkerMetrics
from workers.scheduler import Batch

Sample = tuple[str, frozenset[tuple[str, str]]]


def parsed(text: bytes) -> dict[Sample, float]:
    """Every sample by name and labels; none may occur twice, nor any family."""
    families = list(text_string_to_metric_families(text.decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    samples: dict[Sample, float] = {}
    for family in families:
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples
            samples[key] = sample.value
    return samples


def sample(name: str, **labels: str) -> Sample:
    return name, frozenset(labels.items())


def worker_text(worker: str, used: int, steps: int = 0) -> str:
    """What a worker publishes after some steps of two streams, one of them late."""
    metrics = WorkerMetrics(worker, "listen")
    model = cast(StreamModel, SimpleNamespace(name="whisper"))
    for _ in range(steps):
        metrics.stepped(model, Batch(0, "final", (0, 1), (0.1, 0.2), (-0.1, 0.1)), 0.25, Counter())
    return metrics.render(used, 16).decode()


def test_samples_of_every_worker_are_there() -> None:
    samples = parsed(GatewayMetrics().render([worker_text("a", 3), worker_text("b", 5)]))
    for worker, used in (("a", 3), ("b", 5)):
        assert samples[sample("millstream_slots", worker=worker, service="listen", state="used")] == used
        assert samples[sample("millstream_slots", worker=worker, service="listen", state="free")] == 16 - used


def test_families_of_two_workers_are_told_once() -> None:
    text = GatewayMetrics().render([worker_text("a", 3), worker_text("b", 5)]).decode()
    assert text.count("# TYPE millstream_slots gauge") == 1
    assert text.count("# HELP millstream_slots ") == 1


def test_counters_and_histograms_of_workers_survive_the_merge() -> None:
    samples = parsed(GatewayMetrics().render([worker_text("a", 3, steps=1), worker_text("b", 5, steps=2)]))
    for worker, steps in (("a", 1), ("b", 2)):
        labels = {"worker": worker, "model": "whisper", "bucket": "final"}
        assert samples[sample("millstream_slack_misses_total", **labels)] == steps
        assert samples[sample("millstream_step_seconds_count", **labels)] == steps
        assert samples[sample("millstream_step_seconds_bucket", le="0.2", **labels)] == 0
        assert samples[sample("millstream_step_seconds_bucket", le="0.3", **labels)] == steps
        assert samples[sample("millstream_step_streams_sum", **labels)] == 2 * steps


def test_without_workers_the_gateway_speaks_for_itself() -> None:
    metrics = GatewayMetrics()
    metrics.sessions.labels("websocket").inc()
    assert parsed(metrics.render([]))[sample("millstream_sessions", door="websocket")] == 1


def test_calls_are_counted_when_they_end() -> None:
    metrics = GatewayMetrics()
    metrics.heard(received=100, lost=3, late=1)
    metrics.heard(received=50, lost=0, late=0)
    metrics.call_ended("completed", 0.03)
    metrics.call_ended("unconnected", None)
    samples = parsed(metrics.render([]))
    kinds = {kind: samples[sample("millstream_rtp_packets_total", kind=kind)] for kind in ("received", "lost", "late")}
    assert kinds == {"received": 150, "lost": 3, "late": 1}
    assert samples[sample("millstream_calls_ended_total", outcome="completed")] == 1
    assert samples[sample("millstream_calls_ended_total", outcome="unconnected")] == 1
    assert samples[sample("millstream_call_round_trip_seconds_count")] == 1
    assert samples[sample("millstream_call_round_trip_seconds_bucket", le="0.05")] == 1
    assert samples[sample("millstream_call_round_trip_seconds_bucket", le="0.025")] == 0


def test_error_events_are_counted_by_code() -> None:
    gateway = GatewayMetrics()
    session = SessionMetrics(gateway)
    for code in ("invalid_json", "invalid_json", "idle_timeout"):
        session.sent(events.Error(error=ErrorDetail("server_error", code, "message")))
    samples = parsed(gateway.render([]))
    assert samples[sample("millstream_error_events_total", code="invalid_json")] == 2
    assert samples[sample("millstream_error_events_total", code="idle_timeout")] == 1


@pytest.mark.parametrize(("item", "observed"), [("item_1", 1), ("item_2", 0)])
def test_the_first_delta_of_a_turn_is_timed_once(item: str, observed: int) -> None:
    gateway = GatewayMetrics()
    session = SessionMetrics(gateway)
    session.sent(events.TranscriptionDelta(item_id=item, delta="too early"))
    session.sent(events.SpeechStarted(item_id="item_1", audio_start_ms=0))
    for _ in range(3):
        session.sent(events.TranscriptionDelta(item_id=item, delta="word"))
    assert parsed(gateway.render([]))[sample("millstream_first_partial_seconds_count")] == observed
