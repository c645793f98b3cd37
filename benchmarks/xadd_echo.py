"""The peer of `benchmarks.engine`: echoes the entries of a Redis stream, an XADD each, in one pipeline every 5 ms."""

import asyncio
import os
from typing import Any

from workers.broker.connection import connect

INTERVAL_S = 0.005


async def main() -> None:
    """Echo until killed."""
    redis = connect(os.environ["MILLSTREAM_REDIS_URL"])
    last: Any = "$"
    while True:
        reply: Any = await redis.xread({"bench:in": last}, block=1_000)
        pipeline = redis.pipeline(transaction=False)
        for entry, fields in reply[0][1] if reply else ():
            last = entry
            pipeline.xadd("bench:out", {"n": fields[b"n"]}, maxlen=20_000)
        await pipeline.execute()
        await asyncio.sleep(INTERVAL_S)


if __name__ == "__main__":
    asyncio.run(main())
