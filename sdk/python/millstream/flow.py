"""Things that come one after the other, whether they are waited for or block."""

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
Source = AsyncIterable[T] | Iterable[T]
"""What can be iterated over, by `async for` or by `for`."""


async def flow(source: Source[T]) -> AsyncIterator[T]:
    """The items of a source. One that blocks is iterated over on a thread, which ends with the source or, once nobody
    listens, with its next item.
    """
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
        return
    pump = _Pump(source)
    try:
        async for item in pump.items():
            yield item
    finally:
        pump.stop()


class _Pump(Generic[T]):
    """Iterates on a thread of its own, which is at most one item ahead."""

    def __init__(self, source: Iterable[T]) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._got: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue()
        self._room = threading.Semaphore(1)
        self._stopped = False
        threading.Thread(target=self._run, name="millstream source", daemon=True).start()

    async def items(self) -> AsyncIterator[T]:
        """What the thread gets. Raises what the source raises."""
        while (got := await self._got.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            self._room.release()
            yield got[0]

    def stop(self) -> None:
        """Have the thread end."""
        self._stopped = True
        self._room.release()

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            for item in self._source:
                self._room.acquire()
                if self._stopped:
                    return
                self._put((item,))
        except BaseException as error:
            end = error
        self._put(end)

    def _put(self, got: tuple[T] | BaseException | None) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody listens
            self._loop.call_soon_threadsafe(self._got.put_nowait, got)
