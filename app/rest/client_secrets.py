"""`POST /v1/realtime/client_secrets`: keys for web pages."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from app import ephemeral
from app.gateway import gateway_of
from app.realtime.opening import open_session, read_wish
from app.rest.json_body import read_json

LifeSeconds = Annotated[int, Meta(ge=ephemeral.MIN_LIFE_S, le=ephemeral.MAX_LIFE_S)]


class ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`expires_after` of the request."""

    anchor: Literal["created_at"] = "created_at"
    seconds: LifeSeconds = ephemeral.DEFAULT_LIFE_S


class ClientSecretRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Body of the request; `session` is the session object of the protocol."""

    expires_after: ExpiresAfter = ExpiresAfter()
    session: msgspec.Raw = msgspec.Raw(b'{"type":"realtime"}')


async def client_secrets(request: Request) -> Response:
    """A key that opens sessions as configured here, until it expires; a session may outlive its key."""
    gateway = gateway_of(request)
    asked = await read_json(request, ClientSecretRequest)
    session = bytes(asked.session)
    shown = open_session(read_wish(session), gateway.settings, tracks=False).shown()
    key = await ephemeral.create(gateway.redis, session, asked.expires_after.seconds)
    answer = {"value": key.value, "expires_at": key.expires_at, "session": shown}
    return Response(msgspec.json.encode(answer), media_type="application/json")
