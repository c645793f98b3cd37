import asyncio

from redis.asyncio import Redis

from tests.workers.harness import eventually
from workers.broker import claims, keys
from workers.broker.claims import RECORD_TTL_S, Offer

BLOCK_S = 0.05


def offer(stream: str = "s", lease: int = 1, service: str = "echo") -> Offer:
    return Offer(stream, lease, "gateway", service, {"language": "en"})


async def claim(redis: Redis, worker: str = "w") -> Offer | None:
    return await claims.claim(redis, "echo", worker, BLOCK_S)


async def owner(redis: Redis, stream: str = "s") -> bytes | str | None:
    return await redis.hget(keys.stream(stream), "owner")


async def test_a_worker_claims_what_was_offered(redis: Redis) -> None:
    await claims.offer(redis, offer())
    assert await owner(redis) == b""
    assert await claim(redis) == offer()
    assert await owner(redis) == b"w"


async def test_offers_are_claimed_in_order_by_workers_of_their_service(redis: Redis) -> None:
    await claims.offer(redis, offer("other", service="speak"))
    await claims.offer(redis, offer("first"))
    await claims.offer(redis, offer("second"))
    assert [await claim(redis) for _ in range(3)] == [offer("first"), offer("second"), None]


async def test_a_waiting_worker_gets_an_offer_made_later(redis: Redis) -> None:
    waiting = asyncio.create_task(claims.claim(redis, "echo", "w", 20))
    await claims.offer(redis, offer())
    assert await waiting == offer()


async def test_one_of_two_workers_wins_each_offer(redis: Redis) -> None:
    streams = {f"s{number}" for number in range(50)}
    won: dict[str, list[str]] = {"w1": [], "w2": []}

    async def compete(worker: str) -> None:
        while (claimed := await claim(redis, worker)) is not None:
            won[worker].append(claimed.stream)

    for stream in streams:
        await claims.offer(redis, offer(stream))
    await asyncio.gather(compete("w1"), compete("w2"))
    assert sorted(won["w1"] + won["w2"]) == sorted(streams)
    for worker, claimed in won.items():
        assert {await owner(redis, stream) for stream in claimed} == {worker.encode()}


async def test_a_claimed_stream_cannot_be_claimed_again(redis: Redis) -> None:
    await claims.offer(redis, offer())
    (again,) = await redis.lrange(keys.offers("echo"), 0, -1)
    assert await claim(redis, "w1") == offer()
    await redis.rpush(keys.offers("echo"), again)
    assert await claim(redis, "w2") is None
    assert await owner(redis) == b"w1"


async def test_a_withdrawn_offer_cannot_be_claimed(redis: Redis) -> None:
    await claims.offer(redis, offer())
    assert await claims.withdraw(redis, offer()) is None
    assert await redis.dbsize() == 0
    assert await claim(redis) is None


async def test_withdrawing_leaves_the_offers_of_others(redis: Redis) -> None:
    await claims.offer(redis, offer("kept"))
    await claims.offer(redis, offer("withdrawn"))
    await claims.withdraw(redis, offer("withdrawn"))
    assert [await claim(redis), await claim(redis)] == [offer("kept"), None]


async def test_an_offer_withdrawn_between_taking_and_claiming_is_not_claimed(redis: Redis) -> None:
    await claims.offer(redis, offer())
    taken = await redis.lpop(keys.offers("echo"))
    assert isinstance(taken, bytes)
    assert await claims.withdraw(redis, offer()) is None
    await redis.rpush(keys.offers("echo"), taken)
    assert await claim(redis) is None
    assert await owner(redis) is None


async def test_withdrawing_tells_who_claimed_meanwhile(redis: Redis) -> None:
    await claims.offer(redis, offer())
    await claim(redis, "w1")
    assert await claims.withdraw(redis, offer()) == "w1"
    assert await claims.revoked(redis, {"s": 1}) == ["s"]


async def test_an_offer_under_an_older_lease_cannot_be_claimed(redis: Redis) -> None:
    await claims.offer(redis, offer(lease=1))
    await claims.offer(redis, offer(lease=2))
    assert [await claim(redis), await claim(redis)] == [None, offer(lease=2)]


async def test_an_offer_whose_gateway_died_cannot_be_claimed(redis: Redis) -> None:
    await claims.offer(redis, offer())
    await redis.delete(keys.stream("s"))
    assert await claim(redis) is None


async def test_a_record_lives_while_its_gateway_keeps_it(redis: Redis) -> None:
    await claims.offer(redis, offer())
    assert 0 < await redis.pttl(keys.stream("s")) <= RECORD_TTL_S * 1000
    await redis.expire(keys.stream("s"), RECORD_TTL_S * 100)
    await claims.keep(redis, ["s", "gone"])
    assert 0 < await redis.pttl(keys.stream("s")) <= RECORD_TTL_S * 1000
    assert not await redis.exists(keys.stream("gone"))


async def test_a_stream_is_revoked_when_its_record_expires(redis: Redis) -> None:
    for stream in ("kept", "expired"):
        await claims.offer(redis, offer(stream))
    leases = {"kept": 1, "expired": 1}
    assert await claims.revoked(redis, leases) == []
    await redis.pexpire(keys.stream("expired"), 1)

    async def expired() -> bool:
        return await claims.revoked(redis, leases) == ["expired"]

    await eventually(expired)


async def test_a_stream_is_revoked_when_its_lease_has_moved_on(redis: Redis) -> None:
    await claims.offer(redis, offer(lease=2))
    assert await claims.revoked(redis, {"s": 1}) == ["s"]
    assert await claims.revoked(redis, {"s": 2}) == []


async def test_a_forgotten_stream_is_revoked(redis: Redis) -> None:
    await claims.offer(redis, offer())
    await claims.forget(redis, ["s"])
    assert await claims.revoked(redis, {"s": 1}) == ["s"]
