"""An OpenAI-compatible endpoint in the place of a language model of our own."""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from models.base import Message, Output, Pending, StreamError, StreamModel
from models.lm import generation, grammar
from models.lm.endpoint_client import EndpointClient, EndpointOptions, Exchange
from models.lm.generation import CANCELLED, Event, Options

WAIT = ("wait",)
WAIT_S = 0.02
"""Longest that a step waits for the endpoint."""
MAX_REQUESTS = 32
WINDOW_BYTES = 1 << 20
OWN = {"tokens", "pinned", "stop_tokens"}
"""Options that only a model of our own understands."""


class _Asked(msgspec.Struct, array_like=True, frozen=True):
    """A request that waits: fields of a chat completion, or why it cannot be served."""

    number: int
    request: dict[str, Any]
    failure: Event | None
    slack_s: float


class _Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """`begun`: output of the first request was put out already."""

    asked: int
    queue: list[_Asked]
    begun: bool
    late: list[Event]


@dataclass
class _Slot:
    queue: deque[_Asked] = field(default_factory=deque)
    """Requests in order; the first one is being answered if there is an exchange."""
    exchange: Exchange | None = None
    begun: bool = False
    late: list[Event] = field(default_factory=list)
    asked: int = 0
    received_bytes: int = 0


class EndpointModel(StreamModel):
    """Takes `generate` and puts out what `LanguageModel` does; tokens and log-probabilities are null.

    A step waits a moment for whatever the endpoint says to any of its slots. What goes wrong there ends one reply, with
    reason "failed".
    """

    name: ClassVar[str] = "endpoint"
    accepts: ClassVar[frozenset[str]] = frozenset({"generate"})
    window = WINDOW_BYTES

    def __init__(self, options: EndpointOptions, capacity: int) -> None:
        self.capacity = self.max_batch = capacity
        self._client = EndpointClient(options)
        self._slots = [_Slot() for _ in range(capacity)]

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        self._drop(self._slots[slot])
        self._slots[slot] = _Slot()

    def push(self, slot: int, message: Message) -> None:
        state = self._slots[slot]
        if len(state.queue) > MAX_REQUESTS:
            raise StreamError(f"at most {MAX_REQUESTS} requests can wait", code="queue_full")
        number = state.asked
        state.asked += 1
        state.received_bytes += len(message.data)
        try:
            asked = _Asked(number, _request(message.meta), None, message.slack_s)
        except StreamError as error:
            asked = _Asked(number, {}, generation.failed(number, error), message.slack_s)
        state.queue.append(asked)

    def cancel(self, slot: int, turn: int) -> None:
        """All requests so far are of older turns, since messages come in order."""
        state = self._slots[slot]
        self._drop(state)
        state.late += [
            asked.failure or generation.done(asked.number, CANCELLED, "", generation.usage()) for asked in state.queue
        ]
        state.queue.clear()

    def pending(self) -> Iterable[Pending]:
        for slot, state in enumerate(self._slots):
            if state.late:
                yield Pending(slot, WAIT, 0.0)
            elif state.queue:
                yield Pending(slot, WAIT, state.queue[0].slack_s)

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        """Send requests whose turn it is, then wait for events of any slot."""
        states = [self._slots[slot] for slot in slots]
        for state in states:
            self._start_next(state)
        exchanges = [state.exchange for state in states if state.exchange is not None]
        if not any(state.late for state in states):
            with self._client.arrived:
                self._client.arrived.wait_for(lambda: any(exchange.ready for exchange in exchanges), WAIT_S)
        return [
            Output(slot, event.kind, meta=event.meta)
            for slot, state in zip(slots, states, strict=True)
            for event in self._events(state)
        ]

    def consumed(self, slot: int) -> int:
        return self._slots[slot].received_bytes

    def snapshot(self, slot: int) -> bytes:
        state = self._slots[slot]
        return msgspec.msgpack.encode(_Snapshot(state.asked, list(state.queue), state.begun, state.late))

    def restore(self, slot: int, snapshot: bytes) -> None:
        """A reply that had begun cannot go on: another one would not follow from what was said."""
        saved = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        self._drop(self._slots[slot])
        state = self._slots[slot] = _Slot(deque(saved.queue), late=saved.late, asked=saved.asked)
        if saved.begun:
            state.queue[0] = _broken_off(state.queue[0])

    def resume(self, slot: int, snapshot: bytes, inputs: Iterable[Message], delivered: Sequence[Output]) -> None:
        """Replies of which something was delivered end as failed, others are asked for again."""
        super().resume(slot, snapshot, inputs, delivered)
        state = self._slots[slot]
        ended = {output.meta["number"] for output in delivered if output.kind == "done"}
        begun = {output.meta["number"] for output in delivered} - ended
        state.late = [event for event in state.late if event.meta["number"] not in ended]
        state.queue = deque(
            _broken_off(asked) if asked.number in begun else asked for asked in state.queue if asked.number not in ended
        )

    def close(self, slot: int) -> None:
        self.open(slot, {})

    def _start_next(self, state: _Slot) -> None:
        while state.exchange is None and state.queue:
            asked = state.queue[0]
            if asked.failure is None:
                state.exchange, state.begun = self._client.ask(asked.number, asked.request), False
            else:
                state.queue.popleft()
                state.late.append(asked.failure)

    def _events(self, state: _Slot) -> list[Event]:
        events, state.late = state.late, []
        if state.exchange is not None:
            arrived = state.exchange.take()
            state.begun = state.begun or bool(arrived)
            events += arrived
            if arrived and arrived[-1].kind == "done":
                state.exchange, state.begun = None, False
                state.queue.popleft()
        return events

    def _drop(self, state: _Slot) -> None:
        if state.exchange is not None:
            state.exchange.cancel()
        state.exchange, state.begun = None, False


def _request(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a chat completion. Raises StreamError for options that no endpoint would take."""
    options = generation.options(meta)
    for name in OWN & meta.keys():
        raise StreamError(f"{name}: an endpoint takes messages only", param=name)
    if not options.messages:
        raise StreamError("generate wants messages", param="messages")
    grammar.argument_schemas(options.tools, grammar.chosen_tools(options.tools, options.tool_choice))
    grammar.answer_schema(options.response_format)
    return _fields(meta, options)


def _fields(meta: Mapping[str, Any], options: Options) -> dict[str, Any]:
    dropped = {"top_k", "truncation"} if options.tools else {"top_k", "truncation", "tools", "tool_choice"}
    fields = {name: value for name, value in meta.items() if value is not None and name not in dropped}
    if options.top_k:
        fields["extra_body"] = {"top_k": options.top_k}
    return fields


def _broken_off(asked: _Asked) -> _Asked:
    error = StreamError("the reply was lost with the worker that received it", code="endpoint_interrupted")
    return msgspec.structs.replace(asked, failure=asked.failure or generation.failed(asked.number, error))
