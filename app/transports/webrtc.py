"""`/v1/realtime/calls`: sessions over WebRTC, as OpenAI's clients open them."""

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from app.auth import kept_session
from app.errors import ApiError
from app.gateway import gateway_of
from app.realtime.opening import DEFAULT_MODEL, Wish, open_session, read_wish
from app.rest.form_length import check_length
from app.rtc.carry import carry_live, carry_session
from app.rtc.offer import Offer, read_offer
from app.transports.sdp import answer, media_type, read_sdp

MAX_PART_BYTES = 1_000_000


async def create_call(request: Request) -> Response:
    """Answer an offer: raw SDP, or a form with `sdp` and `session`."""
    gateway = gateway_of(request)
    offer, session = await _read(request)
    model = request.query_params.get("model", DEFAULT_MODEL)
    wish = Wish(model) if session is None else read_wish(session, model)
    call = gateway.calls.new()
    for kind in offer.kinds:
        if kind == "audio":
            carry_session(call, offer, open_session(wish, gateway.settings, tracks=True), gateway)
        else:
            carry_live(call, offer, gateway)
    return await answer(request, call, offer, "webrtc")


async def _read(request: Request) -> tuple[Offer, bytes | None]:
    """The offer, and the session object of the form or of the client's ephemeral key."""
    if media_type(request) != "multipart/form-data":
        return await read_sdp(request), kept_session(request)
    check_length(request, MAX_PART_BYTES, "session")
    async with request.form(max_files=2, max_fields=4, max_part_size=MAX_PART_BYTES) as form:
        sdp, session = await _field(form.get("sdp")), await _field(form.get("session"))
    if sdp is None:
        raise ApiError(400, "missing_required_parameter", "sdp: the form needs a field `sdp`, the offer", "sdp")
    return read_offer(sdp), session if session is not None else kept_session(request)


async def _field(value: UploadFile | str | None) -> bytes | None:
    if isinstance(value, UploadFile):
        return await value.read(MAX_PART_BYTES)
    return value if value is None else value.encode()
