"""Keys that a web page may have: they open sessions, as configured beforehand, for a short time."""

import hashlib
import secrets
import time
from typing import Any, NamedTuple

from redis.asyncio import Redis

from workers.broker import keys

PREFIX = "ek_"
MIN_LIFE_S, DEFAULT_LIFE_S, MAX_LIFE_S = 10, 600, 7_200


class EphemeralKey(NamedTuple):
    """A key and when it expires, seconds since the epoch."""

    value: str
    expires_at: int


async def create(redis: Redis, session: bytes, life_s: int) -> EphemeralKey:
    """A new key for sessions that begin with the session object `session`; the broker knows only its digest."""
    value = PREFIX + secrets.token_urlsafe(24)
    await redis.set(keys.ephemeral_key(_digest(value)), session, ex=life_s)
    return EphemeralKey(value, int(time.time()) + life_s)


async def session_of(redis: Redis, value: str) -> bytes | None:
    """The session object that a key was made for, or None if it is not valid (any more)."""
    session: Any = await redis.get(keys.ephemeral_key(_digest(value)))
    return None if session is None else bytes(session)


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
