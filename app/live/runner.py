"""Runs a live session: where its effects meet the client's connection and the stream."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from aiolimiter import AsyncLimiter

from app.live.session import Effect, End, LiveSession, Picture, Say, error_event
from app.realtime.lines import Lines
from app.realtime.runner import POLICY_VIOLATION, Connection
from app.realtime.session import INTERNAL_ERROR
from pipelines.effects import OpenStream, Push, Show, StreamOutput
from pipelines.restyle import SERVICE
from workers.lifetime import run_together

if TYPE_CHECKING:
    from app.gateway import Gateway

log = logging.getLogger(__name__)

NORMAL_CLOSURE = 1000
MAX_QUEUED_EVENTS = 256
"""With more events than this waiting to be sent, the client's messages are not read."""


class LiveConnection(Connection, Protocol):
    """A client's transport. Its binary messages are pictures behind their media time, 8 bytes."""

    async def show(self, picture: Picture) -> None:
        """Send a picture; waits while the client does not read. Raises ConnectionError if it is gone."""


class _TimeIsUp(Exception):
    """A limit of the session: its code and what to tell the client."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LiveRunner:
    """One session on one connection. Of pictures that the client does not take in time only the latest is kept."""

    def __init__(self, session: LiveSession, connection: LiveConnection, gateway: "Gateway") -> None:
        settings = gateway.settings
        self._connection = connection
        self._session = session
        self._limiter = AsyncLimiter(settings.events_per_s, 1.0)
        self._idle_timeout_s, self._send_timeout_s = settings.idle_timeout_s, settings.send_timeout_s
        self._max_s = settings.session_max_s
        self._outputs: asyncio.Queue[StreamOutput] = asyncio.Queue()
        self._lines = Lines(gateway.streams, self._hear, settings.recovery_timeout_s)
        self._waiting: deque[Say | Picture | End] = deque()
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Serve the client until one side is done."""
        code, reason = NORMAL_CLOSURE, ""
        expired = f"a session lasts at most {self._max_s / 60:g} minutes"
        try:
            async with _limited(self._max_s, "session_expired", expired):
                await run_together(self._read(), self._listen(), self._send())
        except ConnectionError:
            pass
        except _TimeIsUp as limit:
            reason = str(limit)
            with suppress(ConnectionError, TimeoutError):
                await self._say(error_event(limit.code, reason))
        except TimeoutError:
            code, reason = POLICY_VIOLATION, f"the client has not read its events for {self._send_timeout_s:g} s"
        except Exception:
            log.exception("a live session failed")
            code, reason = INTERNAL_ERROR, "internal error"
        finally:
            self._lines.close()
        with suppress(ConnectionError):
            await self._connection.close(code, reason)

    def _hear(self, _: str, output: StreamOutput) -> None:
        self._outputs.put_nowait(output)

    async def _read(self) -> None:
        silent = f"no message from the client for {self._idle_timeout_s:g} s"
        while True:
            async with _limited(self._idle_timeout_s, "idle_timeout", silent):
                message = await self._connection.receive()
            if message is None:
                return
            await self._limiter.acquire()
            await self._carry_out(self._session.receive(message))
            async with self._changed:
                await self._changed.wait_for(lambda: len(self._waiting) < MAX_QUEUED_EVENTS)

    async def _listen(self) -> None:
        while True:
            await self._carry_out(self._session.on_output(await self._outputs.get()))

    async def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case OpenStream() | Push():
                    self._lines.perform(SERVICE, effect)
                case Show():
                    await self._lines.show(SERVICE, effect)
                case Say() | Picture() | End():
                    await self._put(effect)

    async def _put(self, effect: Say | Picture | End) -> None:
        async with self._changed:
            last = self._waiting[-1] if self._waiting else None
            if isinstance(effect, Picture) and isinstance(last, Picture):
                self._waiting[-1] = Picture(effect.pts, effect.data, effect.dropped + last.dropped + 1)
            else:
                self._waiting.append(effect)
            self._changed.notify_all()

    async def _send(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting)
                effect = self._waiting.popleft()
                self._changed.notify_all()
            match effect:
                case Say(event):
                    await self._say(event)
                case Picture():
                    async with asyncio.timeout(self._send_timeout_s):
                        await self._connection.show(effect)
                case End():
                    return

    async def _say(self, event: dict[str, Any]) -> None:
        async with asyncio.timeout(self._send_timeout_s):
            await self._connection.send(msgspec.json.encode(event))


@asynccontextmanager
async def _limited(seconds: float, code: str, message: str) -> AsyncIterator[None]:
    """Raises _TimeIsUp with this code and message after so long."""
    try:
        async with asyncio.timeout(seconds) as clock:
            yield
    except TimeoutError:
        if clock.expired():
            raise _TimeIsUp(code, message) from None
        raise
