"""Replies from an OpenAI-compatible chat-completions endpoint, received on a thread of its own."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI

from models.base import StreamError
from models.lm import generation
from models.lm.calls import CallPiece
from models.lm.generation import LENGTH, STOP, TOOL_CALLS, Event

log = logging.getLogger(__name__)
for _name in ("openai", "httpx", "httpcore"):
    # They log addresses, which may hold credentials, and what is said.
    logging.getLogger(_name).setLevel(logging.WARNING)

MAX_WAITING_EVENTS = 256
"""Events of one reply that nobody has taken; beyond that its connection is not read."""
MAX_MESSAGE_CHARACTERS = 300
"""Longest part of an endpoint's error that is passed on."""
REASONS = {"stop": STOP, "length": LENGTH, "tool_calls": TOOL_CALLS, "function_call": TOOL_CALLS}


@dataclass(frozen=True)
class EndpointOptions:
    """Which endpoint, and how long it may take."""

    url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    first_token_timeout_s: float = 20.0
    token_timeout_s: float = 10.0
    retries: int = 2
    """How often a request that was refused for now is repeated; never once a reply has begun."""


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    function: _Function = msgspec.field(default_factory=_Function)


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    """What is read of a `chat.completion.chunk`."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None


class Exchange:
    """One request and the events of its reply, the last of which is `done`."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop, arrived: threading.Condition) -> None:
        self.number = number
        self.task: Future[None] | None = None
        self._loop = loop
        self._arrived = arrived
        self._events: deque[Event] = deque()
        self._room = asyncio.Semaphore(MAX_WAITING_EVENTS)

    @property
    def ready(self) -> bool:
        """Whether events wait; ask under the condition."""
        return bool(self._events)

    def take(self) -> list[Event]:
        """The events that wait."""
        with self._arrived:
            events, self._events = list(self._events), deque()
        self._loop.call_soon_threadsafe(self._make_room, len(events))
        return events

    def cancel(self) -> None:
        """Close the connection; events that come all the same are nobody's."""
        if self.task is not None:
            self.task.cancel()

    async def put(self, event: Event) -> None:
        """Add an event once there is room."""
        await self._room.acquire()
        with self._arrived:
            self._events.append(event)
            self._arrived.notify_all()

    def _make_room(self, count: int) -> None:
        for _ in range(count):
            self._room.release()


class EndpointClient:
    """The connections to one endpoint."""

    def __init__(self, options: EndpointOptions) -> None:
        self.arrived = threading.Condition()
        """Notified when an exchange has events."""
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._client: AsyncOpenAI | None = None
        threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True).start()

    def ask(self, number: int, request: Mapping[str, Any]) -> Exchange:
        """Send a request, whose fields are those of a chat completion."""
        exchange = Exchange(number, self._loop, self.arrived)
        exchange.task = asyncio.run_coroutine_threadsafe(self._answer(exchange, request), self._loop)
        return exchange

    async def _answer(self, exchange: Exchange, request: Mapping[str, Any]) -> None:
        reader = _Reader(exchange.number)
        try:
            async with aclosing(self._chunks(request)) as chunks:
                async for chunk in chunks:
                    for event in reader.read(chunk):
                        await exchange.put(event)
        except Exception as error:
            if reader.reason is None:
                await exchange.put(generation.failed(exchange.number, self._explain(error, reader.begun)))
                return
        await exchange.put(reader.end())

    async def _chunks(self, request: Mapping[str, Any]) -> AsyncGenerator[_Chunk, None]:
        options = self._options
        if self._client is None:
            self._client = AsyncOpenAI(
                base_url=options.url, api_key=options.api_key or "none", timeout=None, max_retries=options.retries
            )
        create: Any = self._client.chat.completions.create
        begin_by = self._loop.time() + options.first_token_timeout_s
        async with asyncio.timeout_at(begin_by):
            stream = await create(**request, model=options.model, stream=True, stream_options={"include_usage": True})
        async with stream:
            chunks, next_by = aiter(stream), begin_by
            while True:
                async with asyncio.timeout_at(next_by):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield msgspec.convert(chunk.to_dict(warnings=False), _Chunk)
                next_by = self._loop.time() + options.token_timeout_s

    def _explain(self, error: Exception, begun: bool) -> StreamError:
        """What went wrong, without secrets."""
        match error:
            case TimeoutError():
                return StreamError("the language model's endpoint took too long", code="endpoint_timeout")
            case APIStatusError():
                said = self._quote(error.message)
                return StreamError(f"the language model's endpoint answered: {said}", code="endpoint_error")
            case APIConnectionError() | OSError() if not begun:
                return StreamError("the language model's endpoint cannot be reached", code="endpoint_unreachable")
            case APIError() if not isinstance(error, APIConnectionError):
                said = self._quote(error.message)
                return StreamError(f"the language model's endpoint failed: {said}", code="endpoint_error")
            case ValueError() | AttributeError() | TypeError():
                return StreamError("the language model's endpoint answered what is no reply", code="endpoint_garbage")
        log.warning("reply from the endpoint failed: %s", type(error).__name__)
        return StreamError("the language model's endpoint broke off its reply", code="endpoint_interrupted")

    def _quote(self, message: str) -> str:
        if self._options.api_key:
            message = message.replace(self._options.api_key, "***")
        return message[:MAX_MESSAGE_CHARACTERS]


class _Reader:
    """Turns chunks into events."""

    def __init__(self, number: int) -> None:
        self.begun = False
        self.reason: str | None = None
        self._number = number
        self._texts = 0
        self._calls: dict[int, int] = {}
        self._usage = generation.usage()

    def read(self, chunk: _Chunk) -> Iterable[Event]:
        """Events of one chunk."""
        self.begun = True
        if chunk.usage is not None:
            details = chunk.usage.prompt_tokens_details
            cached = (details and details.cached_tokens) or 0
            self._usage = generation.usage(chunk.usage.prompt_tokens, cached, chunk.usage.completion_tokens)
        for choice in (chunk.choices or ())[:1]:
            delta = choice.delta or _Delta()
            if delta.content:
                meta = {"number": self._number, "index": self._texts, "token": None, "logprob": None}
                self._texts += 1
                yield Event("token", {**meta, "text": delta.content})
            for call in delta.tool_calls or ():
                name = None if call.index in self._calls else call.function.name or ""
                index = self._calls.setdefault(call.index, len(self._calls))
                yield generation.call(self._number, CallPiece(index, name, call.function.arguments or ""))
            self.reason = choice.finish_reason or self.reason

    def end(self) -> Event:
        """The reply's end."""
        if self.reason is None:
            error = StreamError("the language model's endpoint broke off its reply", code="endpoint_interrupted")
            return generation.failed(self._number, error)
        if self.reason not in REASONS:
            error = StreamError(f"the endpoint ended the reply: {self.reason}", code="endpoint_refused")
            return generation.failed(self._number, error)
        # Some endpoints say "stop" although they called a function.
        reason = TOOL_CALLS if self._calls and self.reason == "stop" else REASONS[self.reason]
        return generation.done(self._number, reason, "", self._usage)
