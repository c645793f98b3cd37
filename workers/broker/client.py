"""The gateway's end of every stream: reserve a slot, send under credit, receive what the current lease and turn
allow.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.broker import claims, keys, presence
from workers.broker.claims import Offer
from workers.broker.envelope import Envelope
from workers.broker.inbox import read
from workers.broker.mailbox import MailboxWriter
from workers.broker.outbox import Outbox
from workers.lifetime import run_together

log = logging.getLogger(__name__)

CONTROL = frozenset({"opened", "credit"})
"""Kinds that are about the stream and not its output."""
END = frozenset({"error", "closed", "lost"})
"""Kinds after which nothing comes. `lost`: the worker died; made up by the client."""


class ServerFull(Exception):
    """No worker had a free slot in time."""

    retry_after_s = 5

    def __init__(self, service: str) -> None:
        super().__init__(f"no worker has a free slot for {service!r}")
        self.service = service


class Stream:
    """One session's use of one service.

    Messages with data are charged to a window of bytes that the worker grants, and wait here when it is spent; the
    owner then stops reading its client (`writable`). Messages without data overtake what waits: they can only speak of
    media that the worker has answered for already. But `flush` says that no more input comes, so it waits its turn.
    """

    def __init__(self, client: "StreamClient", offer: Offer, on_output: Callable[[Envelope], None]) -> None:
        self.id = offer.stream
        self.lease = offer.lease
        self.worker = ""
        self.window = 0
        self._client = client
        self._mailbox = MailboxWriter(client.redis, offer.stream)
        self._on_output = on_output
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writable = asyncio.Event()
        self._credit = 0
        self._waiting: deque[Envelope] = deque()
        self._turn = 0
        self._sent = 0
        self._received = 0
        self._ended = False

    def push(
        self, kind: str, *, pts: int = 0, data: bytes = b"", meta: Mapping[str, Any] | None = None, slack_s: float = 0.0
    ) -> None:
        """Send one message; `pts` in samples. Never blocks: await `writable` between messages with data.

        Raises ValueError if `data` is larger than the whole window. Once the stream has ended nothing is sent.
        """
        if self._ended:
            return
        if len(data) > self.window:
            raise ValueError(f"{len(data)} bytes of {kind} exceed the stream's window of {self.window}")
        envelope = Envelope(self.id, self.lease, self._turn, 0, kind, pts, data, dict(meta or {}), slack_s * 1e3)
        if data or kind == "flush":
            self._waiting.append(envelope)
            self._drain()
        else:
            self._send(envelope)

    async def show(self, pts: int, data: bytes, slack_s: float) -> None:
        """Send a picture; one that nobody has looked at yet is replaced. `pts` in ticks of 90 kHz."""
        if not self._ended and await self._mailbox.put(pts, data):
            self.push("look", slack_s=slack_s)

    def cancel(self, turn: int) -> None:
        """From now on only output of `turn` and later is wanted."""
        self._turn = turn
        self._waiting = deque(envelope for envelope in self._waiting if envelope.turn >= turn)
        self._drain()
        self.push("cancel")

    async def writable(self) -> None:
        """Wait until nothing waits for credit, or the stream has ended."""
        await self._writable.wait()

    @property
    def ended(self) -> bool:
        """Whether the worker has closed or lost the stream."""
        return self._ended

    def close(self) -> None:
        """Give the slot back. No output follows."""
        if not self._ended:
            self.push("close")
            self._end()
        self._client.forget(self)

    def receive(self, envelope: Envelope) -> None:
        """Take one envelope from the worker: in order, once, under the current lease and, unless it is the stream's
        last word, of the current turn.
        """
        if envelope.lease != self.lease or envelope.seq < self._received or self._ended:
            return
        if envelope.seq > self._received:
            self._fail("output_lost", f"expected output {self._received} of the stream and got {envelope.seq}")
            return
        self._received += 1
        if envelope.kind == "opened":
            self.worker = envelope.meta["worker"]
            self.window = envelope.meta["credit"]
        if not self._opened.done():
            self._opened.set_result(None)
        if envelope.kind in CONTROL:
            self._credit += envelope.meta["credit"]
            self._drain()
            return
        if envelope.kind in END:
            self._end()
        elif envelope.turn < self._turn:
            return
        self._on_output(envelope)

    def lose(self) -> None:
        """The worker is dead: tell the owner, once."""
        if not self._ended:
            self._fail("worker_lost", "the worker that served this stream is gone", kind="lost")

    async def opened(self) -> None:
        """Wait until a worker has opened the stream."""
        await self._opened

    def _fail(self, code: str, message: str, kind: str = "error") -> None:
        log.warning("stream %s: %s", self.id, message)
        self._end()
        self._on_output(Envelope(self.id, self.lease, self._turn, 0, kind, meta={"code": code, "message": message}))

    def _end(self) -> None:
        self._ended = True
        self._waiting.clear()
        self._writable.set()

    def _drain(self) -> None:
        while self._waiting and self._credit >= len(self._waiting[0].data):
            envelope = self._waiting.popleft()
            self._credit -= len(envelope.data)
            self._send(envelope)
        if not self._waiting:
            self._writable.set()
        elif self._writable.is_set():
            self._client.credits_at_zero += 1
            self._writable.clear()

    def _send(self, envelope: Envelope) -> None:
        self._client.send(self.worker, msgspec.structs.replace(envelope, seq=self._sent))
        self._sent += 1


class StreamClient:
    """All streams of one gateway. `run` must be running while streams are used."""

    def __init__(self, redis: Redis, gateway_id: str, claim_timeout_s: float) -> None:
        self.redis = redis
        self._gateway_id = gateway_id
        self._claim_timeout_s = claim_timeout_s
        self._outbox = Outbox(redis)
        self._streams: dict[str, Stream] = {}
        self._forgotten: list[str] = []
        self.credits_at_zero = 0
        """How often a stream ran out of credit."""

    @property
    def open_streams(self) -> int:
        """Streams that are open now."""
        return len(self._streams)

    async def open(
        self,
        service: str,
        options: dict[str, Any],
        on_output: Callable[[Envelope], None],
        timeout_s: float | None = None,
    ) -> Stream:
        """Reserve a slot of `service`. Raises ServerFull if none is claimed within `timeout_s` or, without it,
        within the time that the client was made with.

        `on_output` is called on the event loop for each output in order; an output of a kind in `END` is the last.
        Options that the model refuses come as an `error` output.
        """
        offer = Offer(f"st_{uuid4().hex}", 1, self._gateway_id, service, options)
        stream = Stream(self, offer, on_output)
        self._streams[stream.id] = stream
        try:
            await claims.offer(self.redis, offer)
            async with asyncio.timeout(timeout_s or self._claim_timeout_s):
                await stream.opened()
        except BaseException as error:
            self._streams.pop(stream.id, None)
            stream.worker = await claims.withdraw(self.redis, offer) or ""
            if stream.worker:
                stream.push("close")
            if isinstance(error, TimeoutError):
                raise ServerFull(service) from None
            raise
        return stream

    def send(self, worker: str, envelope: Envelope) -> None:
        """Queue an envelope to a worker."""
        self._outbox.put(worker, envelope)

    def forget(self, stream: Stream) -> None:
        """The owner has closed the stream."""
        if self._streams.pop(stream.id, None):
            self._forgotten.append(stream.id)

    async def run(self) -> None:
        """Move envelopes and keep the streams' records alive until cancelled; then close every stream."""
        try:
            await run_together(self._outbox.run(), self._receive(), self._keep_alive())
        finally:
            for stream in list(self._streams.values()):
                stream.close()
            with suppress(RedisError):
                await self._outbox.write()
                await self._delete_records()
                await self.redis.delete(keys.inbox(self._gateway_id))

    async def _delete_records(self) -> None:
        forgotten, self._forgotten = self._forgotten, []
        await claims.forget(self.redis, forgotten)

    async def _receive(self) -> None:
        async for batch in read(self.redis, self._gateway_id):
            for envelope in batch:
                stream = self._streams.get(envelope.stream)
                if stream is not None:
                    stream.receive(envelope)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(presence.HEARTBEAT_S)
            await self._delete_records()
            if not self._streams:
                continue
            await claims.keep(self.redis, list(self._streams))
            served = [stream for stream in self._streams.values() if stream.worker]
            living = {status.id for status in await presence.alive(self.redis)}
            for stream in served:
                if stream.worker not in living:
                    stream.lose()
