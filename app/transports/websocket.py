"""`/v1/realtime` over a WebSocket: a thin shell around a session."""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import suppress

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from app.auth import SUBPROTOCOL
from app.errors import error_response
from app.gateway import TooManySessions, gateway_of
from app.metrics import SessionMetrics
from app.realtime.conversation_session import ConversationSession, new_conversation
from app.realtime.runner import Bounds, Runner
from app.realtime.session import TRY_AGAIN_LATER, Limits, Session
from app.realtime.transcription_session import TranscriptionSession, new_transcription
from app.settings import Settings

MAX_MESSAGE_BYTES = 24 * 2**20
"""Above the largest append, so that one too large is answered with an error that says so."""
DEFAULT_MODEL = "millstream"
MAX_MODEL_NAME = 128
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


async def admit(websocket: WebSocket) -> WebSocketConnection | None:
    """The connection of a client that may connect; others are told why not."""
    refusal = gateway_of(websocket).gatekeeper.refusal(websocket)
    if refusal is not None:
        await websocket.send_denial_response(error_response(refusal))
        return None
    await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None)
    return WebSocketConnection(websocket)


async def realtime(websocket: WebSocket) -> None:
    """Serve one Realtime session."""
    connection = await admit(websocket)
    if connection is None:
        return
    gateway = gateway_of(websocket)
    settings = gateway.settings
    bounds = Bounds(settings.events_per_s, settings.send_timeout_s, settings.recovery_timeout_s)
    session = _session(websocket, settings)
    try:
        with gateway.session("websocket"):
            await Runner(
                session,
                connection,
                gateway.streams,
                SessionMetrics(gateway.metrics),
                bounds,
            ).run()
    except TooManySessions as error:
        await connection.send(msgspec.json.encode(session.fault("server_full", str(error)).event))
        await connection.close(TRY_AGAIN_LATER, str(error))


def _session(websocket: WebSocket, settings: Settings) -> Session:
    limits, now = Limits(settings.session_max_s, settings.idle_timeout_s), time.time()
    if websocket.query_params.get("intent") == "transcription":
        return TranscriptionSession(new_transcription(settings.transcriber, now), limits)
    model = websocket.query_params.get("model", DEFAULT_MODEL)[:MAX_MODEL_NAME]
    return ConversationSession(new_conversation(model, settings.transcriber, now), limits)
