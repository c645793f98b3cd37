"""What a device's thread captures, for a thread or a task that iterates."""

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Captured(Generic[T]):
    """The last `limit` things that were captured; when there are more the oldest is `dropped`, or `put` waits."""

    def __init__(self, limit: int, *, dropping: bool = True) -> None:
        self.dropped = 0
        """How many were not taken in time."""
        self._limit = limit
        self._dropping = dropping
        self._kept: deque[T] = deque()
        self._changed = threading.Condition()
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._closed = False
        self._error: Exception | None = None

    def put(self, captured: T) -> bool:
        """Add what was captured, on the device's thread. Returns whether somebody still wants more."""
        with self._changed:
            if not self._dropping:
                self._changed.wait_for(lambda: len(self._kept) < self._limit or self._closed)
            elif len(self._kept) == self._limit:
                self._kept.popleft()
                self.dropped += 1
            self._kept.append(captured)
            self._wake()
            return not self._closed

    def close(self, error: Exception | None = None) -> None:
        """Nothing more will come: iteration ends with what there is, and then raises the error if there is one."""
        with self._changed:
            self._closed = True
            self._error = self._error or error
            self._wake()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._kept or self._closed)
            if not self._kept:
                raise self._error or StopIteration
            return self._take()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            with self._changed:
                if self._kept:
                    return self._take()
                if self._closed:
                    raise self._error or StopAsyncIteration
                ready = asyncio.Event()
                self._waiting = asyncio.get_running_loop(), ready
            await ready.wait()

    def _take(self) -> T:
        self._changed.notify_all()
        return self._kept.popleft()

    def _wake(self) -> None:
        self._changed.notify_all()
        if self._waiting is not None:
            (loop, ready), self._waiting = self._waiting, None
            with suppress(RuntimeError):  # the event loop is closed
                loop.call_soon_threadsafe(ready.set)
