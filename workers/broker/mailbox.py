"""Video between processes: the latest frame wins.

A frame is a key with a short time to live; a doorbell envelope tells the reader to look. While a doorbell is
unanswered a newer frame replaces the older one silently for Redis but not for the client: the reader counts what it
never saw.
"""

from typing import Any, NamedTuple

from redis.asyncio import Redis

from workers.broker import keys

FRAME_TTL_MS = 2_000
_NUMBER_BYTES = 8

_PUT = """
local waiting = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return waiting
"""


class Frame(NamedTuple):
    """An encoded picture (JPEG or WebP) at media time `pts`. `dropped` frames were put since the last one taken and
    never seen.
    """

    pts: int
    data: bytes
    dropped: int


class MailboxWriter:
    """The sending end for one stream."""

    def __init__(self, redis: Redis, stream_id: str) -> None:
        self._redis = redis
        self._key = keys.video(stream_id)
        self._seq = 0

    async def put(self, pts: int, data: bytes) -> bool:
        """Leave a frame. True if the reader's doorbell must be rung, False if one is still unanswered."""
        self._seq += 1
        frame = b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in (self._seq, pts)) + data
        waiting = await self._redis.eval(_PUT, 1, self._key, frame, FRAME_TTL_MS)
        return not waiting


class MailboxReader:
    """The receiving end for one stream."""

    def __init__(self, redis: Redis, stream_id: str) -> None:
        self._redis = redis
        self._key = keys.video(stream_id)
        self._seq = 0

    async def take(self) -> Frame | None:
        """The latest frame, or None if it was taken before or has expired."""
        stored: Any = await self._redis.getdel(self._key)
        if stored is None:
            return None
        seq, pts = (int.from_bytes(stored[at : at + _NUMBER_BYTES], "big") for at in (0, _NUMBER_BYTES))
        dropped = seq - self._seq - 1
        self._seq = seq
        return Frame(pts, stored[2 * _NUMBER_BYTES :], dropped)
