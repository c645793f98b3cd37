import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.workers.harness import HUNG_S, Heard, eventually, gateway, running
from workers.broker import claims, keys, presence
from workers.broker.claims import Offer
from workers.broker.client import ServerFull, Stream, StreamClient
from workers.broker.envelope import Envelope
from workers.broker.inbox import read
from workers.broker.outbox import Outbox
from workers.broker.presence import WorkerStatus

SERVICE = "script"
WINDOW = 10


class ScriptedWorker:
    """A worker's end of the streams, played by the test."""

    def __init__(self, redis: Redis, worker_id: str = "w") -> None:
        self.id = worker_id
        self._redis = redis
        self._outbox = Outbox(redis)
        self._batches = read(redis, worker_id)
        self._heard: list[Envelope] = []
        self._said: dict[str, int] = {}

    async def claim(self) -> Offer:
        """Be alive, and claim the next offer."""
        await presence.announce(self._redis, WorkerStatus(self.id, SERVICE, [], "cpu", 1, 0, WINDOW, True), b"")
        await self._redis.persist(keys.worker(self.id))
        offer = await claims.claim(self._redis, SERVICE, self.id, HUNG_S / 2)
        assert offer is not None
        return offer

    async def say(
        self,
        offer: Offer,
        kind: str,
        data: bytes = b"",
        meta: Mapping[str, Any] | None = None,
        *,
        turn: int = 0,
        lease: int = 1,
        seq: int | None = None,
    ) -> None:
        """Send one envelope, by default the next in order."""
        if seq is None:
            seq = self._said.get(offer.stream, 0)
            self._said[offer.stream] = seq + 1
        envelope = Envelope(offer.stream, lease, turn, seq, kind, data=data, meta=dict(meta or {}))
        self._outbox.put(offer.gateway, envelope)
        await self._outbox.write()

    async def accept(self) -> Offer:
        """Claim the next offer and open its stream."""
        offer = await self.claim()
        await self.say(offer, "opened", meta={"worker": self.id, "credit": WINDOW})
        return offer

    async def hear(self) -> Envelope:
        """The next envelope from the gateway."""
        async with asyncio.timeout(HUNG_S):
            while not self._heard:
                self._heard += await anext(self._batches)
        return self._heard.pop(0)

    async def hear_data(self, count: int) -> list[bytes]:
        return [(await self.hear()).data for _ in range(count)]


@pytest.fixture
def worker(redis: Redis) -> ScriptedWorker:
    return ScriptedWorker(redis)


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[StreamClient]:
    async with gateway(redis) as client:
        yield client


async def connect(
    client: StreamClient, worker: ScriptedWorker, options: Mapping[str, Any] | None = None
) -> tuple[Stream, Offer, Heard]:
    """A stream that the worker has opened."""
    heard = Heard()
    accepting = asyncio.create_task(worker.accept())
    stream = await client.open(SERVICE, dict(options or {}), heard)
    return stream, await accepting, heard


@asynccontextmanager
async def blocked(stream: Stream) -> AsyncIterator[None]:
    """The stream is not writable, and becomes so by what happens inside."""
    writable = asyncio.create_task(stream.writable())
    await asyncio.sleep(0)
    assert not writable.done()
    yield
    async with asyncio.timeout(HUNG_S):
        await writable


async def test_a_worker_gets_the_options_and_then_every_message_in_order(
    client: StreamClient, worker: ScriptedWorker
) -> None:
    stream, offer, _ = await connect(client, worker, {"language": "en"})
    assert (offer.options, stream.worker, stream.window) == ({"language": "en"}, "w", WINDOW)
    stream.push("audio", pts=7, data=b"abc", meta={"a": 1}, slack_s=0.5)
    stream.push("flush")
    assert await worker.hear() == Envelope(stream.id, 1, 0, 0, "audio", 7, b"abc", {"a": 1}, 500.0)
    assert await worker.hear() == Envelope(stream.id, 1, 0, 1, "flush")


async def test_outputs_arrive_in_order_once(client: StreamClient, worker: ScriptedWorker) -> None:
    _, offer, heard = await connect(client, worker)
    await worker.say(offer, "text", b"a")
    await worker.say(offer, "text", b"a", seq=1)
    await worker.say(offer, "text", b"b")
    assert [output.data for output in await heard.take(2)] == [b"a", b"b"]
    assert heard.silent


async def test_output_under_another_lease_is_refused(client: StreamClient, worker: ScriptedWorker) -> None:
    _, offer, heard = await connect(client, worker)
    for lease in (0, 2):
        await worker.say(offer, "text", b"not mine", lease=lease, seq=1)
    await worker.say(offer, "text", b"mine")
    assert (await heard.next()).data == b"mine"


async def test_a_gap_in_the_output_ends_the_stream(client: StreamClient, worker: ScriptedWorker) -> None:
    stream, offer, heard = await connect(client, worker)
    await worker.say(offer, "text", b"a")
    await worker.say(offer, "text", b"c", seq=3)
    await worker.say(offer, "text", b"b")
    assert (await heard.next()).data == b"a"
    output = await heard.next()
    assert (output.kind, output.meta["code"]) == ("error", "output_lost")
    assert stream.ended
    _, other, _ = await connect(client, worker)
    assert other.stream != offer.stream
    assert heard.silent


async def test_data_waits_for_credit(client: StreamClient, worker: ScriptedWorker) -> None:
    stream, offer, heard = await connect(client, worker)
    await stream.writable()
    stream.push("audio", data=b"123456")
    await stream.writable()
    assert client.credits_at_zero == 0
    for data in (b"abcde", b"fghij"):
        stream.push("audio", data=data)
    assert client.credits_at_zero == 1
    async with blocked(stream):
        assert await worker.hear_data(1) == [b"123456"]
        await worker.say(offer, "credit", meta={"credit": 1})
        assert await worker.hear_data(1) == [b"abcde"]
        await worker.say(offer, "credit", meta={"credit": 4})
        await worker.say(offer, "credit", meta={"credit": 1})
    assert await worker.hear_data(1) == [b"fghij"]
    assert heard.silent


async def test_control_overtakes_data_that_waits_for_credit(client: StreamClient, worker: ScriptedWorker) -> None:
    stream, offer, _ = await connect(client, worker)
    for data in (b"0123456789", b"abc", b"d"):
        stream.push("audio", data=data)
    stream.push("release", pts=5)
    async with blocked(stream):
        sent = [await worker.hear() for _ in range(2)]
        await worker.say(offer, "credit", meta={"credit": WINDOW})
    sent += [await worker.hear() for _ in range(2)]
    assert [envelope.kind for envelope in sent] == ["audio", "release", "audio", "audio"]
    assert [envelope.data for envelope in sent] == [b"0123456789", b"", b"abc", b"d"]
    assert [envelope.seq for envelope in sent] == [0, 1, 2, 3]


async def test_the_end_of_input_comes_after_the_input(client: StreamClient, worker: ScriptedWorker) -> None:
    stream, offer, _ = await connect(client, worker)
    stream.push("text", data=b"0123456789")
    stream.push("text", data=b"abc")
    stream.push("flush")
    await worker.say(offer, "credit", meta={"credit": WINDOW})
    sent = [await worker.hear() for _ in range(3)]
    assert [envelope.kind for envelope in sent] == ["text", "text", "flush"]


async def test_refuses_data_larger_than_the_window(client: StreamClient, worker: ScriptedWorker) -> None:
    stream, _, _ = await connect(client, worker)
    with pytest.raises(ValueError, match="11 bytes of audio exceed the stream's window of 10"):
        stream.push("audio", data=bytes(WINDOW + 1))
    stream.push("audio", data=bytes(WINDOW))
    assert await worker.hear_data(1) == [bytes(WINDOW)]


async def test_output_of_an_older_turn_is_dropped(client: StreamClient, worker: ScriptedWorker) -> None:
    stream, offer, heard = await connect(client, worker)
    stream.cancel(1)
    assert (await worker.hear()).turn == 1
    await worker.say(offer, "text", b"old", turn=0)
    await worker.say(offer, "text", b"new", turn=1)
    assert (await heard.next()).data == b"new"


async def test_the_last_word_is_heard_in_whatever_turn(client: StreamClient, worker: ScriptedWorker) -> None:
    stream, offer, heard = await connect(client, worker)
    stream.cancel(1)
    await worker.say(offer, "error", meta={"code": "model_error"}, turn=0)
    assert (await heard.next()).kind == "error"
    assert stream.ended


async def test_cancelling_drops_what_waits_for_credit(client: StreamClient, worker: ScriptedWorker) -> None:
    stream, _, _ = await connect(client, worker)
    stream.push("audio", data=b"12345678")
    stream.push("audio", data=b"waits")
    async with blocked(stream):
        stream.cancel(1)
    stream.push("audio", data=b"go")
    sent = [await worker.hear() for _ in range(3)]
    assert [(envelope.kind, envelope.turn) for envelope in sent] == [("audio", 0), ("cancel", 1), ("audio", 1)]
    assert [envelope.data for envelope in sent] == [b"12345678", b"", b"go"]


async def test_after_the_end_nothing_is_sent_or_heard(client: StreamClient, worker: ScriptedWorker) -> None:
    stream, offer, heard = await connect(client, worker)
    stream.push("audio", data=bytes(WINDOW))
    stream.push("audio", data=b"waits")
    async with blocked(stream):
        await worker.say(offer, "error", meta={"code": "model_error"})
    assert (await heard.next()).kind == "error"
    await worker.say(offer, "credit", meta={"credit": WINDOW})
    await worker.say(offer, "text", b"too late")
    stream.push("audio", data=b"more")
    stream.push("flush")
    stream.cancel(1)
    stream.close()
    other, _, _ = await connect(client, worker)
    other.push("marker")
    assert (await worker.hear()).data == bytes(WINDOW)
    assert (await worker.hear()).kind == "marker"
    assert heard.silent


async def test_closing_gives_the_stream_back(redis: Redis, client: StreamClient, worker: ScriptedWorker) -> None:
    stream, offer, heard = await connect(client, worker)
    assert client.open_streams == 1
    stream.close()
    assert (stream.ended, client.open_streams) == (True, 0)
    assert (await worker.hear()).kind == "close"
    await worker.say(offer, "text", b"too late")

    async def forgotten() -> bool:
        return not await redis.exists(keys.stream(stream.id))

    await eventually(forgotten)
    assert heard.silent
    stream.close()
    assert client.open_streams == 0


async def test_nobody_to_serve_is_server_full_and_the_offer_is_withdrawn(redis: Redis) -> None:
    async with gateway(redis, claim_timeout_s=0.05) as client:
        with pytest.raises(ServerFull, match=SERVICE):
            await client.open(SERVICE, {}, Heard())
        assert client.open_streams == 0
        assert await redis.dbsize() == 0


async def test_a_worker_that_claims_but_never_opens_is_told_to_close(redis: Redis, worker: ScriptedWorker) -> None:
    async with gateway(redis, claim_timeout_s=0.2) as client, running(claim_only(worker)):
        with pytest.raises(ServerFull):
            await client.open(SERVICE, {}, Heard())
        assert (await worker.hear()).kind == "close"


async def claim_only(worker: ScriptedWorker) -> None:
    await worker.claim()


async def test_an_owner_that_gives_up_withdraws_its_offer(redis: Redis, client: StreamClient) -> None:
    opening = asyncio.create_task(client.open(SERVICE, {}, Heard()))

    async def offered() -> bool:
        return bool(await redis.exists(keys.offers(SERVICE)))

    await eventually(offered)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not await offered()


@pytest.fixture
def quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "HEARTBEAT_S", 0.01)


@pytest.mark.usefixtures("quick_heartbeat")
async def test_a_worker_that_disappears_is_one_lost_output(
    redis: Redis, client: StreamClient, worker: ScriptedWorker
) -> None:
    other = ScriptedWorker(redis, "other")
    stream, offer, heard = await connect(client, worker)
    kept, kept_offer, kept_heard = await connect(client, other)
    stream.push("audio", data=bytes(WINDOW))
    stream.push("audio", data=b"waits")
    async with blocked(stream):
        await redis.delete(keys.worker(worker.id))
    output = await heard.next()
    assert (output.kind, output.meta["code"]) == ("lost", "worker_lost")
    await worker.say(offer, "text", b"from the grave")
    await other.say(kept_offer, "text", b"alive")
    assert (await kept_heard.next()).data == b"alive"
    assert (stream.ended, kept.ended, heard.silent) == (True, False, True)


@pytest.mark.usefixtures("quick_heartbeat")
async def test_a_worker_that_appears_during_a_heartbeat_is_not_lost(
    redis: Redis, client: StreamClient, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, opened = asyncio.Event(), asyncio.Event()
    alive = presence.alive

    async def look_slowly(redis: Redis) -> list[WorkerStatus]:
        living = await alive(redis)
        looked.set()
        await opened.wait()
        return living

    other = ScriptedWorker(redis, "other")
    await connect(client, other)
    monkeypatch.setattr(presence, "alive", look_slowly)
    await looked.wait()
    stream, offer, heard = await connect(client, worker)
    opened.set()
    await worker.say(offer, "text", b"here")
    assert (await heard.next()).data == b"here"
    looked.clear()
    await looked.wait()
    assert not stream.ended


@pytest.mark.usefixtures("quick_heartbeat")
async def test_the_records_of_open_streams_are_kept(redis: Redis, client: StreamClient, worker: ScriptedWorker) -> None:
    stream, _, _ = await connect(client, worker)
    await redis.pexpire(keys.stream(stream.id), 1000 * claims.RECORD_TTL_S * 10)

    async def kept() -> bool:
        return 0 < await redis.pttl(keys.stream(stream.id)) <= 1000 * claims.RECORD_TTL_S

    await eventually(kept)


async def test_a_gateway_that_stops_closes_its_streams(redis: Redis, worker: ScriptedWorker) -> None:
    async with gateway(redis) as client:
        stream, offer, _ = await connect(client, worker)
        stream.push("audio", data=b"last")
        opening = asyncio.create_task(client.open(SERVICE, {}, Heard()))
        await worker.claim()
    assert await worker.hear_data(1) == [b"last"]
    assert (await worker.hear()).kind == "close"
    assert not await redis.exists(keys.inbox(offer.gateway))
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
