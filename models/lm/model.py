"""A language model as a stream: conversations in slots, one token for all of them a step."""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import torch
from torch import Tensor

from models.base import Message, Output, Pending, StreamError, StreamModel
from models.linear import smallest_dtype
from models.lm import generation, tokens, weights
from models.lm.constraint import Grammars
from models.lm.context import History, Window
from models.lm.conversion import huggingface_form
from models.lm.decoder import Decoder
from models.lm.generation import CANCELLED, STOP, UNBIASED, Event, Sampling
from models.lm.reply import Reply
from models.lm.request import Request, RequestParser
from models.lm.sampling import sample

DECODE = ("decode",)
REPORT = ("report",)
PREFILL = "prefill"
PREFILL_TOKENS = 128
"""Most tokens of a prefill step: what a reply in progress may have to wait for."""
SINKS = 4
MAX_REQUESTS = 32
WINDOW_BYTES = 1 << 20


class _Failure(msgspec.Struct, array_like=True, frozen=True, tag="failure"):
    """A request that cannot be served, and what is said when its turn comes."""

    event: Event


class _Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """`tokens` are the history, of which the last `produced` belong to the first request's reply."""

    tokens: list[int]
    pinned: int
    requests: list[Request | _Failure]
    produced: int
    late: list[Event]
    asked: int


@dataclass
class _Slot:
    history: History
    reply: Reply | None = None
    queue: deque[Request | _Failure] = field(default_factory=deque)
    late: list[Event] = field(default_factory=list)
    """What happened outside of a step; the next one says so."""
    asked: int = 0
    received_bytes: int = 0


class LanguageModel(StreamModel):
    """Takes `generate`; its meta is `generation.Options`.

    Puts out `token` for each token (meta {"number", "index", "token", "logprob", "text"}; the text may be empty while a
    character or a possible stop string is incomplete, and is within a call), `call` for pieces of function calls (meta
    {"number", "index", "name", "arguments"}; the name comes with the first piece) and `done` (meta {"number", "reason",
    "text": what was held back, "usage", "error"}). `number` counts the stream's requests, which are answered in order;
    one that cannot be served ends alone, with reason "failed". A new prompt costs only what follows its longest common
    prefix with the slot's tokens.
    """

    name: ClassVar[str] = "lm"
    accepts: ClassVar[frozenset[str]] = frozenset({"generate"})
    window = WINDOW_BYTES

    def __init__(
        self,
        directory: Path,
        capacity: int,
        context: int,
        max_batch: int | None = None,
        dtype: torch.dtype | None = None,
        sampling: Sampling = UNBIASED,
    ) -> None:
        """`directory` holds the checkpoint; each slot keeps `context` tokens. Raises ValueError if the network was made
        for fewer. `dtype` is that of weights and K/V, by default `smallest_dtype()`. `sampling` holds for requests that
        do not say.
        """
        directory = huggingface_form(directory)
        config, parameters = weights.load(directory, dtype or smallest_dtype())
        if context > config.max_positions:
            raise ValueError(f"context must be at most the network's {config.max_positions} positions, got {context}")
        self.capacity = capacity
        self.max_batch = max_batch or capacity
        self.tokenizer = tokens.load(directory)
        self._decoder = Decoder(config, parameters, capacity, context)
        self._window = Window(context, SINKS)
        self._grammars = Grammars(self.tokenizer, config.vocab)
        self._parser = RequestParser(self.tokenizer, self._grammars, config.vocab, self._window, sampling)
        self._slots = [_Slot(History(self._window)) for _ in range(capacity)]

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        self._slots[slot] = _Slot(History(self._window))

    def push(self, slot: int, message: Message) -> None:
        state = self._slots[slot]
        if len(state.queue) >= MAX_REQUESTS:
            raise StreamError(f"at most {MAX_REQUESTS} requests can wait", code="queue_full")
        number = state.asked
        state.asked += 1
        state.received_bytes += len(message.data)
        try:
            state.queue.append(self._parser.parse(message, number))
        except StreamError as error:
            state.queue.append(_Failure(generation.failed(number, error)))
        self._start_next(state)

    def cancel(self, slot: int, turn: int) -> None:
        """All requests so far are of older turns, since messages come in order."""
        state = self._slots[slot]
        if state.reply is not None:
            state.late.append(state.reply.end(CANCELLED))
        for request in state.queue:
            cancelled = request.event if isinstance(request, _Failure) else self._reply(request, 0).end(CANCELLED)
            state.late.append(cancelled)
        state.reply = None
        state.queue.clear()

    def pending(self) -> Iterable[Pending]:
        for slot, state in enumerate(self._slots):
            if state.late:
                yield Pending(slot, REPORT, 0.0)
            elif state.reply is not None:
                waiting = state.history.waiting
                bucket = DECODE if waiting == 1 else (PREFILL, min(waiting, PREFILL_TOKENS))
                yield Pending(slot, bucket, state.reply.request.slack_s)

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        """A prefill step takes PREFILL_TOKENS tokens in all, so that replies in progress wait no longer than for one
        prompt; slots beyond that stay pending.
        """
        match bucket:
            case (kind, int(length)) if kind == PREFILL:
                return self._advance(slots[: max(1, PREFILL_TOKENS // length)], length)
            case _ if bucket == REPORT:
                return [output for slot in slots for output in self._report(slot)]
            case _:
                return self._advance(slots, 1)

    def consumed(self, slot: int) -> int:
        return self._slots[slot].received_bytes

    def snapshot(self, slot: int) -> bytes:
        state = self._slots[slot]
        requests = ([state.reply.request] if state.reply else []) + [*state.queue]
        produced = len(state.reply.tokens) if state.reply else 0
        history = state.history
        saved = _Snapshot(history.tokens, history.pinned, requests, produced, state.late, state.asked)
        return msgspec.msgpack.encode(saved)

    def restore(self, slot: int, snapshot: bytes) -> None:
        saved = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        state = self._slots[slot] = _Slot(History(self._window))
        prompt, produced = saved.tokens, saved.tokens[len(saved.tokens) - saved.produced :]
        state.history.replace(prompt, saved.pinned)
        state.queue.extend(saved.requests)
        state.asked = saved.asked
        self._start_next(state)
        state.late[:0] = saved.late
        for token in produced:
            assert state.reply is not None
            state.reply.take(token)
            state.history.append(token)

    def resume(self, slot: int, snapshot: bytes, inputs: Iterable[Message], delivered: Sequence[Output]) -> None:
        """Tokens that were delivered since the snapshot are forced, earlier ones passed by; what else follows from them
        and was delivered is not said again.
        """
        super().resume(slot, snapshot, inputs, delivered)
        state = self._slots[slot]
        for output in delivered:
            number, reply = output.meta["number"], state.reply
            if output.kind != "token":
                _strike(state.late, output)
            if reply is None or number != reply.request.number:
                continue
            if output.kind == "done":
                self._finish(state)
            elif output.kind == "token" and output.meta["index"] == len(reply.tokens):
                self._force(state, output.meta["token"])

    def close(self, slot: int) -> None:
        self.open(slot, {})

    def _start_next(self, state: _Slot) -> None:
        while state.reply is None and state.queue:
            request = state.queue.popleft()
            if isinstance(request, _Failure):
                state.late.append(request.event)
            else:
                state.history.replace(request.tokens, request.pinned)
                state.reply = self._reply(request, state.history.cached)

    def _reply(self, request: Request, cached: int) -> Reply:
        constraint = None if request.grammar is None else self._grammars.constraint(request.grammar)
        return Reply(request, cached, self.tokenizer, constraint)

    def _finish(self, state: _Slot) -> None:
        state.reply = None
        self._start_next(state)

    def _force(self, state: _Slot, token: int) -> None:
        """Take over a token that was chosen before; what follows from it is late."""
        reply = state.reply
        assert reply is not None
        taken = reply.take(token)
        state.history.append(token)
        state.late += [generation.call(reply.request.number, piece) for piece in taken.calls]
        if taken.reason is not None:
            state.late.append(reply.end(taken.reason))
            self._finish(state)

    def _report(self, slot: int) -> list[Output]:
        late, self._slots[slot].late = self._slots[slot].late, []
        return [_output(slot, event) for event in late]

    def _advance(self, slots: Sequence[int], length: int) -> list[Output]:
        """Compute `length` tokens of each slot; those with no further ones to compute get their next token."""
        # In order of slots the decoder needs no index of rows.
        slots = sorted(slots)
        states = [self._slots[slot] for slot in slots]
        rows = torch.tensor([state.history.next_tokens(length) for state in states])
        starts = [state.history.cached for state in states]
        last = self._decoder.forward(self._decoder.embed(rows), slots, starts)
        ready = [row for row, state in enumerate(states) if state.history.waiting == length]
        chosen = self._choose(last, [(row, states[row]) for row in ready])
        for state in states:
            state.history.cached += length
        return [
            output
            for row, token, logprob in zip(ready, *chosen, strict=True)
            for output in self._emit(slots[row], token, logprob)
        ]

    def _choose(self, last: Tensor, ready: Sequence[tuple[int, _Slot]]) -> tuple[list[int], list[float]]:
        """Tokens and log-probabilities for the slots at some rows of `last` `[rows, hidden]`."""
        if not ready:
            return [], []
        replies = [(state.reply, len(state.history.tokens)) for _, state in ready]
        choices = [reply.choice(position) for reply, position in replies if reply is not None]
        constraints = {
            row: reply.constraint for row, (reply, _) in enumerate(replies) if reply and reply.constraint is not None
        }
        logits = self._decoder.logits(last[[row for row, _ in ready]])
        allowed = self._grammars.allowed(constraints, len(ready)) if constraints else None
        return sample(logits, choices, allowed)

    def _emit(self, slot: int, token: int, logprob: float) -> list[Output]:
        state = self._slots[slot]
        reply = state.reply
        assert reply is not None
        number = reply.request.number
        if token in reply.request.stop_tokens:
            self._finish(state)
            return [_output(slot, reply.end(STOP))]
        index = len(reply.tokens)
        taken = reply.take(token)
        state.history.append(token)
        meta = {"number": number, "index": index, "token": token, "logprob": logprob, "text": taken.text}
        outputs = [Output(slot, "token", meta=meta)]
        outputs += [_output(slot, generation.call(number, piece)) for piece in taken.calls]
        if taken.reason is not None:
            outputs.append(_output(slot, reply.end(taken.reason)))
            self._finish(state)
        return outputs


def _output(slot: int, event: Event) -> Output:
    return Output(slot, event.kind, meta=event.meta)


def _strike(late: list[Event], output: Output) -> None:
    """Remove what was said: the first event of the same kind and request."""
    for event in late:
        if event.kind == output.kind and event.meta["number"] == output.meta["number"]:
            late.remove(event)
            return
