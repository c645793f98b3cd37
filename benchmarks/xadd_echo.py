"""The peer of `benchmarks.engine`: a process that echoes each entry of a Redis stream with an XADD of its own."""

import asyncio
import os

from typing import Any

from workers.broker.connection import connect


async def main() -> None:
    """Echo until killed."""
    redis = connect(os.environ["MILLSTREAM_REDIS_URL"])
    last: Any = "$"
    tasks: set[asyncio.Task[Any]] = set()
    while True:
        reply: Any = await redis.xread({"bench:in": last}, block=1_000)
        for entry, fields in reply[0][1] if reply else ():
            last = entry
            task = asyncio.create_task(redis.xadd("bench:out", {"n": fields[b"n"]}, maxlen=20_000))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(main())
