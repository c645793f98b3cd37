"""WebSocket connections to a server."""

import json

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from millstream.errors import Dropped, ServerError
from millstream.protocol.base import Message

DEFAULT_URL = "http://127.0.0.1:8000"
CLOSE_TIMEOUT_S = 2.0
MAX_MESSAGE_BYTES = 64 * 2**20
"""Far above what a server sends."""
GOING_AWAY, NO_CODE, ABNORMAL, INTERNAL_ERROR, RESTART, TRY_LATER = 1001, 1005, 1006, 1011, 1012, 1013
DROPS = frozenset({GOING_AWAY, NO_CODE, ABNORMAL, INTERNAL_ERROR, RESTART, TRY_LATER})
"""Close codes after which a new connection may help (RFC 6455, section 7.4.1, and its registry)."""
BUSY = frozenset({429, 502, 503, 504})
"""HTTP statuses that are likely to pass."""


class Connection:
    """Messages in both directions. Methods raise ServerError once the connection is closed: Dropped, if a new one may
    help.
    """

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket

    async def send(self, message: Message) -> None:
        """Send a message. Waits while the server takes no more."""
        try:
            await self._websocket.send(message)
        except ConnectionClosed as closed:
            raise _closing(closed) from closed

    async def receive(self) -> Message:
        """The next message."""
        try:
            return await self._websocket.recv()
        except ConnectionClosed as closed:
            raise _closing(closed) from closed

    async def close(self) -> None:
        """Close the connection."""
        await self._websocket.close()


class Connector:
    """Connects to the server at `url`."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def connect(self, path: str) -> Connection:
        """Connect. Raises OSError if the server cannot be reached, ServerError if it refuses, ValueError if the URL is
        none.
        """
        endpoint = f"{self._url.replace('http', 'ws', 1).rstrip('/')}{path}"
        try:
            websocket = await connect(
                endpoint,
                additional_headers=self._headers,
                max_size=MAX_MESSAGE_BYTES,
                compression=None,
                close_timeout=CLOSE_TIMEOUT_S,
            )
        except InvalidURI:
            message = f"the URL of a server begins with http:// or https://, but this is {self._url!r}"
            raise ValueError(message) from None
        except InvalidHandshake as error:
            raise _refusal(error) from error
        return Connection(websocket)


def refusal(status: int, body: bytes) -> ServerError:
    """What the server says to a request that it does not grant."""
    kind = Dropped if status in BUSY else ServerError
    try:
        detail = json.loads(body)["error"]
        return kind(detail["message"], detail["code"], detail["param"])
    except (ValueError, LookupError, TypeError):
        return kind(f"the server refused the connection: HTTP {status}")


def _refusal(error: InvalidHandshake) -> ServerError:
    if isinstance(error, InvalidStatus):
        return refusal(error.response.status_code, bytes(error.response.body))
    return Dropped(f"what answers is no Millstream server: {error}")


def _closing(closed: ConnectionClosed) -> ServerError:
    code = closed.rcvd.code if closed.rcvd else ABNORMAL
    kind = Dropped if code in DROPS else ServerError
    return kind(f"the connection closed: {closed}")
