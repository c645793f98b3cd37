"""A gateway in the test's own process, with a real Valkey and no worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from app.main import create_app
from app.settings import Settings


@asynccontextmanager
async def alone(redis_url: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway."""
    app = create_app(Settings(redis_url=redis_url, **settings))
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx.ASGITransport(with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client
