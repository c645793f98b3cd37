"""Where the milliseconds of a turn went, in logs, spans and metrics."""

import logging
from collections.abc import Iterator

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app import tracing
from app.metrics import GatewayMetrics, SessionMetrics
from pipelines.trace import Trace
from tests.app.test_metrics import parsed, sample

SPOKEN = Trace(
    speech_end=100.0,
    turn_end=100.5,
    transcript=100.3,
    asked=100.3,
    first_token=100.45,
    first_speech=100.6,
    sent=100.65,
)
GUESSED = Trace(
    speech_end=100.0,
    turn_end=100.5,
    transcript=100.2,
    asked=100.2,
    first_token=100.3,
    first_speech=100.4,
    sent=100.5,
)
ASKED = Trace(asked=50.0, first_token=50.2, sent=50.2)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Every span that ends."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(otel, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def milliseconds(span: ReadableSpan) -> tuple[float, float]:
    """Start and end of a span."""
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time / 1e6, span.end_time / 1e6


def test_stages_follow_one_another_from_the_end_of_speech() -> None:
    assert SPOKEN.stages() == {
        "listening": (100.0, 100.3),
        "thinking": (100.3, 100.45),
        "speaking": (100.45, 100.6),
        "waiting": (100.6, 100.65),
    }
    assert GUESSED.stages()["waiting"] == (100.4, 100.5)


def test_a_reply_that_was_asked_for_begins_with_thinking() -> None:
    assert ASKED.stages() == {"thinking": (50.0, 50.2), "waiting": (50.2, 50.2)}


def test_stages_that_were_over_before_take_no_time() -> None:
    trace = Trace(speech_end=100.0, transcript=100.4, first_token=100.3, first_speech=100.2, sent=100.5)
    assert trace.stages() == {
        "listening": (100.0, 100.4),
        "thinking": (100.4, 100.4),
        "speaking": (100.4, 100.4),
        "waiting": (100.4, 100.5),
    }


def test_a_turn_is_a_span_with_a_child_for_each_stage(spans: InMemorySpanExporter) -> None:
    tracing.record("sess_1", "resp_2", SPOKEN)
    *children, turn = spans.get_finished_spans()
    assert turn.name == "turn"
    assert turn.attributes == {"millstream.session": "sess_1", "millstream.reply": "resp_2"}
    assert milliseconds(turn) == pytest.approx((100_000, 100_650))
    assert [child.name for child in children] == ["listening", "thinking", "speaking", "waiting"]
    assert milliseconds(children[0]) == pytest.approx((100_000, 100_300))
    for child in children:
        assert child.parent is not None
        assert child.context.span_id != turn.context.span_id == child.parent.span_id


def test_a_turn_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="app.tracing"):
        tracing.record("sess_1", "resp_2", SPOKEN)
    (line,) = caplog.messages
    assert "session sess_1 reply resp_2: first output after 650 ms" in line
    assert "(listening=300 thinking=150 speaking=150 waiting=50)" in line


def test_a_trace_of_nothing_is_not_recorded(spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="app.tracing"):
        tracing.record("sess_1", "resp_2", Trace())
    assert caplog.messages == []
    assert spans.get_finished_spans() == ()


def test_turns_and_their_stages_are_measured() -> None:
    gateway = GatewayMetrics()
    session = SessionMetrics(gateway)
    session.traced("sess_1", "resp_1", SPOKEN)
    session.traced("sess_1", "resp_2", ASKED)
    samples = parsed(gateway.render([]))
    assert samples[sample("millstream_turn_seconds_count")] == 2
    assert samples[sample("millstream_turn_seconds_sum")] == pytest.approx(0.85)
    assert samples[sample("millstream_turn_seconds_bucket", le="0.3")] == 1
    assert samples[sample("millstream_turn_seconds_bucket", le="0.75")] == 2
    stages = {
        stage: samples[sample("millstream_turn_stage_seconds_sum", stage=stage)]
        for stage in ("listening", "thinking", "speaking", "waiting")
    }
    assert stages == pytest.approx({"listening": 0.3, "thinking": 0.35, "speaking": 0.15, "waiting": 0.05})
    assert sum(stages.values()) == pytest.approx(samples[sample("millstream_turn_seconds_sum")])
