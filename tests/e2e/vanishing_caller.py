"""A process that calls and then is killed: it prints its offer, and a line once it is connected."""

import asyncio
import json
import sys

from tests.e2e.caller_rtc import caller


async def main() -> None:
    """Read the answer from standard input."""
    async with caller() as call:
        print(json.dumps(await call.offer()), flush=True)  # noqa: T201
        await call.accept(json.loads(await asyncio.to_thread(sys.stdin.readline)))
        await call.connected()
        print("connected", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
