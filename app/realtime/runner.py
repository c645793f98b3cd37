"""Runs a session: the one place where its effects meet the client's connection, the streams and the clock."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Protocol

import msgspec
from aiolimiter import AsyncLimiter

from app.metrics import SessionMetrics
from app.realtime.lines import Lines
from app.realtime.session import INTERNAL_ERROR, Close, Effect, Send, Session
from pipelines.converse_events import Traced
from pipelines.effects import OnStream, StreamOutput
from pipelines.turns import SAMPLE_RATE_HZ
from workers.broker.client import StreamClient
from workers.lifetime import run_together

log = logging.getLogger(__name__)

POLICY_VIOLATION = 1008
RATE_BURST_S = 2.0
"""A client may send this many seconds' worth of events at once."""
MAX_QUEUED_EVENTS = 256
"""With more events than this waiting to be sent, the client's are not read."""
MAX_UNHEARD_S = 30.0
"""Audio of a track that no worker takes; it is kept for so long."""
_BYTES_PER_S = SAMPLE_RATE_HZ * 2


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
    """One session on one connection. What goes to streams goes at once, what goes to the client in order."""

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
        self._metrics = metrics
        self._bounds = bounds
        self._limiter = AsyncLimiter(bounds.events_per_s * RATE_BURST_S, RATE_BURST_S)
        self._sending: asyncio.Queue[Send | Close] = asyncio.Queue()
        self._outputs: asyncio.Queue[tuple[str, StreamOutput]] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._unheard = bytearray()
        self._heard = asyncio.Event()
        self._lines = Lines(streams, lambda *output: self._outputs.put_nowait(output), bounds.recovery_timeout_s)
        self._ending = False
        """Whether a close is queued."""

    async def run(self) -> None:
        """Serve the client until one side closes."""
        try:
            await self._begin()
            await run_together(self._read(), self._hear(), self._listen(), self._send(), self._watch_clock())
        except ConnectionError:
            log.info("session %s: the client is gone", self._session.state.id)
        except TimeoutError:
            message = f"the client has not read its events for {self._bounds.send_timeout_s:g} s"
            await self._connection.close(POLICY_VIOLATION, message)
        except Exception:
            log.exception("session %s failed", self._session.state.id)
            await self._connection.close(INTERNAL_ERROR, "internal error")
        finally:
            self._lines.close()

    def hear(self, pcm: bytes) -> None:
        """Take 16 kHz mono int16 audio of the client's track. It cannot be slowed down: what is far too much ends the
        session.
        """
        if self._ending:
            return
        self._unheard += pcm
        self._heard.set()
        if len(self._unheard) > MAX_UNHEARD_S * _BYTES_PER_S:
            self._carry_out(self._session.end("overloaded", f"{MAX_UNHEARD_S:g} s of audio could not be taken"))

    def play(self) -> bytes | None:
        """The next 20 ms of 24 kHz mono int16 audio for the client's track, None where there is nothing to be heard."""
        pcm, effects = self._session.play()
        self._carry_out(effects)
        return pcm

    async def _hear(self) -> None:
        while True:
            await self._heard.wait()
            pcm, self._unheard = bytes(self._unheard), bytearray()
            self._heard.clear()
            self._carry_out(self._session.hear(pcm, time.time()))
            await self._lines.writable()

    async def _begin(self) -> None:
        """The client is greeted once its streams are open."""
        *reservations, greeting = self._session.start()
        self._carry_out(reservations)
        await self._lines.opened()
        while not self._outputs.empty():
            self._carry_out(self._session.on_output(*self._outputs.get_nowait(), time.time()))
        if not self._ending:
            self._carry_out([greeting])

    async def _read(self) -> None:
        while (message := await self._connection.receive()) is not None:
            await self._slow_down()
            self._carry_out(self._session.receive(message, time.time()))
            await self._room.wait()
            await self._lines.writable()

    async def _slow_down(self) -> None:
        """A client that sends too fast is told so and read more slowly; nothing is lost."""
        if not self._limiter.has_capacity():
            message = f"more than {self._limiter.max_rate / RATE_BURST_S:g} events per second"
            self._carry_out([self._session.fault("rate_limit_exceeded", message)])
            await asyncio.sleep(RATE_BURST_S / 2)
        await self._limiter.acquire()

    async def _listen(self) -> None:
        while True:
            stream, output = await self._outputs.get()
            self._carry_out(self._session.on_output(stream, output, time.time()))

    async def _watch_clock(self) -> None:
        while not self._ending:
            await asyncio.sleep(max(0.0, self._session.next_wakeup() - time.time()))
            self._carry_out(self._session.tick(time.time()))
        await asyncio.Event().wait()  # whoever carries out the close ends the session

    def _carry_out(self, effects: list[Effect]) -> None:
        """Nothing follows a close."""
        for effect in effects:
            if self._ending:
                return
            match effect:
                case OnStream(stream, action):
                    self._lines.perform(stream, action)
                case Traced(reply, trace):
                    self._metrics.traced(self._session.state.id, reply, trace)
                case Send() | Close():
                    self._sending.put_nowait(effect)
                    self._ending = isinstance(effect, Close)
        if self._sending.qsize() > MAX_QUEUED_EVENTS:
            self._room.clear()

    async def _send(self) -> None:
        """Send events until the session closes."""
        while True:
            effect = await self._sending.get()
            if isinstance(effect, Close):
                await self._connection.close(effect.code, effect.reason)
                return
            self._metrics.sent(effect.event)
            async with asyncio.timeout(self._bounds.send_timeout_s):
                await self._connection.send(msgspec.json.encode(effect.event))
            if self._sending.qsize() <= MAX_QUEUED_EVENTS // 2:
                self._room.set()
