"""A language model as a stream: conversations in slots, one token for all of them a step."""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import torch

from models.base import Message, Output, Pending, StreamError, StreamModel
from models.lm import generation, tokens, weights
from models.lm.context import History, Window
from models.lm.conversion import huggingface_form
from models.lm.decoder import Decoder
from models.lm.generation import CANCELLED, STOP, Ended, Reply, Request
from models.lm.sampling import Choice, sample

DECODE = ("decode",)
DONE = ("done",)
PREFILL = "prefill"
PREFILL_TOKENS = 128
"""Most tokens of a prefill step: what a reply in progress may have to wait for."""
SINKS = 4
MAX_REQUESTS = 32
WINDOW_BYTES = 1 << 20


class _Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """`tokens` are the history, of which the last `produced` belong to the first request's reply."""

    tokens: list[int]
    pinned: int
    requests: list[Request]
    produced: int
    ended: list[Ended]
    asked: int


@dataclass
class _Slot:
    history: History
    reply: Reply | None = None
    queue: deque[Request] = field(default_factory=deque)
    ended: list[Ended] = field(default_factory=list)
    """Replies that ended outside of a step; the next one says so."""
    asked: int = 0
    received_bytes: int = 0


class LanguageModel(StreamModel):
    """Takes `generate`; its meta is `generation.Options`.

    Puts out `token` for each token (meta {"number", "index", "token", "logprob", "text"}; the text may be empty while a
    character or a possible stop string is incomplete) and `done` (meta {"number", "reason": "stop" | "length" |
    "cancelled", "text": what was held back, "usage"}). `number` counts the stream's requests, which are answered in
    order; a new prompt costs only what follows its longest common prefix with the slot's tokens.

    A reply is not over because the context is: the history is cut (`context.Window`) and what stays is prefilled.
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
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        """`directory` holds the checkpoint; each slot keeps `context` tokens. Raises ValueError if the network was made
        for fewer.
        """
        directory = huggingface_form(directory)
        config, parameters = weights.load(directory, dtype)
        if context > config.max_positions:
            raise ValueError(f"context must be at most the network's {config.max_positions} positions, got {context}")
        self.capacity = capacity
        self.max_batch = max_batch or capacity
        self.tokenizer = tokens.load(directory)
        self._decoder = Decoder(config, parameters, capacity, context)
        self._window = Window(context, SINKS)
        self._slots = [_Slot(History(self._window)) for _ in range(capacity)]

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        self._slots[slot] = _Slot(History(self._window))

    def push(self, slot: int, message: Message) -> None:
        state, context = self._slots[slot], self._window.context
        if len(state.queue) >= MAX_REQUESTS:
            raise StreamError(f"at most {MAX_REQUESTS} requests can wait", code="queue_full")
        request = generation.parse(message, state.asked, self.tokenizer, self._decoder.config.vocab, context)
        if request.pinned > self._window.max_pinned:
            limit = f"instructions may have {self._window.max_pinned} tokens of a context of {context}"
            raise StreamError(f"{limit}, got {request.pinned}", code="context_exceeded", param="messages")
        state.asked += 1
        state.received_bytes += len(message.data)
        state.queue.append(request)
        self._start_next(state)

    def cancel(self, slot: int, turn: int) -> None:
        """All requests so far are of older turns, since messages come in order."""
        state = self._slots[slot]
        replies = [state.reply] if state.reply else []
        replies += [Reply(request, 0, self.tokenizer) for request in state.queue]
        state.ended += [reply.end(CANCELLED) for reply in replies]
        state.reply = None
        state.queue.clear()

    def pending(self) -> Iterable[Pending]:
        for slot, state in enumerate(self._slots):
            if state.ended:
                yield Pending(slot, DONE, 0.0)
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
            case _ if bucket == DONE:
                return [output for slot in slots for output in self._report_ended(slot)]
            case _:
                return self._advance(slots, 1)

    def consumed(self, slot: int) -> int:
        return self._slots[slot].received_bytes

    def snapshot(self, slot: int) -> bytes:
        state = self._slots[slot]
        requests = ([state.reply.request] if state.reply else []) + [*state.queue]
        produced = len(state.reply.tokens) if state.reply else 0
        history = state.history
        saved = _Snapshot(history.tokens, history.pinned, requests, produced, state.ended, state.asked)
        return msgspec.msgpack.encode(saved)

    def restore(self, slot: int, snapshot: bytes) -> None:
        saved = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        state = self._slots[slot] = _Slot(History(self._window))
        prompt, produced = saved.tokens, saved.tokens[len(saved.tokens) - saved.produced :]
        state.history.replace(prompt, saved.pinned)
        state.queue.extend(saved.requests)
        state.ended, state.asked = saved.ended, saved.asked
        self._start_next(state)
        for token in produced:
            self._force(state, token)

    def resume(self, slot: int, snapshot: bytes, inputs: Iterable[Message], delivered: Sequence[Output]) -> None:
        """Tokens and ends of replies that were delivered since the snapshot are forced; earlier ones are passed by."""
        super().resume(slot, snapshot, inputs, delivered)
        state = self._slots[slot]
        for output in delivered:
            number, reply = output.meta["number"], state.reply
            if output.kind == "done":
                state.ended = [ended for ended in state.ended if ended.number != number]
            if reply is None or number != reply.request.number:
                continue
            if output.kind == "done":
                self._finish(state)
            elif output.meta["index"] == len(reply.tokens):
                self._force(state, output.meta["token"])

    def close(self, slot: int) -> None:
        self.open(slot, {})

    def _start_next(self, state: _Slot) -> None:
        if state.reply is None and state.queue:
            request = state.queue.popleft()
            state.history.replace(request.tokens, request.pinned)
            state.reply = Reply(request, state.history.cached, self.tokenizer)

    def _finish(self, state: _Slot) -> None:
        state.reply = None
        self._start_next(state)

    def _force(self, state: _Slot, token: int) -> None:
        assert state.reply is not None
        _, reason = state.reply.take(token)
        state.history.append(token)
        if reason is not None:
            state.ended.append(state.reply.end(reason))
            self._finish(state)

    def _report_ended(self, slot: int) -> list[Output]:
        ended, self._slots[slot].ended = self._slots[slot].ended, []
        return [_done(slot, reply) for reply in ended]

    def _advance(self, slots: Sequence[int], length: int) -> list[Output]:
        """Compute `length` tokens of each slot; those with no further ones to compute get their next token."""
        # In order of slots the decoder needs no index of rows.
        slots = sorted(slots)
        states = [self._slots[slot] for slot in slots]
        rows = torch.tensor([state.history.next_tokens(length) for state in states])
        starts = [state.history.cached for state in states]
        last = self._decoder.forward(self._decoder.embed(rows), slots, starts)
        ready = [row for row, state in enumerate(states) if state.history.waiting == length]
        choices = [self._choice(states[row]) for row in ready]
        chosen = sample(self._decoder.logits(last[ready]), choices) if ready else ([], [])
        for state in states:
            state.history.cached += length
        return [
            output
            for row, token, logprob in zip(ready, *chosen, strict=True)
            for output in self._emit(slots[row], token, logprob)
        ]

    def _choice(self, state: _Slot) -> Choice:
        assert state.reply is not None
        return state.reply.choice(len(state.history.tokens))

    def _emit(self, slot: int, token: int, logprob: float) -> list[Output]:
        state = self._slots[slot]
        reply = state.reply
        assert reply is not None
        number = reply.request.number
        outputs = []
        if token in reply.request.stop_tokens:
            reason: str | None = STOP
        else:
            index = len(reply.tokens)
            text, reason = reply.take(token)
            state.history.append(token)
            meta = {"number": number, "index": index, "token": token, "logprob": logprob, "text": text}
            outputs.append(Output(slot, "token", meta=meta))
        if reason is not None:
            outputs.append(_done(slot, reply.end(reason)))
            self._finish(state)
        return outputs


def _done(slot: int, ended: Ended) -> Output:
    return Output(slot, "done", meta=msgspec.structs.asdict(ended))
