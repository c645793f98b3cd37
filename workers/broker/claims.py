"""How a stream finds a worker: gateways offer, workers with a free slot compete, the lease decides.

A stream's record `{lease, owner}` exists from its offer until its gateway closes it, withdraws it or dies (then it
expires). Claiming sets the owner only if the record still carries the offered lease and has none, atomically, so a
claim that comes too late fails instead of serving a stream that nobody waits for.
"""

from typing import Any

import msgspec
from redis.asyncio import Redis

from workers.broker import keys

RECORD_TTL_S = 6
"""A stream whose gateway is silent for so long is closed by its worker."""

_CLAIM = """
if redis.call('HGET', KEYS[1], 'lease') == ARGV[1] and redis.call('HGET', KEYS[1], 'owner') == '' then
    redis.call('HSET', KEYS[1], 'owner', ARGV[2])
    return 1
end
return 0
"""

_WITHDRAW = """
local owner = redis.call('HGET', KEYS[1], 'owner')
redis.call('DEL', KEYS[1])
redis.call('LREM', KEYS[2], 1, ARGV[1])
return owner
"""


class Offer(msgspec.Struct, frozen=True):
    """A stream that wants a slot of `service`."""

    stream: str
    lease: int
    gateway: str
    service: str
    options: dict[str, Any]


async def offer(redis: Redis, offered: Offer) -> None:
    """Put a stream up for claiming."""
    record = keys.stream(offered.stream)
    pipeline = redis.pipeline(transaction=True)
    pipeline.hset(record, mapping={"lease": offered.lease, "owner": ""})
    pipeline.expire(record, RECORD_TTL_S)
    pipeline.rpush(keys.offers(offered.service), msgspec.msgpack.encode(offered))
    await pipeline.execute()


async def withdraw(redis: Redis, offered: Offer) -> str | None:
    """Take an offer back. Returns the worker that had claimed it meanwhile, if any."""
    owner: bytes | None = await redis.eval(
        _WITHDRAW,
        2,
        keys.stream(offered.stream),
        keys.offers(offered.service),
        msgspec.msgpack.encode(offered),
    )
    return owner.decode() if owner else None


async def claim(redis: Redis, service: str, worker_id: str, block_s: float) -> Offer | None:
    """Wait up to `block_s` for an offer and claim it. None if there was none or it had been withdrawn."""
    popped: Any = await redis.blpop([keys.offers(service)], timeout=block_s)
    if popped is None:
        return None
    offered = msgspec.msgpack.decode(popped[1], type=Offer)
    claimed = await redis.eval(_CLAIM, 1, keys.stream(offered.stream), str(offered.lease), worker_id)
    return offered if claimed else None


async def keep(redis: Redis, streams: list[str]) -> None:
    """Gateway: keep the records of its streams alive. Call well within `RECORD_TTL_S`."""
    pipeline = redis.pipeline(transaction=False)
    for stream_id in streams:
        pipeline.expire(keys.stream(stream_id), RECORD_TTL_S)
    await pipeline.execute()


async def forget(redis: Redis, streams: list[str]) -> None:
    """Gateway: these streams are closed."""
    if streams:
        await redis.delete(*[keys.stream(stream_id) for stream_id in streams])


async def revoked(redis: Redis, leases: dict[str, int]) -> list[str]:
    """Worker: those of its streams (id -> lease it holds) that are no longer its own."""
    pipeline = redis.pipeline(transaction=False)
    for stream_id in leases:
        pipeline.hget(keys.stream(stream_id), "lease")
    current = await pipeline.execute()
    return [
        stream_id
        for (stream_id, lease), found in zip(leases.items(), current, strict=True)
        if found is None or int(found) != lease
    ]
