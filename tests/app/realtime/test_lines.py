"""A session's streams by name, on a real broker and worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.realtime.lines import MAX_WAITING_BYTES, Lines
from pipelines.effects import Cancel, CloseStream, OpenStream, Push, StreamOutput
from tests.workers.echo import SPOILT, echo_service
from tests.workers.harness import HUNG_S, SLACK_S, eventually, gateway, running
from workers.broker.client import StreamClient
from workers.worker import Worker

OPEN = OpenStream("echo")


def text(data: bytes) -> Push:
    return Push("text", data=data, slack_s=SLACK_S)


class Session:
    """The pipeline's end of its lines."""

    def __init__(self, client: StreamClient, recovery_timeout_s: float = HUNG_S) -> None:
        self._outputs: asyncio.Queue[tuple[str, StreamOutput]] = asyncio.Queue()
        self.lines = Lines(client, lambda *output: self._outputs.put_nowait(output), recovery_timeout_s)

    async def next(self) -> tuple[str, StreamOutput]:
        async with asyncio.timeout(HUNG_S):
            return await self._outputs.get()

    async def heard(self, count: int) -> list[tuple[str, bytes]]:
        """Names and data of the next outputs."""
        outputs = [await self.next() for _ in range(count)]
        return [(name, output.data) for name, output in outputs]


@asynccontextmanager
async def serving(redis: Redis, slots: int = 4) -> AsyncIterator[None]:
    async with running(Worker(echo_service(slots), redis).run()):
        yield


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[StreamClient]:
    async with gateway(redis, claim_timeout_s=0.3) as client:
        yield client


async def test_what_is_asked_while_a_stream_is_being_opened_is_done_in_order(
    redis: Redis, client: StreamClient
) -> None:
    session = Session(client, HUNG_S)
    session.lines.perform("a", OPEN)
    for data in (b"one", b"two", b"three"):
        session.lines.perform("a", text(data))
    async with serving(redis):
        session.lines.perform("a", OPEN)
        for data in (b"four", b"five"):
            session.lines.perform("a", text(data))
        assert await session.heard(2) == [("a", b"FOUR"), ("a", b"FIVE")]
        session.lines.close()


async def test_every_output_has_the_name_of_its_stream(redis: Redis, client: StreamClient) -> None:
    session = Session(client)
    async with serving(redis):
        for name in ("a", "b"):
            session.lines.perform(name, OPEN)
        await session.lines.opened()
        for name in ("a", "b", "a"):
            session.lines.perform(name, text(name.encode()))
        assert sorted(await session.heard(3)) == [("a", b"A"), ("a", b"A"), ("b", b"B")]
        session.lines.close()


async def test_a_stream_that_is_closed_says_nothing_more_and_its_slot_is_free(
    redis: Redis, client: StreamClient
) -> None:
    session = Session(client)
    async with serving(redis, slots=1):
        session.lines.perform("a", OPEN)
        session.lines.perform("a", text(b"one"))
        session.lines.perform("a", CloseStream())
        session.lines.perform("a", text(b"ignored"))
        session.lines.perform("a", CloseStream())

        async def free() -> bool:
            session.lines.perform("b", OPEN)
            session.lines.perform("b", text(b"two"))
            return (await session.next())[1].kind != "refused"

        await eventually(free)
        assert client.open_streams == 1
        session.lines.close()
        assert client.open_streams == 0


async def test_no_free_slot_is_an_output(redis: Redis, client: StreamClient) -> None:
    session = Session(client)
    session.lines.perform("a", OPEN)
    session.lines.perform("a", text(b"lost"))
    await session.lines.opened()
    name, output = await session.next()
    assert (name, output.kind, output.meta["code"]) == ("a", "refused", "server_full")
    assert "try again in 5 s" in output.meta["message"]
    session.lines.perform("a", text(b"ignored"))
    session.lines.close()


async def test_no_broker_is_an_output(tmp_path: Path) -> None:
    redis = Redis(unix_socket_path=str(tmp_path / "nothing"), retry=Retry(NoBackoff(), 0))
    session = Session(StreamClient(redis, "gateway", HUNG_S))
    session.lines.perform("a", OPEN)
    session.lines.perform("a", text(b"lost"))
    name, output = await session.next()
    assert (name, output.kind, output.meta["code"]) == ("a", "refused", "broker_unavailable")
    session.lines.close()


async def test_a_stream_that_is_opened_again_may_take_longer(redis: Redis, client: StreamClient) -> None:
    session = Session(client, recovery_timeout_s=HUNG_S)
    session.lines.perform("a", OPEN)
    assert (await session.next())[1].kind == "refused"
    session.lines.perform("a", OPEN)
    session.lines.perform("a", text(b"late"))
    await asyncio.sleep(0.6)
    async with serving(redis):
        assert await session.heard(1) == [("a", b"LATE")]
        session.lines.close()


async def test_an_error_ends_its_stream_only_and_another_takes_its_name(redis: Redis, client: StreamClient) -> None:
    session = Session(client)
    async with serving(redis):
        for name in ("a", "b"):
            session.lines.perform(name, OPEN)
        session.lines.perform("a", text(SPOILT))
        name, output = await session.next()
        assert (name, output.kind, output.meta["param"]) == ("a", "error", "data")
        session.lines.perform("b", text(b"fine"))
        assert await session.heard(1) == [("b", b"FINE")]
        session.lines.perform("a", OPEN)
        session.lines.perform("a", text(b"again"))
        assert await session.heard(1) == [("a", b"AGAIN")]
        session.lines.close()


async def test_what_is_cancelled_is_not_heard(redis: Redis, client: StreamClient) -> None:
    session = Session(client)
    session.lines.perform("a", OPEN)
    session.lines.perform("a", text(b"unwanted"))
    session.lines.perform("a", Cancel(1))
    session.lines.perform("a", text(b"wanted"))
    async with serving(redis):
        assert await session.heard(1) == [("a", b"WANTED")]
        session.lines.close()


async def test_a_client_is_read_until_too_much_waits_for_a_stream(redis: Redis, client: StreamClient) -> None:
    session = Session(client, HUNG_S)
    session.lines.perform("a", OPEN)
    session.lines.perform("a", text(bytes(1_000)))
    async with asyncio.timeout(HUNG_S):
        await session.lines.writable()
    for _ in range(MAX_WAITING_BYTES // 1_000):
        session.lines.perform("a", text(bytes(1_000)))
    waiting = asyncio.create_task(session.lines.writable())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert (await session.next())[1].kind == "refused"
    async with asyncio.timeout(HUNG_S):
        await waiting
    session.lines.close()
