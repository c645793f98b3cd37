"""Endpoints of all kinds: a real HTTP server whose answers a test scripts."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

Answer = Callable[[Request], Awaitable[Response]]


class Endpoint:
    """Answers each request with the next of `answers`, the last one again and again."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.closed = threading.Event()
        """Set when a client left an answer that hangs."""

    async def complete(self, request: Request) -> Response:
        self.requests.append(await request.json())
        self.keys.append(request.headers["authorization"])
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)

    def hangs(self, *before: str) -> Answer:
        """Never ends, after some lines."""

        async def lines() -> AsyncIterator[str]:
            for line in before:
                yield line
            try:
                await asyncio.sleep(60)
            finally:
                self.closed.set()

        async def answer(_: Request) -> Response:
            return StreamingResponse(lines(), media_type="text/event-stream")

        return answer


def event(value: object) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(value)}\n\n"


def chunk(finish: str | None = None, **delta: Any) -> str:
    """A `chat.completion.chunk`."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


def usage(prompt: int, cached: int, completion: int) -> str:
    """The chunk with usage."""
    details = {"cached_tokens": cached}
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": details,
    }
    return event(
        {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": counts}
    )


def says(*lines: str, status: int = 200, media_type: str = "text/event-stream") -> Answer:
    """Answers with lines as they are."""

    async def answer(_: Request) -> Response:
        return Response("".join(lines), status, media_type=media_type)

    return answer


@contextmanager
def running_endpoint() -> Iterator[Endpoint]:
    """Serve on a free port of this machine, on a thread."""
    endpoint = Endpoint()
    app = Starlette(routes=[Route("/v1/chat/completions", endpoint.complete, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    (listener,) = server.servers
    endpoint.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    yield endpoint
    server.should_exit = True
    thread.join()
