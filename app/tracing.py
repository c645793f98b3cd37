"""Where the milliseconds of a turn went: in the log and, if an exporter is configured, as OpenTelemetry spans."""

import logging

from opentelemetry import trace as otel
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from pipelines.trace import Trace

log = logging.getLogger(__name__)

NS_PER_S = 1_000_000_000


def export_traces(endpoint: str) -> None:
    """Send spans to an OTLP/HTTP endpoint ("http://127.0.0.1:4318/v1/traces") from now on."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    provider = TracerProvider(resource=Resource({SERVICE_NAME: "millstream"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    otel.set_tracer_provider(provider)


def record(session: str, reply: str, trace: Trace) -> None:
    """Write a turn's trace: one log line, and a span with a child for each stage."""
    stages = trace.stages()
    if not stages:
        return
    start = next(iter(stages.values()))[0]
    end = list(stages.values())[-1][1]
    shares = " ".join(f"{name}={(until - since) * 1e3:.0f}" for name, (since, until) in stages.items())
    log.info("session %s reply %s: first output after %.0f ms (%s)", session, reply, (end - start) * 1e3, shares)
    tracer = otel.get_tracer("millstream")
    attributes = {"millstream.session": session, "millstream.reply": reply}
    turn = tracer.start_span("turn", start_time=int(start * NS_PER_S), attributes=attributes)
    parent = otel.set_span_in_context(turn)
    for name, (since, until) in stages.items():
        tracer.start_span(name, parent, start_time=int(since * NS_PER_S)).end(int(until * NS_PER_S))
    turn.end(int(end * NS_PER_S))
