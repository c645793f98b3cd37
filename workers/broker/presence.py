"""Which workers are alive, and what they say of themselves."""

from typing import Any

import msgspec
from redis.asyncio import Redis

from workers.broker import keys

HEARTBEAT_S = 1.0
WORKER_TTL_MS = 3_500
"""A worker that misses three heartbeats is dead."""


class WorkerStatus(msgspec.Struct, frozen=True):
    """A worker's heartbeat."""

    id: str
    service: str
    models: list[str]
    device: str
    capacity: int
    used: int
    window: int
    """Bytes of a stream's credit window."""
    accepting: bool
    """Whether it claims streams now."""


async def announce(redis: Redis, status: WorkerStatus, metrics: bytes) -> None:
    """Publish one heartbeat and the worker's metrics (Prometheus text)."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.sadd(keys.WORKERS, status.id)
    pipeline.set(keys.worker(status.id), msgspec.msgpack.encode(status), px=WORKER_TTL_MS)
    pipeline.set(keys.worker_metrics(status.id), metrics, px=WORKER_TTL_MS)
    await pipeline.execute()


async def leave(redis: Redis, worker_id: str) -> None:
    """The worker stops."""
    await redis.srem(keys.WORKERS, worker_id)
    await redis.delete(keys.worker(worker_id), keys.worker_metrics(worker_id), keys.inbox(worker_id))


async def alive(redis: Redis) -> list[WorkerStatus]:
    """Status of every live worker, by id; forgets the dead ones."""
    members: Any = await redis.smembers(keys.WORKERS)
    ids = sorted(member.decode() for member in members)
    if not ids:
        return []
    found = dict(zip(ids, await redis.mget([keys.worker(worker_id) for worker_id in ids]), strict=True))
    dead = [worker_id for worker_id, status in found.items() if status is None]
    if dead:
        await redis.srem(keys.WORKERS, *dead)
    return [msgspec.msgpack.decode(status, type=WorkerStatus) for status in found.values() if status is not None]


async def metrics(redis: Redis) -> list[str]:
    """Prometheus text of every live worker."""
    ids = [status.id for status in await alive(redis)]
    texts: Any = await redis.mget([keys.worker_metrics(worker_id) for worker_id in ids]) if ids else []
    return [text.decode() for text in texts if text is not None]
