"""Clients that speak to the server's WebSocket without a library's help, well or badly."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.e2e.hearing import Heard, hearing
from tests.e2e.speech import FAST, spoken
from tests.server import Server

JsonEvent = dict[str, Any]


class Caller:
    """A raw connection, and what was heard on it."""

    def __init__(self, connection: ClientConnection, heard: Heard[JsonEvent]) -> None:
        self.connection = connection
        self.heard = heard

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def append(self, pcm: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    async def say(self, pcm: bytes, speed: float = FAST) -> None:
        """Send 24 kHz PCM at `speed` times real time."""
        async for piece in spoken(pcm, speed):
            await self.append(piece)

    async def transcript(self, count: int = 1) -> str:
        """The `count`-th final transcript."""
        return str((await self.heard.wait("transcription.completed", count))["transcript"])

    async def error(self, count: int = 1) -> JsonEvent:
        """The `count`-th error."""
        return dict((await self.heard.wait("error", count))["error"])


@asynccontextmanager
async def calling(server: Server, key: str | None = None, **options: Any) -> AsyncIterator[Caller]:
    """Connect and wait for nothing."""
    headers = {"Authorization": f"Bearer {key}"} if key else None
    url = f"{server.realtime_url}/realtime?intent=transcription"
    async with (
        connect(url, additional_headers=headers, max_size=None, compression=None, **options) as connection,
        hearing(_events(connection), lambda event: str(event["type"])) as heard,
    ):
        yield Caller(connection, heard)


async def _events(connection: ClientConnection) -> AsyncIterator[JsonEvent]:
    while True:
        yield json.loads(await connection.recv())
