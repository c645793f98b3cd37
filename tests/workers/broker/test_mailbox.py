import random

import pytest
from redis.asyncio import Redis

from tests.workers.harness import eventually
from workers.broker import keys
from workers.broker.mailbox import FRAME_TTL_MS, Frame, MailboxReader, MailboxWriter


@pytest.fixture
def ends(redis: Redis) -> tuple[MailboxWriter, MailboxReader]:
    return MailboxWriter(redis, "s"), MailboxReader(redis, "s")


Ends = tuple[MailboxWriter, MailboxReader]


async def test_a_frame_is_taken_once(ends: Ends) -> None:
    writer, reader = ends
    assert await reader.take() is None
    await writer.put(7, b"\x00frame\xff")
    assert await reader.take() == Frame(7, b"\x00frame\xff", dropped=0)
    assert await reader.take() is None


async def test_the_latest_frame_wins_and_the_others_are_counted(ends: Ends) -> None:
    writer, reader = ends
    for frame in (b"1", b"2", b"3"):
        await writer.put(7, frame)
    assert await reader.take() == Frame(7, b"3", dropped=2)
    await writer.put(7, b"4")
    assert await reader.take() == Frame(7, b"4", dropped=0)


async def test_the_doorbell_is_rung_once_until_it_is_answered(ends: Ends) -> None:
    writer, reader = ends
    assert [await writer.put(7, b"frame") for _ in range(3)] == [True, False, False]
    await reader.take()
    assert [await writer.put(7, b"frame") for _ in range(2)] == [True, False]


async def test_an_expired_frame_is_gone_and_counted(redis: Redis, ends: Ends) -> None:
    writer, reader = ends
    await writer.put(7, b"old")
    assert 0 < await redis.pttl(keys.video("s")) <= FRAME_TTL_MS
    await redis.pexpire(keys.video("s"), 1)

    async def expired() -> bool:
        return not await redis.exists(keys.video("s"))

    await eventually(expired)
    assert await reader.take() is None
    assert await writer.put(7, b"new")
    assert await reader.take() == Frame(7, b"new", dropped=1)


async def test_a_newer_frame_lives_as_long_as_the_first(redis: Redis, ends: Ends) -> None:
    writer, _ = ends
    await writer.put(7, b"1")
    await redis.persist(keys.video("s"))
    await writer.put(7, b"2")
    assert 0 < await redis.pttl(keys.video("s")) <= FRAME_TTL_MS


async def test_streams_have_mailboxes_of_their_own(redis: Redis, ends: Ends) -> None:
    writer, reader = ends
    other = MailboxWriter(redis, "other")
    await writer.put(7, b"mine")
    assert await other.put(7, b"theirs")
    assert await reader.take() == Frame(7, b"mine", dropped=0)


@pytest.mark.parametrize("seed", range(5))
async def test_every_frame_is_seen_or_counted(ends: Ends, seed: int) -> None:
    writer, reader = ends
    choices = random.Random(seed)
    put, seen, dropped, rung = 0, 0, 0, False
    for _ in range(100):
        if choices.random() < 0.6:
            put += 1
            rung = await writer.put(7, b"%d" % put) or rung
        else:
            frame = await reader.take()
            assert (frame is not None) == rung
            rung = False
            if frame is not None:
                seen, dropped = seen + 1, dropped + frame.dropped
                assert frame.data == b"%d" % put
                assert seen + dropped == put
