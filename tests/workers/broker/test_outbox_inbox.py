import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis

from tests.workers.harness import HUNG_S, running
from workers.broker import keys
from workers.broker.envelope import Envelope, decode
from workers.broker.inbox import MAX_ENTRIES, read
from workers.broker.outbox import KEY_TTL_S, MAX_BATCH, Outbox


def numbered(seq: int, stream: str = "s") -> Envelope:
    return Envelope(stream, 1, 0, seq, "text", data=b"%d" % seq)


async def write_entries(redis: Redis, count: int, receiver: str = "r") -> None:
    """One envelope in each of `count` entries."""
    outbox = Outbox(redis)
    for seq in range(count):
        outbox.put(receiver, numbered(seq))
        await outbox.write()


async def seqs(batches: AsyncIterator[list[Envelope]], count: int) -> list[int]:
    """The first `count` envelopes' numbers."""
    found: list[int] = []
    async with asyncio.timeout(HUNG_S):
        while len(found) < count:
            found += [envelope.seq for envelope in await anext(batches)]
    return found


async def entries(redis: Redis, receiver: str = "r") -> int:
    return int(await redis.xlen(keys.inbox(receiver)))


async def test_envelopes_arrive_as_they_were_put(redis: Redis) -> None:
    envelope = Envelope("s", 2, 3, 4, "audio", 5, b"\x00\xff", {"a": [1, None]}, 6.5)
    outbox = Outbox(redis)
    outbox.put("r", envelope)
    await outbox.write()
    batches = read(redis, "r")
    assert await anext(batches) == [envelope]


async def test_each_receiver_gets_its_own_in_order(redis: Redis) -> None:
    outbox = Outbox(redis)
    for seq in range(90):
        outbox.put(f"r{seq % 3}", numbered(seq))
        if seq % 20 == 0:
            await outbox.write()
    await outbox.write()
    for receiver in range(3):
        batches = read(redis, f"r{receiver}")
        assert await seqs(batches, 30) == list(range(receiver, 90, 3))


async def test_what_is_put_together_is_one_entry(redis: Redis) -> None:
    outbox = Outbox(redis)
    for seq in range(MAX_BATCH):
        outbox.put("r", numbered(seq))
    await outbox.write()
    assert await entries(redis) == 1


async def test_a_large_batch_is_split_in_order(redis: Redis) -> None:
    outbox = Outbox(redis)
    for seq in range(2 * MAX_BATCH + 1):
        outbox.put("r", numbered(seq))
    await outbox.write()
    written: Any = await redis.xrange(keys.inbox("r"))
    assert [len(decode(fields[b"b"])) for _, fields in written] == [MAX_BATCH, MAX_BATCH, 1]
    batches = read(redis, "r")
    assert await seqs(batches, 2 * MAX_BATCH + 1) == list(range(2 * MAX_BATCH + 1))


async def test_nothing_put_writes_nothing(redis: Redis) -> None:
    await Outbox(redis).write()
    assert await redis.dbsize() == 0


async def test_an_inbox_without_a_reader_expires(redis: Redis) -> None:
    await write_entries(redis, 1)
    assert 0 < await redis.ttl(keys.inbox("r")) <= KEY_TTL_S


async def test_a_running_outbox_writes_what_is_put_and_the_rest_when_cancelled(redis: Redis) -> None:
    outbox = Outbox(redis)
    batches = read(redis, "r")
    async with running(outbox.run()):
        outbox.put("r", numbered(0))
        assert await seqs(batches, 1) == [0]
        outbox.put("r", numbered(1))
    assert (await seqs(batches, 1))[-1] == 1


async def test_a_write_that_is_cut_short_is_not_lost(redis: Redis) -> None:
    outbox = Outbox(redis)
    await redis.client_pause(300)
    async with running(outbox.run()) as writing:
        outbox.put("r", numbered(0))
        await asyncio.sleep(0.05)
        outbox.put("r", numbered(1))
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
    batches = read(redis, "r")
    arrived = await seqs(batches, 2)
    assert sorted(set(arrived)) == [0, 1]
    assert arrived.index(0) < arrived.index(1)


async def test_entries_stay_until_they_were_handled(redis: Redis) -> None:
    await write_entries(redis, 3)
    batches = read(redis, "r")
    assert await seqs(batches, 3) == [0, 1, 2]
    assert await entries(redis) == 3
    await write_entries(redis, 1)
    await anext(batches)
    assert await entries(redis) == 1


async def test_a_reader_that_stops_midway_leaves_the_rest(redis: Redis) -> None:
    count = MAX_ENTRIES + 10
    await write_entries(redis, count)
    batches = read(redis, "r")
    assert await seqs(batches, MAX_ENTRIES // 2) == list(range(MAX_ENTRIES // 2))
    assert await entries(redis) == count
    batches = read(redis, "r")
    assert await seqs(batches, MAX_ENTRIES + 1) == list(range(MAX_ENTRIES + 1))
    assert await entries(redis) == count - MAX_ENTRIES
    batches = read(redis, "r")
    assert await seqs(batches, 10) == list(range(MAX_ENTRIES, count))


async def test_a_slow_reader_loses_nothing(redis: Redis) -> None:
    count = 3 * MAX_ENTRIES
    found: list[int] = []
    batches = read(redis, "r")
    async with running(write_entries(redis, count)):
        while len(found) < count:
            found += await seqs(batches, 1)
            await asyncio.sleep(0.001)
    assert found == list(range(count))
