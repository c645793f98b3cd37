"""The calls of a gateway."""

import asyncio
import logging
from typing import TYPE_CHECKING

from aiortc import RTCIceServer
from aiortc.exceptions import InternalError, InvalidStateError, OperationError

from app.errors import ApiError
from app.rtc.call import Call
from app.rtc.offer import Offer
from app.settings import is_loopback

if TYPE_CHECKING:
    from app.gateway import Gateway

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0
"""Gathering candidates asks STUN and TURN servers, which may not answer."""


class Calls:
    """Those in progress, by id."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._running: dict[str, tuple[Call, asyncio.Task[None]]] = {}

    def new(self) -> Call:
        """A call that has not begun."""
        settings = self._gateway.settings
        servers = [RTCIceServer(server.urls, server.username, server.secret) for server in settings.ice_servers]
        return Call(servers, settings.ice_timeout_s, loopback=is_loopback(settings.host))

    def find(self, call_id: str) -> Call | None:
        """A call in progress."""
        found = self._running.get(call_id)
        return found[0] if found else None

    async def begin(self, call: Call, offer: Offer, door: str = "webrtc") -> str:
        """The SDP answer; the call runs on. Raises TooManySessions, and ApiError if the offer cannot be met."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._serve(call, offer, door, answer))
        self._running[call.id] = call, task
        task.add_done_callback(lambda _: self._running.pop(call.id))
        return await answer

    async def close(self) -> None:
        """End every call."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, call: Call, offer: Offer, door: str, answer: asyncio.Future[str]) -> None:
        try:
            with self._gateway.session(door):
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    answer.set_result(await call.answer(offer))
                try:
                    await call.run()
                finally:
                    self._gateway.metrics.call_ended(call.outcome, call.round_trip_s)
        except Exception as error:
            if answer.done():
                log.exception("call %s failed", call.id)
            else:
                answer.set_exception(_refusal(error))
        finally:
            answer.cancel()
            await call.close()


def _refusal(error: Exception) -> Exception:
    """What the client is told of an offer that was not answered."""
    if isinstance(error, ValueError | OperationError | InternalError | InvalidStateError):
        return ApiError(400, "invalid_sdp", f"the offer cannot be met: {error}", "sdp")
    if isinstance(error, TimeoutError):
        return ApiError(504, "ice_gathering_failed", "the STUN and TURN servers do not answer")
    return error
