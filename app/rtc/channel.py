"""A data channel as the connection of a session: JSON events in both directions."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiortc import InvalidStateError, RTCDataChannel

MAX_WAITING = 1_024
"""Messages of a client that were not read yet; one that sends more is hung up on."""
MAX_WAITING_BYTES = 16 * 2**20
MAX_BUFFERED_BYTES = 256 * 1024
"""With more than this unsent, sending waits."""
CLOSE_TIMEOUT_S = 1.0
"""How long a client gets to take the last events."""


class Flooded(ConnectionError):
    """The client sends faster than it may."""


class ChannelConnection:
    """Waits for the client's channel; what is sent before is sent then. If none is expected, events go nowhere."""

    def __init__(self, hang_up: Callable[[], None], *, expected: bool) -> None:
        self._hang_up = hang_up
        self._expected = expected
        self._channel: RTCDataChannel | None = None
        self._open = asyncio.Event()
        self._low = asyncio.Event()
        self._messages: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._waiting_bytes = 0
        self._flooded = False

    def attach(self, channel: RTCDataChannel) -> None:
        """Use a channel that the client has opened. One is enough."""
        if self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.bufferedAmountLowThreshold = MAX_BUFFERED_BYTES // 2
        channel.on("message", self._take)
        channel.on("bufferedamountlow", self._low.set)
        channel.on("close", lambda: self._messages.put_nowait(None))
        self._open.set()

    def _take(self, message: str | bytes) -> None:
        if self._flooded:
            return
        self._waiting_bytes += len(message)
        if self._messages.qsize() >= MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            self._flooded = True
            self._messages.put_nowait(None)
        else:
            self._messages.put_nowait(message)

    def say(self, message: str) -> None:
        """Act as if the client had sent a message."""
        self._take(message)

    async def receive(self) -> str | bytes | None:
        """The next message, or None once the channel is closed. Raises Flooded."""
        message = await self._messages.get()
        if message is not None:
            self._waiting_bytes -= len(message)
        elif self._flooded:
            raise Flooded(f"more than {MAX_WAITING} messages that were not read yet")
        return message

    async def send(self, message: bytes) -> None:
        """Send a JSON event; waits while the client does not read. Raises ConnectionError if it is gone."""
        if not self._expected:
            return
        await self._open.wait()
        assert self._channel is not None
        try:
            self._channel.send(message.decode())
        except InvalidStateError as error:
            raise ConnectionError("the data channel is closed") from error
        if self._channel.bufferedAmount > MAX_BUFFERED_BYTES:
            self._low.clear()
            await self._low.wait()

    async def close(self, code: int, reason: str) -> None:
        """Hang up, once the client has the last events."""
        if self._channel is not None:
            self._channel.bufferedAmountLowThreshold = 0
            self._low.clear()
            if self._channel.bufferedAmount:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_TIMEOUT_S):
                        await self._low.wait()
        self._hang_up()
