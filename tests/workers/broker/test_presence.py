from redis.asyncio import Redis

from tests.workers.harness import eventually
from workers.broker import keys, presence
from workers.broker.envelope import Envelope
from workers.broker.outbox import Outbox
from workers.broker.presence import WORKER_TTL_MS, WorkerStatus


def status(worker: str, used: int = 0) -> WorkerStatus:
    return WorkerStatus(worker, "echo", ["echo", "keeper"], "cpu", 4, used, 1024, accepting=used < 4)


async def test_the_living_are_listed_by_id_with_their_latest_word(redis: Redis) -> None:
    assert await presence.alive(redis) == []
    for announced in (status("b"), status("a"), status("b", used=4)):
        await presence.announce(redis, announced, b"")
    assert await presence.alive(redis) == [status("a"), status("b", used=4)]


async def test_a_heartbeat_lasts_for_a_while_only(redis: Redis) -> None:
    await presence.announce(redis, status("a"), b"")
    for key in (keys.worker("a"), keys.worker_metrics("a")):
        assert 0 < await redis.pttl(key) <= WORKER_TTL_MS


async def test_a_worker_that_falls_silent_is_forgotten(redis: Redis) -> None:
    for worker in ("a", "b"):
        await presence.announce(redis, status(worker), b"")
    await redis.pexpire(keys.worker("a"), 1)

    async def forgotten() -> bool:
        return await presence.alive(redis) == [status("b")]

    await eventually(forgotten)
    assert await redis.smembers(keys.WORKERS) == {b"b"}


async def test_a_worker_that_comes_back_is_listed_again(redis: Redis) -> None:
    await presence.announce(redis, status("a"), b"")
    await redis.delete(keys.worker("a"))
    assert await presence.alive(redis) == []
    await presence.announce(redis, status("a"), b"")
    assert await presence.alive(redis) == [status("a")]


async def test_a_worker_that_leaves_takes_everything_with_it(redis: Redis) -> None:
    await presence.announce(redis, status("a"), b"metrics")
    outbox = Outbox(redis)
    outbox.put("a", Envelope("s", 1, 0, 0, "text"))
    await outbox.write()
    await presence.leave(redis, "a")
    assert await redis.dbsize() == 0


async def test_metrics_are_those_of_the_living(redis: Redis) -> None:
    assert await presence.metrics(redis) == []
    for worker in ("a", "b", "c"):
        await presence.announce(redis, status(worker), f"metrics of {worker}\n".encode())
    await redis.delete(keys.worker("b"), keys.worker_metrics("c"))
    assert await presence.metrics(redis) == ["metrics of a\n"]
