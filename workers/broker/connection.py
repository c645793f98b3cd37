"""Connections to Redis."""

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

RETRIES = 6
BACKOFF_CAP_S = 2.0
MAX_CONNECTIONS = 8
"""With all of them busy, a command waits for one."""
SOCKET_TIMEOUT_S = 15.0
"""Longer than any blocking read below, so a timeout means trouble."""
BLOCK_MS = 5_000


def connect(url: str) -> Redis:
    """A client of the Redis at `url`. Commands survive a restart of Redis of up to about six seconds.

    A retried write may arrive twice; readers drop what they have seen, by `seq`.
    """
    backoff = ExponentialBackoff(cap=BACKOFF_CAP_S, base=0.1)
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        max_connections=MAX_CONNECTIONS,
        timeout=SOCKET_TIMEOUT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(backoff, RETRIES, (exceptions.ConnectionError, exceptions.TimeoutError)),
    )
    return Redis.from_pool(pool)
