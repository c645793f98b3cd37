"""The worker process: claims streams, feeds its lanes, sends what they produce.

An asyncio shell around the device threads. It owns no policy: the scheduler picks steps, pipelines say what is urgent.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from models.base import Message, StreamError
from workers.broker import claims, presence
from workers.broker.claims import Offer
from workers.broker.connection import BLOCK_MS
from workers.broker.envelope import Envelope
from workers.broker.inbox import read
from workers.broker.mailbox import MailboxReader
from workers.broker.outbox import Outbox
from workers.broker.presence import WorkerStatus
from workers.engine import Cancel, Close, Command, Delivery, Flush, Lane, Open, Push
from workers.lifetime import run_together
from workers.metrics import WorkerMetrics
from workers.service import Service

log = logging.getLogger(__name__)

OVERLOADED_PAUSE_S = 0.5


@dataclass
class Hosted:
    """A stream that occupies a slot here."""

    offer: Offer
    slot: int
    mailbox: MailboxReader
    turn: int = 0
    sent: int = 0
    received: int = 0
    credited: int = 0
    consumed: dict[int, int] = field(default_factory=dict)
    """Bytes let go of, by lane."""
    closed_lanes: int = 0
    ended: bool = False


class Worker:
    """Serves one `Service` until cancelled. Raises RuntimeError if a device thread dies."""

    def __init__(self, service: Service, redis: Redis) -> None:
        self.id = f"{service.name}-{uuid4().hex[:12]}"
        self._service = service
        self._redis = redis
        self._outbox = Outbox(redis)
        self._metrics = WorkerMetrics(self.id, service.name)
        self._streams: dict[str, Hosted] = {}
        self._slots: dict[int, Hosted] = {}
        self._free = list(range(service.capacity))
        self._slot_freed = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._lanes = [
            Lane(models, _on_loop(loop, partial(self._deliver, index)), self._metrics)
            for index, models in enumerate(service.lanes)
        ]

    async def run(self) -> None:
        """Claim and serve streams."""
        for lane in self._lanes:
            lane.start()
        try:
            await run_together(self._outbox.run(), self._heartbeat(), self._receive(), self._claim())
        finally:
            for hosted in list(self._slots.values()):
                self._end(hosted, "lost", code="worker_stopped", message="the worker that served this stream stopped")
            with suppress(RedisError):
                await self._outbox.write()
                await presence.leave(self._redis, self.id)
            for lane in self._lanes:
                lane.stop()

    async def _claim(self) -> None:
        while True:
            if not self._free:
                self._slot_freed.clear()
                await self._slot_freed.wait()
            if self._metrics.overloaded():
                await asyncio.sleep(OVERLOADED_PAUSE_S)
                continue
            offer = await claims.claim(self._redis, self._service.name, self.id, BLOCK_MS / 1e3)
            if offer is not None:
                self._open(offer)

    def _open(self, offer: Offer) -> None:
        hosted = Hosted(
            offer, self._free.pop(), MailboxReader(self._redis, offer.stream), credited=self._service.window
        )
        self._streams[offer.stream] = self._slots[hosted.slot] = hosted
        self._submit(Open(hosted.slot, offer.options))
        self._send(hosted, "opened", {"worker": self.id, "credit": hosted.credited})

    async def _receive(self) -> None:
        async for batch in read(self._redis, self.id):
            for envelope in batch:
                hosted = self._streams.get(envelope.stream)
                if hosted is not None and envelope.lease == hosted.offer.lease:
                    await self._take(hosted, envelope)

    async def _take(self, hosted: Hosted, envelope: Envelope) -> None:
        if hosted.ended or envelope.seq < hosted.received:
            return
        if envelope.seq > hosted.received:
            message = f"expected input {hosted.received} of the stream and got {envelope.seq}"
            self._end(hosted, "error", code="input_lost", message=message)
            return
        hosted.received += 1
        hosted.turn = envelope.turn
        match envelope.kind:
            case "close":
                self._end(hosted, "closed")
            case "cancel":
                self._submit(Cancel(hosted.slot, envelope.turn))
            case "flush":
                self._submit(Flush(hosted.slot))
            case "look":
                await self._look(hosted, envelope.slack_ms / 1e3)
            case kind:
                slack_s = envelope.slack_ms / 1e3
                self._submit(Push(hosted.slot, Message(kind, envelope.pts, envelope.data, envelope.meta, slack_s)))

    async def _look(self, hosted: Hosted, slack_s: float) -> None:
        """The doorbell of the stream's mailbox has been rung."""
        frame = await hosted.mailbox.take()
        if frame is not None:
            message = Message("frame", frame.pts, frame.data, {"dropped": frame.dropped}, slack_s)
            self._submit(Push(hosted.slot, message))

    def _deliver(self, lane: int, delivery: Delivery) -> None:
        for output in delivery.outputs:
            hosted = self._slots[output.slot]
            if not hosted.ended:
                self._send(hosted, output.kind, dict(output.meta), output.pts, output.data)
        for slot, consumed in delivery.consumed.items():
            self._grant(self._slots[slot], lane, consumed)
        for slot, error in delivery.faults:
            self._fault(self._slots[slot], error)
        for slot in delivery.closed:
            self._closed(self._slots[slot])

    def _grant(self, hosted: Hosted, lane: int, consumed: int) -> None:
        """Return to the stream the credit for input that every lane has let go of."""
        hosted.consumed[lane] = consumed
        total = min(hosted.consumed.get(index, 0) for index in range(len(self._lanes))) + self._service.window
        if total > hosted.credited and not hosted.ended:
            self._send(hosted, "credit", {"credit": total - hosted.credited})
            hosted.credited = total

    def _fault(self, hosted: Hosted, error: StreamError) -> None:
        log.warning("stream %s: %s", hosted.offer.stream, error)
        self._end(hosted, "error", code=error.code, message=str(error), param=error.param)

    def _closed(self, hosted: Hosted) -> None:
        hosted.closed_lanes += 1
        if hosted.closed_lanes == len(self._lanes):
            del self._slots[hosted.slot]
            del self._streams[hosted.offer.stream]
            self._free.append(hosted.slot)
            self._slot_freed.set()

    def _end(self, hosted: Hosted, kind: str, **meta: str | None) -> None:
        """Say the stream's last word and free its slot."""
        if not hosted.ended:
            self._send(hosted, kind, meta)
            hosted.ended = True
            self._submit(Close(hosted.slot))

    def _submit(self, command: Command) -> None:
        for lane in self._lanes:
            lane.submit(command)

    def _send(self, hosted: Hosted, kind: str, meta: dict[str, Any], pts: int = 0, data: bytes = b"") -> None:
        offer = hosted.offer
        self._outbox.put(
            offer.gateway, Envelope(offer.stream, offer.lease, hosted.turn, hosted.sent, kind, pts, data, meta)
        )
        hosted.sent += 1

    async def _heartbeat(self) -> None:
        while True:
            if not all(lane.running for lane in self._lanes):
                raise RuntimeError("a device thread has died")
            used = len(self._slots)
            status = WorkerStatus(
                id=self.id,
                service=self._service.name,
                models=[model.name for model in self._service.models],
                device=self._service.device,
                capacity=self._service.capacity,
                used=used,
                window=self._service.window,
                accepting=bool(self._free) and not self._metrics.overloaded(),
            )
            await presence.announce(self._redis, status, self._metrics.render(used, self._service.capacity))
            leases = {stream: hosted.offer.lease for stream, hosted in self._streams.items() if not hosted.ended}
            for stream in await claims.revoked(self._redis, leases):
                message = "the stream's lease was lost or its gateway is gone"
                if stream in self._streams:
                    self._end(self._streams[stream], "lost", code="lease_lost", message=message)
            await asyncio.sleep(presence.HEARTBEAT_S)


def _on_loop(loop: asyncio.AbstractEventLoop, deliver: Callable[[Delivery], None]) -> Callable[[Delivery], None]:
    """Have `deliver` called on the event loop when a lane's thread calls the result."""

    def hand_over(delivery: Delivery) -> None:
        loop.call_soon_threadsafe(deliver, delivery)

    return hand_over
