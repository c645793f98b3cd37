"""Reading a process's inbox: blocking, in order, trimmed only behind what has been handled."""

from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis

from workers.broker import keys
from workers.broker.connection import BLOCK_MS
from workers.broker.envelope import Envelope, decode

MAX_ENTRIES = 64
"""Entries taken in one read."""


async def read(redis: Redis, process_id: str) -> AsyncIterator[list[Envelope]]:
    """Yield batches of envelopes for `process_id` until cancelled.

    Coming back for the next batch acknowledges the last one, which is then trimmed from Redis.
    """
    key = keys.inbox(process_id)
    last = "0-0"
    while True:
        reply: Any = await redis.xread({key: last}, count=MAX_ENTRIES, block=BLOCK_MS)
        for entry_id, fields in reply[0][1] if reply else ():
            yield decode(fields[b"b"])
            last = entry_id.decode()
        if reply:
            await redis.xtrim(key, minid=_after(last), approximate=False)


def _after(entry_id: str) -> str:
    milliseconds, sequence = entry_id.split("-")
    return f"{milliseconds}-{int(sequence) + 1}"
