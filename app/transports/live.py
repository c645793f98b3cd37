"""`/v1/live`: live video over a WebSocket, a thin shell around a session."""

import msgspec
from starlette.websockets import WebSocket

from app.gateway import TooManySessions, gateway_of
from app.live.runner import LiveRunner
from app.live.session import LiveSession, Picture, error_event
from app.realtime.session import TRY_AGAIN_LATER
from app.transports.websocket import WebSocketConnection, admit


class _LiveSocket(WebSocketConnection):
    async def show(self, picture: Picture) -> None:
        await self.send_binary(picture.encode())


async def live(websocket: WebSocket) -> None:
    """Serve one client."""
    if not await admit(websocket):
        return
    connection, gateway = _LiveSocket(websocket), gateway_of(websocket)
    try:
        with gateway.session("live"):
            await LiveRunner(LiveSession(), connection, gateway).run()
    except TooManySessions as error:
        await connection.send(msgspec.json.encode(error_event("server_full", str(error))))
        await connection.close(TRY_AGAIN_LATER, str(error))
