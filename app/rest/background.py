"""Work of the REST doors: streams in the lower scheduling class, and answers that stop when nobody waits for them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Send

from app.errors import ApiError, error_body
from app.gateway import Gateway, TooManySessions
from app.rest.json_body import CLIENT_CLOSED_REQUEST
from workers.broker.client import END, ServerFull, Stream
from workers.broker.envelope import Envelope

log = logging.getLogger(__name__)

BACKGROUND_SLACK_S = 20.0
"""How much longer than live work a request's work can wait for a step."""

T = TypeVar("T")


class Work:
    """A request's stream, and its outputs as far as they have been taken."""

    def __init__(self, gateway: Gateway, service: str, stream: Stream, outputs: asyncio.Queue[Envelope]) -> None:
        self.stream = stream
        self._outputs = outputs
        self._limit_s = gateway.settings.request_timeout_s
        self._started = asyncio.get_running_loop().time()
        self._until_first_output = gateway.metrics.rest_first_output.labels(service)
        self._answered = False

    async def output(self) -> Envelope:
        """The next output. Raises ApiError if the worker fails or the request's time is over."""
        try:
            async with asyncio.timeout_at(self._started + self._limit_s):
                envelope = await self._outputs.get()
        except TimeoutError:
            raise ApiError(503, "timeout", f"the request took longer than {self._limit_s:g} s") from None
        if envelope.kind in END:
            raise failure(envelope.meta)
        if not self._answered:
            self._answered = True
            self._until_first_output.observe(asyncio.get_running_loop().time() - self._started)
        return envelope


def failure(meta: dict[str, Any]) -> ApiError:
    """What a worker says went wrong: a field of the request, or else the worker itself."""
    code, message, param = meta.get("code", "worker_lost"), meta.get("message", ""), meta.get("param")
    if param is not None:
        named = message if message.startswith(param) else f"{param}: {message}"
        return ApiError(400, code, named, param)
    return ApiError(503, code, message, retry_after_s=ServerFull.retry_after_s)


@asynccontextmanager
async def background_work(gateway: Gateway, service: str, options: dict[str, Any]) -> AsyncIterator[Work]:
    """Open a stream of `service` for one request. Raises ApiError if there is no room."""
    outputs: asyncio.Queue[Envelope] = asyncio.Queue()
    try:
        with gateway.session("rest"):
            stream = await gateway.streams.open(service, options, outputs.put_nowait)
            try:
                yield Work(gateway, service, stream, outputs)
            finally:
                stream.close()
    except (ServerFull, TooManySessions) as error:
        raise ApiError(503, "server_full", str(error), retry_after_s=ServerFull.retry_after_s) from error


async def unless_gone(request: Request, answer: Coroutine[Any, Any, Response]) -> Response:
    """The answer; if the client goes away first, the work on it stops."""
    working, watching = asyncio.create_task(answer), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else Response(status_code=CLIENT_CLOSED_REQUEST)
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def begun(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same items once the first is there: what goes wrong before it can still be told by the HTTP status."""
    return _chain(await anext(items), items)


async def _chain(first: T, rest: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    async with aclosing(rest):
        yield first
        async for item in rest:
            yield item


class StreamedResponse(StreamingResponse):
    """Bytes sent as they are made. Nothing is made while the client does not read; if it reads nothing for
    `patience_s`, goes away, or the making fails, the connection is cut, so that the answer is not taken for whole.
    """

    def __init__(self, body: AsyncGenerator[bytes, None], media_type: str, patience_s: float) -> None:
        super().__init__(body, media_type=media_type)
        self._body = body
        self._patience_s = patience_s

    async def stream_response(self, send: Send) -> None:
        async def send_patiently(message: Message) -> None:
            async with asyncio.timeout(self._patience_s):
                await send(message)

        async with aclosing(self._body):
            try:
                await super().stream_response(send_patiently)
            except TimeoutError:
                log.warning("an answer was cut short: the client read nothing for %g s", self._patience_s)
            except ApiError as error:
                log.warning("an answer was cut short: %s", error)


def sse_data(body: dict[str, Any]) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def sse_error(error: ApiError) -> bytes:
    """What went wrong once an answer had begun, in the shape that OpenAI clients raise."""
    return sse_data({"type": "error", **error_body(error)})
