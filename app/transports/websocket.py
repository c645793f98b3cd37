"""`/v1/realtime` over a WebSocket: a thin shell around a session."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from app.auth import SUBPROTOCOL, kept_session
from app.errors import error_response
from app.gateway import TooManySessions, gateway_of
from app.realtime.opening import DEFAULT_MODEL, Wish, open_session, read_wish
from app.realtime.session import TRY_AGAIN_LATER

MAX_MESSAGE_BYTES = 24 * 2**20
"""Above the largest append, so that one too large is answered with an error that says so."""
CLOSE_TIMEOUT_S = 1.0
"""A client that does not read cannot be told why; it is cut off after so long."""


class WebSocketConnection:
    """A `Connection` over an accepted WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> str | bytes | None:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        return text if text is not None else bytes(message["bytes"])

    async def send(self, message: bytes) -> None:
        await self._send(self._websocket.send_text(message.decode()))

    async def send_binary(self, message: bytes) -> None:
        """Send what is not text. Raises ConnectionError if the client is gone."""
        await self._send(self._websocket.send_bytes(message))

    async def _send(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except (WebSocketDisconnect, RuntimeError) as error:
            raise ConnectionError("the client is gone") from error

    async def close(self, code: int, reason: str) -> None:
        if self._websocket.application_state is WebSocketState.CONNECTED:
            with suppress(TimeoutError, WebSocketDisconnect):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._websocket.close(code, reason[:120])


async def admit(websocket: WebSocket) -> bool:
    """Accept the connection of a client that may connect; others are told why not."""
    refusal = await gateway_of(websocket).gatekeeper.refusal(websocket)
    if refusal is not None:
        await websocket.send_denial_response(error_response(refusal))
        return False
    await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None)
    return True


async def realtime(websocket: WebSocket) -> None:
    """Serve one Realtime session."""
    if not await admit(websocket):
        return
    connection, gateway = WebSocketConnection(websocket), gateway_of(websocket)
    session = open_session(_wish(websocket), gateway.settings, tracks=False)
    try:
        with gateway.session("websocket"):
            await gateway.runner(session, connection).run()
    except TooManySessions as error:
        await connection.send(msgspec.json.encode(session.fault("server_full", str(error)).event))
        await connection.close(TRY_AGAIN_LATER, str(error))


def _wish(websocket: WebSocket) -> Wish:
    kept = kept_session(websocket)
    if kept is not None:
        return read_wish(kept)
    transcription = websocket.query_params.get("intent") == "transcription"
    return Wish(websocket.query_params.get("model", DEFAULT_MODEL), transcription)
