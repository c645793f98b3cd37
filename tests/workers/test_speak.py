"""The service `speak` in a real worker, over a real Valkey."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.workers.harness import SLACK_S, Heard, gateway, running
from workers.__main__ import build
from workers.broker.client import StreamClient
from workers.settings import WorkerSettings
from workers.worker import Worker


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[StreamClient]:
    worker = Worker(build("speak", WorkerSettings(slots=2)), redis)
    async with running(worker.run()), gateway(redis) as client:
        yield client


async def test_text_becomes_speech(client: StreamClient) -> None:
    heard = Heard()
    stream = await client.open("speak", {"voice": "nova", "speed": 2.0}, heard)
    for piece in ("Hello th", "ere, my friend. ", "Bye."):
        stream.push("text", data=piece.encode(), slack_s=SLACK_S)
    stream.push("pace", slack_s=SLACK_S)
    stream.push("flush")
    outputs = await heard.take(4)
    assert [output.kind for output in outputs] == ["audio", "audio", "audio", "done"]
    assert [output.meta["text"] for output in outputs] == ["Hello there,", " my friend.", " Bye.", ""]
    assert outputs[-1].pts == sum(len(output.data) for output in outputs) // 2 > 0
    stream.close()


async def test_an_unknown_voice_ends_the_stream_with_the_choices(client: StreamClient) -> None:
    heard = Heard()
    await client.open("speak", {"voice": "nobody"}, heard)
    error = await heard.next()
    assert (error.kind, error.meta["code"], error.meta["param"]) == ("error", "invalid_value", "voice")
    assert "alloy" in error.meta["message"]
