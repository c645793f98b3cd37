"""A connection to a server's Realtime protocol: JSON events in both directions."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI


class ServerError(Exception):
    """The server refused something or ended the session. `param` names the field at fault, if there is one."""

    def __init__(self, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Connection:
    """Events of a protocol, as dictionaries, and binary messages. Every method raises ServerError once the connection
    is closed.
    """

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket

    async def send(self, event: dict[str, Any]) -> None:
        """Send an event. Waits while the server takes no more."""
        await self._send(json.dumps(event))

    async def send_binary(self, message: bytes) -> None:
        """Send a binary message. Waits while the server takes no more."""
        await self._send(message)

    async def receive(self) -> dict[str, Any]:
        """The next event, where a server sends nothing else."""
        event: dict[str, Any] = json.loads(await self._receive())
        return event

    async def receive_any(self) -> dict[str, Any] | bytes:
        """The next event or binary message."""
        message = await self._receive()
        return message if isinstance(message, bytes) else json.loads(message)

    async def _send(self, message: str | bytes) -> None:
        try:
            await self._websocket.send(message)
        except ConnectionClosed as closed:
            raise ServerError(f"the connection closed: {closed}") from closed

    async def _receive(self) -> str | bytes:
        try:
            return await self._websocket.recv()
        except ConnectionClosed as closed:
            raise ServerError(f"the connection closed: {closed}") from closed


@asynccontextmanager
async def connected(url: str, path: str, api_key: str | None) -> AsyncIterator[Connection]:
    """Connect to the server at `url`. Raises OSError if it cannot be reached, ServerError if it refuses, ValueError if
    the URL is none.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    endpoint = f"{url.replace('http', 'ws', 1).rstrip('/')}{path}"
    try:
        websocket = await connect(endpoint, additional_headers=headers, max_size=None, compression=None)
    except InvalidURI:
        raise ValueError(f"the URL of a server begins with http:// or https://, but this is {url!r}") from None
    except InvalidHandshake as error:
        raise _refusal(error) from error
    async with websocket:
        yield Connection(websocket)


def _refusal(error: InvalidHandshake) -> ServerError:
    """What the server says to a client that it does not let in."""
    if not isinstance(error, InvalidStatus):
        return ServerError(f"what answers is no Millstream server: {error}")
    try:
        detail = json.loads(error.response.body)["error"]
        return ServerError(detail["message"], detail["code"], detail["param"])
    except (ValueError, LookupError, TypeError):
        return ServerError(f"the server refused the connection: HTTP {error.response.status_code}")
