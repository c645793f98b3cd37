"""The ASGI application of a gateway."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth import Gatekeeper
from app.errors import ApiError, error_response, on_api_error, on_bad_event, on_http_exception
from app.gateway import Gateway, gateway_of
from app.realtime.errors import BadEvent
from app.rest import status
from app.rest.chat import chat_completions
from app.rest.client_secrets import client_secrets
from app.rest.speech import speech
from app.rest.transcriptions import transcriptions
from app.settings import Settings
from app.site import is_public, site_routes
from app.tracing import export_traces
from app.transports import sdp, webrtc, whip
from app.transports.live import live
from app.transports.websocket import realtime
from workers.broker.client import StreamClient
from workers.broker.connection import connect
from workers.lifetime import settle_memory

log = logging.getLogger(__name__)


class Authentication:
    """Turns away HTTP requests that the gatekeeper refuses. WebSockets are checked at their own door, and the page, its
    SDK and the probes, which tell nothing, need no key.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_public(scope):
            request = Request(scope)
            refusal = await gateway_of(request).gatekeeper.refusal(request)
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
        gatekeeper = Gatekeeper(redis, settings.api_keys, settings.allowed_origins)
        if settings.otlp_endpoint is not None:
            export_traces(settings.otlp_endpoint)
        running = asyncio.create_task(streams.run())
        running.add_done_callback(_stop_process_on_error)
        settle_memory()
        gateway = Gateway(settings, redis, streams, gatekeeper)
        yield {"gateway": gateway}
        await gateway.calls.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await redis.aclose()

    return Starlette(
        routes=[
            WebSocketRoute("/v1/realtime", realtime),
            WebSocketRoute("/v1/live", live),
            Route("/v1/realtime/client_secrets", client_secrets, methods=["POST"]),
            *_calls("/v1/realtime/calls", webrtc.create_call),
            Route("/v1/realtime/calls/{call}/hangup", sdp.hang_up, methods=["POST"]),
            *_calls("/v1/whip/{stream}", whip.publish),
            *_calls("/v1/whep/{stream}", whip.play),
            Route("/v1/audio/transcriptions", transcriptions, methods=["POST"]),
            Route("/v1/audio/speech", speech, methods=["POST"]),
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
            Route("/v1/models", status.models),
            Route("/v1/workers", status.workers),
            Route("/healthz", status.healthz),
            Route("/readyz", status.readyz),
            Route("/metrics", status.metrics),
            *site_routes(),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allowed_origins,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=["Location", "Link", "ETag"],
            ),
            Middleware(Authentication),
        ],
        exception_handlers={ApiError: on_api_error, BadEvent: on_bad_event, HTTPException: on_http_exception},
        lifespan=lifespan,
    )


def _calls(path: str, create: Callable[[Request], Awaitable[Response]]) -> list[Route]:
    """A door to which offers are sent, and what may be done with the calls that come of them."""
    return [
        Route(path, create, methods=["POST"]),
        Route(path, sdp.options, methods=["OPTIONS"]),
        Route(f"{path}/{{call}}", sdp.hang_up, methods=["DELETE"]),
        Route(f"{path}/{{call}}", sdp.trickle, methods=["PATCH"]),
    ]


def _stop_process_on_error(running: asyncio.Task[None]) -> None:
    """Without its streams a gateway is of no use: let whoever started it start another."""
    if not running.cancelled() and (error := running.exception()) is not None:
        log.critical("the connection to the workers failed", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)
