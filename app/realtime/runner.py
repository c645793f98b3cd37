"""Runs a session: the one place where its effects meet the client's connection, the streams and the clock."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Protocol

import msgspec
from aiolimiter import AsyncLimiter

from app.metrics import SessionMetrics
from app.realtime.session import INTERNAL_ERROR, TRY_AGAIN_LATER, Close, Effect, Send, Session
from pipelines.effects import OpenStream, Push, StreamOutput
from workers.broker.client import ServerFull, Stream, StreamClient
from workers.broker.envelope import Envelope
from workers.lifetime import run_together

log = logging.getLogger(__name__)

POLICY_VIOLATION = 1008
RATE_BURST_S = 2.0
"""A client may send this many seconds' worth of events at once."""
MAX_QUEUED_EFFECTS = 256
"""With more effects than this waiting, the client's events are not read."""


class Connection(Protocol):
    """A client's transport, message by message."""

    async def receive(self) -> str | bytes | None:
        """The next message, or None once the client is gone."""

    async def send(self, message: bytes) -> None:
        """Send a JSON event; waits while the client does not read. Raises ConnectionError if it is gone."""

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""


@dataclass(frozen=True)
class Bounds:
    """What one client may take, and how long it is waited for."""

    events_per_s: int
    send_timeout_s: float
    recovery_timeout_s: float


class Runner:
    """One session on one connection. Effects are carried out one after the other, in order."""

    def __init__(
        self,
        session: Session,
        connection: Connection,
        streams: StreamClient,
        metrics: SessionMetrics,
        bounds: Bounds,
    ) -> None:
        self._session = session
        self._connection = connection
        self._streams = streams
        self._metrics = metrics
        self._bounds = bounds
        self._limiter = AsyncLimiter(bounds.events_per_s * RATE_BURST_S, RATE_BURST_S)
        self._effects: asyncio.Queue[Effect] = asyncio.Queue()
        self._outputs: asyncio.Queue[Envelope] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._stream: Stream | None = None
        self._ending = False
        """Whether a close is queued."""

    async def run(self) -> None:
        """Serve the client until one side closes."""
        self._queue(self._session.start())
        try:
            await run_together(self._read(), self._listen(), self._perform(), self._watch_clock())
        except ConnectionError:
            log.info("session %s: the client is gone", self._session.state.id)
        except TimeoutError:
            message = f"the client has not read its events for {self._bounds.send_timeout_s:g} s"
            await self._connection.close(POLICY_VIOLATION, message)
        except Exception:
            log.exception("session %s failed", self._session.state.id)
            await self._connection.close(INTERNAL_ERROR, "internal error")
        finally:
            if self._stream is not None:
                self._stream.close()

    async def _read(self) -> None:
        while (message := await self._connection.receive()) is not None:
            await self._slow_down()
            self._queue(self._session.receive(message, time.time()))
            await self._room.wait()
            if self._stream is not None:
                await self._stream.writable()

    async def _slow_down(self) -> None:
        """A client that sends too fast is told so and read more slowly; nothing is lost."""
        if not self._limiter.has_capacity():
            message = f"more than {self._limiter.max_rate / RATE_BURST_S:g} events per second"
            self._queue([self._session.fault("rate_limit_exceeded", message)])
            await asyncio.sleep(RATE_BURST_S / 2)
        await self._limiter.acquire()

    async def _listen(self) -> None:
        while True:
            envelope = await self._outputs.get()
            if envelope.kind != "closed":
                output = StreamOutput(envelope.kind, envelope.pts, envelope.data, envelope.meta)
                self._queue(self._session.on_output(output))

    async def _watch_clock(self) -> None:
        while not self._ending:
            await asyncio.sleep(max(0.0, self._session.next_wakeup() - time.time()))
            self._queue(self._session.tick(time.time()))
        await asyncio.Event().wait()  # whoever carries out the close ends the session

    def _queue(self, effects: list[Effect]) -> None:
        """Have effects carried out. Nothing follows a close."""
        for effect in effects:
            if self._ending:
                return
            self._effects.put_nowait(effect)
            self._ending = isinstance(effect, Close)
        if self._effects.qsize() > MAX_QUEUED_EFFECTS:
            self._room.clear()

    async def _perform(self) -> None:
        """Carry out effects until one closes the session."""
        while True:
            effect = await self._effects.get()
            match effect:
                case Send(event):
                    self._metrics.sent(event)
                    async with asyncio.timeout(self._bounds.send_timeout_s):
                        await self._connection.send(msgspec.json.encode(event))
                case Push():
                    self._push(effect)
                case OpenStream(service, options):
                    await self._open(service, options)
                case Close(code, reason):
                    await self._connection.close(code, reason)
                    return
            if self._effects.qsize() <= MAX_QUEUED_EFFECTS // 2:
                self._room.set()

    def _push(self, push: Push) -> None:
        if self._stream is not None:
            self._stream.push(push.kind, pts=push.pts, data=push.data, meta=push.meta, slack_s=push.slack_s)

    async def _open(self, service: str, options: dict[str, object]) -> None:
        timeout_s = None
        if self._stream is not None:
            self._stream.close()
            timeout_s = self._bounds.recovery_timeout_s
        try:
            self._stream = await self._streams.open(service, options, self._outputs.put_nowait, timeout_s)
        except ServerFull as error:
            message = f"{error}; try again in {error.retry_after_s} s"
            self._effects, self._ending = asyncio.Queue(), False  # what was to follow, a greeting perhaps, is void
            self._queue(self._session.end("server_full", message, TRY_AGAIN_LATER))
