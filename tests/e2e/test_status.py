"""What a server says of itself to probes, to Prometheus and to clients."""

import httpx
import pytest
from openai import OpenAI

from tests.e2e.metrics import families, idle, metric, sessions, slots_used, until
from tests.e2e.raw import calling
from tests.e2e.speech import clip, silence
from tests.server import Server


def test_models(server: Server) -> None:
    listed = list(OpenAI(api_key="unused", base_url=f"{server.url}/v1").models.list())
    assert {"whisper-base", "silero-vad", "smart-turn"} <= {model.id for model in listed}
    assert all(model.owned_by == "millstream" for model in listed)


def test_probes(server: Server) -> None:
    assert httpx.get(f"{server.url}/healthz").is_success
    assert httpx.get(f"{server.url}/readyz").json() == {"ready": True}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/audio/transcriptions", 405)]
)
def test_unknown_address(server: Server, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, server.url + path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_metrics(server: Server) -> None:
    await idle(server)
    step = {"model": "whisper", "bucket": "final"}
    finals = metric(server, "millstream_step_streams_count", **step)
    partials = metric(server, "millstream_first_partial_seconds_count")
    errors = metric(server, "millstream_error_events_total", code="unknown_event")
    async with calling(server) as caller:
        await caller.send("make.coffee")
        await caller.say(clip("sense_0870") + silence(1), speed=2)
        await caller.transcript()
        assert sessions(server) == 1
        assert metric(server, "millstream_sessions", door="websocket") == 1
        await until(lambda: slots_used(server) == 1)
        await until(lambda: metric(server, "millstream_step_streams_count", **step) > finals)

    assert metric(server, "millstream_first_partial_seconds_count") == partials + 1
    assert metric(server, "millstream_error_events_total", code="unknown_event") == errors + 1
    assert metric(server, "millstream_step_seconds_sum", **step) > 0.01
    assert metric(server, "millstream_queue_seconds_count", **step) > finals
    known = families(server)
    for name in (
        "millstream_step_streams",
        "millstream_step_seconds",
        "millstream_queue_seconds",
        "millstream_slack_misses",
        "millstream_slots",
        "millstream_credits_at_zero",
        "millstream_sessions",
        "millstream_first_partial_seconds",
    ):
        assert known[name].documentation
        assert known[name].samples
    workers = {sample.labels["worker"] for sample in known["millstream_slots"].samples}
    assert sorted(worker.partition("-")[0] for worker in workers) == ["listen", "speak", "think"]


async def test_credit_runs_out_for_a_client_that_is_too_fast(server: Server) -> None:
    before = metric(server, "millstream_credits_at_zero")
    async with calling(server) as caller:
        for _ in range(4):
            await caller.append(silence(60))
        await caller.say(clip("sense_0930") + silence(1))
        await caller.transcript()
    assert metric(server, "millstream_credits_at_zero") > before
