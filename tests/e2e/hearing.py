"""What a client hears, collected while it goes on sending."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Generic, TypeVar

HUNG_S = 100.0
"""Nothing here takes so long unless it hangs."""

Event = TypeVar("Event")


class Heard(Generic[Event]):
    """Events of one connection in the order of arrival; `kind` tells an event's type."""

    def __init__(self, kind: Callable[[Event], str]) -> None:
        self.events: list[Event] = []
        self.over: BaseException | None = None
        """Why no more events come."""
        self._kind = kind
        self._changed = asyncio.Condition()

    @property
    def kinds(self) -> list[str]:
        """Types of the events so far."""
        return [self._kind(event) for event in self.events]

    def of(self, kind: str) -> list[Event]:
        """Events of one type."""
        return [event for event in self.events if self._kind(event).endswith(kind)]

    async def wait(self, kind: str, count: int = 1, timeout_s: float = HUNG_S) -> Event:
        """The `count`-th event whose type ends with `kind`. Raises AssertionError if it never comes."""
        seen = found = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._changed:
                while True:
                    for event in self.events[seen:]:
                        found += self._kind(event).endswith(kind)
                        if found == count:
                            return event
                    seen = len(self.events)
                    if self.over is not None:
                        break
                    await self._changed.wait()
        raise AssertionError(f"{found} of {count} events {kind!r}; {self.over!r}; heard {self.kinds[-20:]}")

    async def end(self, timeout_s: float = HUNG_S) -> BaseException:
        """Why the connection ended, once it has."""
        async with self._changed, asyncio.timeout(timeout_s):
            await self._changed.wait_for(lambda: self.over is not None)
        assert self.over is not None
        return self.over

    async def collect(self, source: AsyncIterable[Event]) -> None:
        """Take events until there are no more."""
        try:
            async for event in source:
                await self._change(event)
            over: BaseException = StopAsyncIteration()
        except Exception as error:  # handed to whoever waits
            over = error
        async with self._changed:
            self.over = over
            self._changed.notify_all()

    async def _change(self, event: Event) -> None:
        async with self._changed:
            self.events.append(event)
            self._changed.notify_all()


@asynccontextmanager
async def hearing(source: AsyncIterable[Event], kind: Callable[[Event], str]) -> AsyncIterator[Heard[Event]]:
    """Collect events in the background."""
    heard = Heard(kind)
    collecting = asyncio.create_task(heard.collect(source))
    try:
        yield heard
    finally:
        collecting.cancel()
        with suppress(asyncio.CancelledError):
            await collecting
