"""Helpers of the worker tests: both ends of a stream, in the test's event loop, over a real Valkey."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from workers.broker.client import StreamClient
from workers.broker.envelope import Envelope

ROOT = Path(__file__).parents[2]
HUNG_S = 60.0
"""Nothing here takes so long unless it hangs."""
SLACK_S = 60.0
"""Slack that is never missed, so that no worker thinks itself overloaded."""


class Heard:
    """What a stream put out: give it to `StreamClient.open`."""

    def __init__(self) -> None:
        self._outputs: asyncio.Queue[Envelope] = asyncio.Queue()

    def __call__(self, envelope: Envelope) -> None:
        self._outputs.put_nowait(envelope)

    @property
    def silent(self) -> bool:
        """Whether nothing has come that was not taken."""
        return self._outputs.empty()

    async def next(self) -> Envelope:
        """The next output."""
        async with asyncio.timeout(HUNG_S):
            return await self._outputs.get()

    async def take(self, count: int) -> list[Envelope]:
        """The next `count` outputs."""
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run `work` in the background and cancel it at the end; raises what it raised."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def gateway(redis: Redis, claim_timeout_s: float = HUNG_S) -> AsyncIterator[StreamClient]:
    """A gateway's client of its streams, running."""
    client = StreamClient(redis, f"gateway-{uuid4().hex}", claim_timeout_s)
    async with running(client.run()):
        yield client


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(HUNG_S):
        while not await holds():  # noqa: ASYNC110 (it is true elsewhere: there is no event to await)
            await asyncio.sleep(0.01)
