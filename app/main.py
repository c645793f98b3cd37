"""The ASGI application of a gateway."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth import Gatekeeper
from app.errors import ApiError, error_response, on_api_error, on_http_exception
from app.gateway import Gateway, gateway_of
from app.rest import status
from app.rest.chat import chat_completions
from app.rest.speech import speech
from app.rest.transcriptions import transcriptions
from app.settings import Settings
from app.tracing import export_traces
from app.transports.live import live
from app.transports.websocket import realtime
from workers.broker.client import StreamClient
from workers.broker.connection import connect
from workers.lifetime import settle_memory

log = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Served without a key: probes have none, and they tell nothing."""


class Authentication:
    """Turns away HTTP requests that the gatekeeper refuses. WebSockets are checked at their own door."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            request = Request(scope)
            refusal = gateway_of(request).gatekeeper.refusal(request)
            if refusal is not None:
                await error_response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def create_app(settings: Settings) -> Starlette:
    """The application; it connects to Redis when it starts. Needs `settings.redis_url`."""
    MultiPartParser.spool_max_size = settings.max_upload_bytes  # uploads stay in memory: media never reaches a disk

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Gateway]]:
        assert settings.redis_url is not None
        redis = connect(settings.redis_url)
        streams = StreamClient(redis, f"gateway-{uuid4().hex[:12]}", settings.claim_timeout_s)
        gatekeeper = Gatekeeper(settings.api_keys, settings.allowed_origins)
        if settings.otlp_endpoint is not None:
            export_traces(settings.otlp_endpoint)
        running = asyncio.create_task(streams.run())
        running.add_done_callback(_stop_process_on_error)
        settle_memory()
        yield {"gateway": Gateway(settings, redis, streams, gatekeeper)}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await redis.aclose()

    return Starlette(
        routes=[
            WebSocketRoute("/v1/realtime", realtime),
            WebSocketRoute("/v1/live", live),
            Route("/v1/audio/transcriptions", transcriptions, methods=["POST"]),
            Route("/v1/audio/speech", speech, methods=["POST"]),
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
            Route("/v1/models", status.models),
            Route("/healthz", status.healthz),
            Route("/readyz", status.readyz),
            Route("/metrics", status.metrics),
        ],
        middleware=[Middleware(Authentication)],
        exception_handlers={ApiError: on_api_error, HTTPException: on_http_exception},
        lifespan=lifespan,
    )


def _stop_process_on_error(running: asyncio.Task[None]) -> None:
    """Without its streams a gateway is of no use: let whoever started it start another."""
    if not running.cancelled() and (error := running.exception()) is not None:
        log.critical("the connection to the workers failed", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)
