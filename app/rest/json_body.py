"""The JSON body of a request: bounded, typed, and refused with the name of the field at fault."""

import asyncio
import re
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from app.errors import ApiError
from app.gateway import gateway_of

CLIENT_CLOSED_REQUEST = 499
"""Nobody reads it, but the protocol of the server wants an answer."""
_FIELD = re.compile(r"(unknown|missing required) field `(?P<name>[^`]*)`")

Body = TypeVar("Body")


async def read_json(request: Request, kind: type[Body]) -> Body:
    """The body as a `kind`. Raises ApiError."""
    try:
        return msgspec.json.decode(await _read(request), type=kind)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, "invalid_json", f"the body is not JSON that can be read: {error}") from None


def invalid_field(error: msgspec.ValidationError) -> ApiError:
    """What is wrong with which field."""
    problem, _, path = str(error).partition(" - at `$")
    field = _FIELD.search(problem)
    steps = [path.rstrip("`").lstrip("."), field["name"] if field else ""]
    param = ".".join(step for step in steps if step) or None
    return ApiError(400, "invalid_value", f"{param}: {problem}" if param else problem, param)


async def _read(request: Request) -> bytes:
    settings = gateway_of(request).settings
    body = bytearray()
    try:
        async with asyncio.timeout(settings.idle_timeout_s):
            async for piece in request.stream():
                body += piece
                if len(body) > settings.max_json_bytes:
                    message = f"the body may have {settings.max_json_bytes} bytes at most"
                    raise ApiError(413, "body_too_large", message)
    except TimeoutError:
        message = f"the body did not arrive within {settings.idle_timeout_s:g} s"
        raise ApiError(408, "timeout", message) from None
    except ClientDisconnect:
        raise ApiError(CLIENT_CLOSED_REQUEST, "client_closed_request", "the client is gone") from None
    return bytes(body)
