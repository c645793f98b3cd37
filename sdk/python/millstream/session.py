"""A session over WebSocket connections, one after the other."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, Self, TypeVar

from millstream.connection import Connection, Connector
from millstream.errors import Dropped, ServerError
from millstream.protocol.base import Protocol
from millstream.reconnection import Reconnect

log = logging.getLogger("millstream")

OPEN_TIMEOUT_S = 20.0
"""Within this a server agrees to a session or refuses it."""

ProtocolT = TypeVar("ProtocolT", bound=Protocol[Any])
EventT = TypeVar("EventT")
SessionT = TypeVar("SessionT", bound="Session[Any, Any]")


class Session(Generic[ProtocolT, EventT]):
    """A session: one task iterates over its events, any may call its other methods.

    When the connection drops, another is made as `reconnect` says; meanwhile whoever sends or iterates waits.
    """

    def __init__(self, protocol: ProtocolT, connector: Connector, reconnect: Reconnect | None) -> None:
        self._protocol = protocol
        self._connector = connector
        self._reconnect = reconnect
        self._pauses: Iterator[float] = iter(())
        """The pauses before the attempts that are left."""
        self._connection: Connection | None = None
        self._failure: ServerError | None = None
        self._settled = asyncio.Event()
        """Whether there is a connection or, after a failure, none will be."""
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventT:
        """The next event. Raises ServerError when the server has ended the session."""
        event = await self._next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def open(self) -> None:
        """Connect, and have the server agree. Raises OSError, ServerError, ValueError."""
        self._connection = await self._connect()
        self._settled.set()

    async def close(self) -> None:
        """End the session."""
        self._failure = self._failure or ServerError("the session is closed")
        self._settled.set()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()

    # --- sending and receiving ---

    async def _send(self) -> None:
        """Send what the protocol wants sent. Raises ServerError."""
        async with self._sending:
            while True:
                connection = await self._usable()
                if not self._protocol.outgoing:
                    return
                try:
                    await connection.send(self._protocol.outgoing.popleft())
                except Dropped as dropped:
                    self._lose(connection, dropped)

    async def _next(self) -> EventT | None:
        """The next event, None at the end. May be cancelled without loss."""
        while not self._protocol.events:
            if self._protocol.finished:
                return None
            connection = await self._usable()
            if self._protocol.events:
                break
            try:
                self._protocol.receive(await connection.receive())
            except Dropped as dropped:
                self._lose(connection, dropped)
            if self._protocol.outgoing:
                self._spawn(self._send_aside())
        event: EventT = self._protocol.events.popleft()
        return event

    async def _usable(self) -> Connection:
        await self._settled.wait()
        if self._failure is not None:
            raise self._failure
        assert self._connection is not None
        return self._connection

    async def _send_aside(self) -> None:
        """Send while others receive; whoever iterates is told if that fails."""
        with suppress(ServerError):
            await self._send()

    async def _beside(self, sending: Coroutine[Any, Any, None]) -> AsyncIterator[EventT]:
        """The events, while something is sent. Raises what goes wrong with that, too."""
        sender = self._spawn(sending)
        sender.add_done_callback(_heed)
        while True:
            receiver = asyncio.create_task(self._next())
            try:
                if not sender.done():
                    await asyncio.wait({receiver, sender}, return_when=asyncio.FIRST_COMPLETED)
                if sender.done():
                    sender.result()
                event = await receiver
            finally:
                receiver.cancel()
            if event is None:
                return
            yield event

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- connections ---

    async def _connect(self) -> Connection:
        self._protocol.outgoing.clear()
        connection = await self._connector.connect(self._protocol.path)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                self._protocol.begin()
                while not self._protocol.ready:
                    while self._protocol.outgoing:
                        await connection.send(self._protocol.outgoing.popleft())
                    self._protocol.receive(await connection.receive())
        except BaseException:
            await connection.close()
            raise
        return connection

    def _lose(self, connection: Connection, dropped: Dropped) -> None:
        """The connection is of no more use."""
        if connection is not self._connection or self._failure is not None:
            return
        log.info("%s", dropped)
        self._connection = None
        self._settled.clear()
        if self._protocol.proven and self._reconnect is not None:
            self._pauses = self._reconnect.pauses()
        self._protocol.drop()
        self._spawn(self._replace(connection, dropped))

    async def _replace(self, connection: Connection, dropped: Dropped) -> None:
        try:
            await connection.close()
            async with asyncio.timeout(self._reconnect.total_s if self._reconnect else None):
                self._connection = await self._connect_again(dropped)
        except TimeoutError:
            self._failure = ServerError(f"{dropped}; no other was to be had in time", dropped.code)
        except ServerError as error:
            self._failure = error
        finally:
            if self._connection is None:
                self._failure = self._failure or dropped
            self._settled.set()
        if self._failure is None:
            await self._send_aside()

    async def _connect_again(self, dropped: Dropped) -> Connection:
        """Raises ServerError."""
        problem: Exception = dropped
        for pause_s in self._pauses:
            await asyncio.sleep(pause_s)
            try:
                return await self._connect()
            except (Dropped, OSError) as error:
                log.info("no new connection: %s", error)
                problem = error
        if problem is dropped:
            raise dropped
        code = problem.code if isinstance(problem, ServerError) else dropped.code
        raise ServerError(f"{dropped}; no other was to be had: {problem}", code)


def _heed(sender: asyncio.Task[None]) -> None:
    """What it raises is told to whoever iterates, and no more if nobody does."""
    if not sender.cancelled():
        sender.exception()


@asynccontextmanager
async def opened(session: SessionT) -> AsyncIterator[SessionT]:
    """Open a session, and close it in the end."""
    await session.open()
    try:
        yield session
    finally:
        await session.close()
