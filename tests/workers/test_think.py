"""The service `think`: a real worker process, asked through a real broker."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.models.lm.endpoints import chunk, running_endpoint, says
from tests.workers.harness import SLACK_S, Heard, gateway
from tests.workers.test_worker_process import worker
from workers.broker.client import Stream, StreamClient
from workers.broker.envelope import Envelope


@pytest.fixture
async def client(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[StreamClient]:
    async with gateway(redis) as client, worker("think", redis, tmp_path, redis_url):
        yield client


def ask(stream: Stream, content: str, **options: Any) -> None:
    meta = {"messages": [{"role": "user", "content": content}], "temperature": 0.0, "max_tokens": 30, **options}
    stream.push("generate", meta=meta, slack_s=SLACK_S)


async def answer(heard: Heard) -> list[Envelope]:
    """Outputs up to `done`."""
    outputs = [await heard.next()]
    while outputs[-1].kind != "done":
        outputs.append(await heard.next())
    return outputs


def text(outputs: list[Envelope]) -> str:
    return "".join(output.meta["text"] for output in outputs if output.kind in ("token", "done"))


async def test_conversations(client: StreamClient) -> None:
    """Several at once: replies, a bad request, a call, JSON, and one that is cancelled."""
    heard = [Heard() for _ in range(3)]
    streams = [await client.open("think", {}, each) for each in heard]
    for stream in streams:
        ask(stream, "Name the planet that we live on.")
    for each in heard:
        outputs = await answer(each)
        assert "Earth" in text(outputs)
        assert outputs[-1].meta["reason"] == "stop"

    ask(streams[0], "Hello", temperature=99)
    ask(streams[0], "Name the planet that we live on.", response_format={"type": "json_object"})
    (failed,) = await answer(heard[0])
    assert (failed.meta["reason"], failed.meta["error"]["param"]) == ("failed", "temperature")
    outputs = await answer(heard[0])
    assert [output.meta["number"] for output in outputs] == [2] * len(outputs)
    assert text(outputs).startswith("{")

    tool = {"type": "function", "function": {"name": "hang_up"}}
    ask(streams[1], "Goodbye!", tools=[tool], tool_choice="required")
    outputs = await answer(heard[1])
    calls = [output.meta for output in outputs if output.kind == "call"]
    assert calls[0]["name"] == "hang_up"
    assert json.loads("".join(call["arguments"] for call in calls if call["index"] == 0)) == {}
    assert outputs[-1].meta["reason"] == "tool_calls"

    ask(streams[2], "Tell me a long story.", max_tokens=None)
    await heard[2].next()
    streams[2].cancel(1)
    ask(streams[2], "Name the planet that we live on.")
    outputs = await asyncio.wait_for(answer(heard[2]), 30)
    while outputs[-1].meta["reason"] == "cancelled":
        outputs = await answer(heard[2])
    assert "Earth" in text(outputs)


async def test_an_endpoint(redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_endpoint() as endpoint:
        endpoint.answers = [says(chunk(content="Hello."), chunk(finish="stop")), says("no", status=400)]
        monkeypatch.setenv("MILLSTREAM_LLM_URL", endpoint.url)
        monkeypatch.setenv("MILLSTREAM_LLM_MODEL", "theirs")
        monkeypatch.setenv("MILLSTREAM_LLM_API_KEY", "secret")
        async with gateway(redis) as client, worker("think", redis, tmp_path, redis_url):
            heard = Heard()
            stream = await client.open("think", {}, heard)
            ask(stream, "Hi")
            assert text(await answer(heard)) == "Hello."
            ask(stream, "Hi")
            (failed,) = await answer(heard)
            assert failed.meta["error"]["code"] == "endpoint_error"
        assert endpoint.requests[0]["model"] == "theirs"
        assert endpoint.keys[0] == "Bearer secret"
