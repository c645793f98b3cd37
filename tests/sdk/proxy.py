"""A TCP proxy in front of a server, that loses its connections when it is told to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from tests.server import Server


class Proxy:
    """Forwards bytes in both directions."""

    def __init__(self, server: Server) -> None:
        self._target = urlsplit(server.url)
        self._open: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.accepted = 0
        self.ended = asyncio.Semaphore(0)
        """Released at the end of each connection."""
        self.refuse = 0
        """So many of the next connections are cut at once."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Listen on a free port."""
        listening = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            listening.close()
            self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refuse:
            self.refuse -= 1
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._open |= {writer, there_writer}
        await asyncio.gather(_forward(reader, there_writer), _forward(there_reader, writer))
        self.ended.release()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def proxied(server: Server) -> AsyncIterator[Proxy]:
    """A proxy in front of a server."""
    async with Proxy(server).running() as proxy:
        yield proxy
