"""The gateway process."""

import asyncio
import logging
import socket

import uvicorn

from app.main import create_app
from app.settings import Settings
from app.transports.websocket import MAX_MESSAGE_BYTES

USER_TIMEOUT_MS = 30_000
"""A peer that acknowledges nothing for so long is gone (RFC 5482)."""
PING_INTERVAL_S = 20.0


def bind(settings: Settings) -> socket.socket:
    """The listening socket. Raises OSError if the address is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    listening.bind((settings.host, settings.port))
    return listening


async def serve(settings: Settings, listening: socket.socket) -> None:
    """Serve until stopped. Pings are sent to notice dead peers by TCP; a pong may wait behind unread audio."""
    config = uvicorn.Config(
        create_app(settings),
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=PING_INTERVAL_S,
        ws_ping_timeout=None,
        ws_per_message_deflate=False,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        lifespan="on",
    )
    await uvicorn.Server(config).serve(sockets=[listening])


def main(settings: Settings) -> None:
    """Entry point of the gateway process. Raises SystemExit if it has no Redis or no address."""
    if settings.redis_url is None:
        raise SystemExit("MILLSTREAM_REDIS_URL is not set: which Redis do the workers use?")
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aioice").setLevel(logging.WARNING)
    try:
        listening = bind(settings)
    except OSError as error:
        raise SystemExit(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None
    with listening:
        asyncio.run(serve(settings, listening))
