"""Coalesced writes: what comes after a pause leaves at once, then everything of a few milliseconds together."""

import asyncio
from collections import defaultdict

from redis.asyncio import Redis

from workers.broker import keys
from workers.broker.envelope import Envelope, encode

INTERVAL_S = 0.002
KEY_TTL_S = 60
"""An inbox whose reader is gone disappears after this long."""
MAX_BATCH = 512
"""Envelopes in one entry, so that no entry grows without bound."""


class Outbox:
    """Queues envelopes by receiver and writes them in order. Its size is bounded by the streams' credit windows."""

    def __init__(self, redis: Redis, interval_s: float = INTERVAL_S) -> None:
        self._redis = redis
        self._interval_s = interval_s
        self._queued: dict[str, list[Envelope]] = defaultdict(list)
        self._wake = asyncio.Event()

    def put(self, receiver: str, envelope: Envelope) -> None:
        """Queue an envelope for the process `receiver`."""
        self._queued[receiver].append(envelope)
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled; what is queued then is still written."""
        try:
            while True:
                await self._wake.wait()
                await self.write()
                await asyncio.sleep(self._interval_s)
        except asyncio.CancelledError:
            await self.write()
            raise

    async def write(self) -> None:
        """Write what is queued now. If that fails, all of it stays queued: readers drop what they have seen."""
        self._wake.clear()
        if not self._queued:
            return
        queued, self._queued = self._queued, defaultdict(list)
        pipeline = self._redis.pipeline(transaction=False)
        for receiver, envelopes in queued.items():
            key = keys.inbox(receiver)
            for start in range(0, len(envelopes), MAX_BATCH):
                pipeline.xadd(key, {"b": encode(envelopes[start : start + MAX_BATCH])})
            pipeline.expire(key, KEY_TTL_S)
        try:
            await pipeline.execute()
        except BaseException:
            for receiver, envelopes in self._queued.items():
                queued[receiver] += envelopes
            self._queued = queued
            raise
