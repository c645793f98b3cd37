"""What a gateway measures, and the merging of what its workers measure."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from app import tracing
from app.realtime import events
from pipelines.trace import Trace

_TURN_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_PARTIAL_BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_ROUND_TRIP_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
_FIRST_OUTPUT_BUCKETS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


class GatewayMetrics:
    """Counters of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sessions = Gauge("millstream_sessions", "Sessions in progress.", ["door"], registry=self.registry)
        self.refused = Counter("millstream_refused", "Sessions refused.", ["reason"], registry=self.registry)
        self.errors = Counter("millstream_error_events", "Error events sent.", ["code"], registry=self.registry)
        self.credits_at_zero = Gauge(
            "millstream_credits_at_zero", "Times a stream ran out of credit.", registry=self.registry
        )
        self.turn = Histogram(
            "millstream_turn_seconds",
            "From the end of speech, or from the request, to the first output of the reply.",
            buckets=_TURN_BUCKETS_S,
            registry=self.registry,
        )
        self.turn_stage = Histogram(
            "millstream_turn_stage_seconds",
            "Stages of millstream_turn_seconds; they add up to it.",
            ["stage"],
            buckets=_TURN_BUCKETS_S,
            registry=self.registry,
        )
        self.first_partial = Histogram(
            "millstream_first_partial_seconds",
            "From the speech_started event to the first delta of its item.",
            buckets=_PARTIAL_BUCKETS_S,
            registry=self.registry,
        )
        self.rest_first_output = Histogram(
            "millstream_rest_first_output_seconds",
            "From the claim of a slot for a REST request to the service's first output.",
            ["service"],
            buckets=_FIRST_OUTPUT_BUCKETS_S,
            registry=self.registry,
        )
        self.calls_ended = Counter("millstream_calls_ended", "WebRTC calls.", ["outcome"], registry=self.registry)
        self.rtp_packets = Counter(
            "millstream_rtp_packets",
            "Packets of callers' audio that came, that were given up for lost, and that came too late, of ended calls.",
            ["kind"],
            registry=self.registry,
        )
        self.round_trip = Histogram(
            "millstream_call_round_trip_seconds",
            "Round-trip time of WebRTC calls, averaged, told when they end.",
            buckets=_ROUND_TRIP_BUCKETS_S,
            registry=self.registry,
        )

    def call_ended(self, outcome: str, round_trip_s: float | None) -> None:
        """Count a WebRTC call, of which the round-trip time may be unknown."""
        self.calls_ended.labels(outcome).inc()
        if round_trip_s is not None:
            self.round_trip.observe(round_trip_s)

    def heard(self, received: int, lost: int, late: int) -> None:
        """Count the packets of a caller's audio."""
        for kind, count in (("received", received), ("lost", lost), ("late", late)):
            self.rtp_packets.labels(kind).inc(count)

    def render(self, worker_texts: Iterable[str]) -> bytes:
        """Prometheus text of this gateway and of the workers whose texts are given."""
        merged = CollectorRegistry()
        merged.register(_Texts(worker_texts))
        return generate_latest(self.registry) + generate_latest(merged)


class SessionMetrics:
    """Watches the events of one session."""

    def __init__(self, gateway: GatewayMetrics) -> None:
        self._gateway = gateway
        self._started: dict[str, float] = {}

    def sent(self, event: events.ServerEvent) -> None:
        """Count an event that goes to the client."""
        match event:
            case events.SpeechStarted(item_id=item):
                self._started = {item: time.monotonic()}
            case events.TranscriptionDelta(item_id=item) if item in self._started:
                self._gateway.first_partial.observe(time.monotonic() - self._started.pop(item))
            case events.Error(error=detail):
                self._gateway.errors.labels(detail.code).inc()

    def traced(self, session: str, reply: str, trace: Trace) -> None:
        """Record where the time of a turn went."""
        stages = trace.stages()
        for name, (start, end) in stages.items():
            self._gateway.turn_stage.labels(name).observe(end - start)
        self._gateway.turn.observe(sum(end - start for start, end in stages.values()))
        tracing.record(session, reply, trace)


class _Texts(Collector):
    """Families of several Prometheus texts, those of one name joined."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = list(texts)

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for text in self._texts:
            for family in text_string_to_metric_families(text):
                if family.name in families:
                    families[family.name].samples += family.samples
                else:
                    families[family.name] = family
        return families.values()
