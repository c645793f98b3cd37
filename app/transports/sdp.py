"""Offers and answers by HTTP, as WHIP (RFC 9725), WHEP and OpenAI's calls exchange them."""

from starlette.requests import Request
from starlette.responses import Response

from app.errors import ApiError
from app.gateway import TooManySessions, gateway_of
from app.rtc.call import Call
from app.rtc.offer import MAX_SDP_BYTES, Offer, read_offer
from app.rtc.sdpfrag import MAX_FRAGMENT_BYTES, read_fragment
from app.settings import IceServer

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
TRY_AGAIN_S = 5


async def read_sdp(request: Request) -> Offer:
    """The offer that is the body. Raises ApiError."""
    _expect(request, SDP)
    return read_offer(await _body(request, MAX_SDP_BYTES))


async def answer(request: Request, call: Call, offer: Offer, door: str) -> Response:
    """Begin a call, which is a resource below the path that was asked. Raises ApiError if there is no room, or if the
    offer cannot be met.
    """
    gateway = gateway_of(request)
    try:
        sdp = await gateway.calls.begin(call, offer, door)
    except TooManySessions as error:
        raise ApiError(503, "server_full", str(error), retry_after_s=TRY_AGAIN_S) from None
    headers = {"Location": f"{request.url.path}/{call.id}", "ETag": call.etag, "Accept-Patch": FRAGMENT}
    return _with_links(Response(sdp, 201, headers, SDP), gateway.settings.ice_servers)


async def options(request: Request) -> Response:
    """What a client needs to know before: the ICE servers, and what it may send."""
    response = Response(status_code=204, headers={"Accept-Post": SDP, "Allow": "POST, OPTIONS"})
    return _with_links(response, gateway_of(request).settings.ice_servers)


async def hang_up(request: Request) -> Response:
    """End a call."""
    _call(request).hang_up()
    return Response(status_code=200)


async def trickle(request: Request) -> Response:
    """Take more of the client's candidates, or restart ICE."""
    _expect(request, FRAGMENT)
    call = _call(request)
    if request.headers.get("if-match") not in {None, "*", call.etag}:
        raise ApiError(412, "precondition_failed", "If-Match names another ICE session than the one in use")
    restarted = await call.trickle(read_fragment(await _body(request, MAX_FRAGMENT_BYTES)))
    if restarted is None:
        return Response(status_code=204)
    return Response(restarted, 200, {"ETag": call.etag}, FRAGMENT)


def media_type(request: Request) -> str:
    """The content type of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _expect(request: Request, wanted: str) -> None:
    if (kind := media_type(request)) != wanted:
        raise ApiError(415, "unsupported_media_type", f"the body is {wanted}, not {kind or 'unknown'}", "content-type")


async def _body(request: Request, limit: int) -> bytes:
    read = bytearray()
    async for piece in request.stream():
        read += piece
        if len(read) > limit:
            raise ApiError(413, "body_too_large", f"the body has at most {limit} bytes")
    return bytes(read)


def _call(request: Request) -> Call:
    found = gateway_of(request).calls.find(request.path_params["call"])
    if found is None:
        raise ApiError(404, "call_not_found", "there is no such call, or it has ended", "call")
    return found


def _with_links(response: Response, servers: list[IceServer]) -> Response:
    """Tell of ICE servers (RFC 9725 section 4.6)."""
    for server in servers:
        for url in server.urls:
            link = f'<{url}>; rel="ice-server"'
            if server.username is not None:
                link += f'; username="{server.username}"; credential="{server.secret}"; credential-type="password"'
            response.headers.append("Link", link)
    return response
