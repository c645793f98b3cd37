"""Who may connect: API keys, ephemeral keys, web origins, and hosts."""

import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from pydantic import SecretStr
from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from app import ephemeral
from app.errors import ApiError
from app.settings import is_loopback

SUBPROTOCOL = "realtime"
_SUBPROTOCOL_KEY = "openai-insecure-api-key."
"""Browsers cannot set headers on a WebSocket, so they name their key as a subprotocol."""
_KEPT = "kept_session"
_SESSION_DOORS = ("/v1/realtime", "/v1/realtime/calls", "/v1/live")
"""What an ephemeral key opens."""


class Gatekeeper:
    """Decides whether a request is allowed.

    With no keys configured every client is that calls the server by a loopback name: a page that had its own name
    resolve to this machine (DNS rebinding) would call it by that name.
    """

    def __init__(self, redis: Redis, keys: Sequence[SecretStr], allowed_origins: Sequence[str]) -> None:
        self._redis = redis
        self._keys = [key.get_secret_value().encode() for key in keys]
        self._allowed_origins = frozenset(allowed_origins)

    async def refusal(self, connection: HTTPConnection) -> ApiError | None:
        """Why the request is refused, or None. Takes the same time for every wrong key."""
        if not self._origin_allowed(connection):
            origin = connection.headers["origin"]
            return ApiError(403, "forbidden_origin", f"origin {origin!r} is not allowed: add it to allowed_origins")
        offered = _offered_key(connection)
        if offered is not None and offered.startswith(ephemeral.PREFIX):
            return await self._ephemeral(connection, offered)
        if not self._keys:
            return self._foreign_host(connection)
        if offered is None:
            return ApiError(401, "invalid_api_key", "an API key is needed: send it as 'Authorization: Bearer KEY'")
        matches = [hmac.compare_digest(offered.encode(), key) for key in self._keys]
        return None if any(matches) else ApiError(401, "invalid_api_key", "the API key is not valid")

    async def _ephemeral(self, connection: HTTPConnection, offered: str) -> ApiError | None:
        session = await ephemeral.session_of(self._redis, offered)
        if session is None:
            return ApiError(401, "invalid_api_key", "the ephemeral key is not valid, or has expired")
        path = connection.url.path
        if path not in _SESSION_DOORS and not path.startswith(f"{_SESSION_DOORS[1]}/"):
            return ApiError(403, "forbidden", "an ephemeral key opens sessions and nothing else")
        connection.scope["state"][_KEPT] = session
        return None

    def _foreign_host(self, connection: HTTPConnection) -> ApiError | None:
        host = connection.headers.get("host", "")
        if is_loopback(_hostname(f"//{host}")):
            return None
        return ApiError(403, "forbidden_host", f"host {host!r} is not this machine: use an API key")

    def _origin_allowed(self, connection: HTTPConnection) -> bool:
        origin = connection.headers.get("origin")
        if origin is None or "*" in self._allowed_origins or origin in self._allowed_origins:
            return True
        return origin.partition("://")[2] == connection.headers.get("host")


def kept_session(connection: HTTPConnection) -> bytes | None:
    """The session object that came with the client's ephemeral key."""
    session: bytes | None = connection.scope["state"].get(_KEPT)
    return session


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _offered_key(connection: HTTPConnection) -> str | None:
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    for protocol in connection.scope.get("subprotocols", []):
        if protocol.startswith(_SUBPROTOCOL_KEY):
            return str(protocol.removeprefix(_SUBPROTOCOL_KEY))
    return None
