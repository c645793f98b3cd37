"""`python -m workers NAME`: serve one service until told to stop.

NAME is a built-in service or `package.module:function` of your own, which takes the settings and returns a `Service`.
"""

import asyncio
import logging
import sys
from importlib import import_module

from workers.broker.connection import connect
from workers.lifetime import settle_memory, until_stopped
from workers.service import Service
from workers.settings import WorkerSettings
from workers.worker import Worker

SERVICES = {name: f"workers.services:{name}" for name in ("listen", "think", "speak", "restyle")}


def build(name: str, settings: WorkerSettings) -> Service:
    """Load the models of a service. Raises SystemExit if there is no such service."""
    target = SERVICES.get(name, name)
    module, separator, function = target.partition(":")
    if not separator:
        raise SystemExit(f"no service {name!r}: choose one of {', '.join(SERVICES)} or give package.module:function")
    try:
        builder = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SystemExit(f"cannot load service {name!r}: {error}") from error
    service: Service = builder(settings)
    return service


async def serve(name: str, settings: WorkerSettings) -> None:
    """Run a worker of the service `name`."""
    if settings.redis_url is None:
        raise SystemExit("MILLSTREAM_REDIS_URL is not set: which Redis should this worker serve?")
    redis = connect(settings.redis_url)
    worker = Worker(build(name, settings), redis)
    settle_memory()
    await until_stopped(worker.run())
    await redis.aclose()


def main() -> None:
    """Entry point."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m workers NAME")
    settings = WorkerSettings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(serve(sys.argv[1], settings))


if __name__ == "__main__":
    main()
