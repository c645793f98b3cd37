"""WHIP (RFC 9725) and WHEP: publish a stream from a camera or an encoder, play it restyled."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.errors import ApiError
from app.gateway import gateway_of
from app.rtc.broadcast import Broadcast
from app.transports.sdp import answer, read_sdp
from models.base import StreamError
from models.diffusion.options import restyling


async def publish(request: Request) -> Response:
    """Take a stream in. `?prompt=` restyles its video, `?options=` does with the fields of `restyle` as JSON."""
    gateway, name = gateway_of(request), request.path_params["stream"]
    options = _options(request)
    offer = await read_sdp(request)
    if name in gateway.broadcasts:
        raise ApiError(409, "stream_exists", f"somebody publishes {name!r} already", "stream")
    call = gateway.calls.new()
    broadcast = gateway.broadcasts[name] = Broadcast()
    broadcast.publish(call, offer, options, gateway)
    call.on_end(lambda: gateway.broadcasts.pop(name).end())
    return await answer(request, call, offer, "whip")


async def play(request: Request) -> Response:
    """Send a stream out."""
    gateway, name = gateway_of(request), request.path_params["stream"]
    offer = await read_sdp(request)
    broadcast = gateway.broadcasts.get(name)
    if broadcast is None:
        raise ApiError(404, "stream_not_found", f"nobody publishes {name!r}", "stream")
    call = gateway.calls.new()
    broadcast.play(call, offer)
    return await answer(request, call, offer, "whep")


def _options(request: Request) -> dict[str, Any] | None:
    """What the video is restyled with. Raises ApiError."""
    prompt, fields = request.query_params.get("prompt"), request.query_params.get("options")
    if prompt is None and fields is None:
        return None
    try:
        options = msgspec.json.decode(fields, type=dict[str, Any]) if fields is not None else {}
    except msgspec.DecodeError as error:
        raise ApiError(400, "invalid_value", f"options: {error}", "options") from None
    if prompt is not None:
        options["prompt"] = prompt
    try:
        restyling(options, None)
    except StreamError as error:
        raise ApiError(400, error.code, str(error), error.param) from None
    return options
