"""`/healthz`, `/readyz`, `/metrics`, `/v1/models` and `/v1/workers`."""

import msgspec
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from app.gateway import gateway_of
from workers.broker import presence

CREATED = 1_767_225_600
"""The protocol wants a time of creation for each model; this is the start of 2026."""


async def healthz(request: Request) -> Response:
    """The process is alive."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Whether sessions can be served: Redis answers, and every configured service has a live worker."""
    gateway = gateway_of(request)
    try:
        alive = await presence.alive(gateway.redis)
    except RedisError as error:
        return JSONResponse({"ready": False, "problem": f"redis: {error}"}, 503)
    missing = sorted(set(gateway.settings.workers) - {status.service for status in alive})
    if missing:
        return JSONResponse({"ready": False, "problem": f"no worker serves {', '.join(missing)}"}, 503)
    return JSONResponse({"ready": True})


async def metrics(request: Request) -> Response:
    """Prometheus text of this gateway and of every worker."""
    gateway = gateway_of(request)
    gateway.metrics.credits_at_zero.set(gateway.streams.credits_at_zero)
    text = gateway.metrics.render(await presence.metrics(gateway.redis))
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def workers(request: Request) -> Response:
    """The live workers, each with its service, its models and how many of its slots are used."""
    return JSONResponse({"workers": msgspec.to_builtins(await presence.alive(gateway_of(request).redis))})


async def models(request: Request) -> Response:
    """The models that live workers serve: the names under which services are offered, and every network's own."""
    gateway = gateway_of(request)
    settings = gateway.settings
    offered = {"listen": settings.transcriber, "think": settings.language_model, "speak": settings.speaker}
    alive = await presence.alive(gateway.redis)
    names = {offered[status.service] for status in alive if status.service in offered}
    names |= {model for status in alive for model in status.models}
    listed = [{"id": name, "object": "model", "created": CREATED, "owned_by": "millstream"} for name in sorted(names)]
    return JSONResponse({"object": "list", "data": listed})
