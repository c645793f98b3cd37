"""A scripted `think` stream: what a language model says to a prompt, and when."""

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from models.base import StreamError
from models.lm import generation, grammar
from pipelines.effects import Push, StreamOutput
from tests.pipelines.listen import Refused


class Call(NamedTuple):
    """A function call; its arguments come in pieces."""

    name: str
    arguments: str = "{}"


class Fails(NamedTuple):
    """The request cannot be served any further."""

    code: str = "context_length_exceeded"
    message: str = "too long"


Answer = str | Call | Fails | Sequence[str | Call | Fails]
Messages = list[dict[str, Any]]


def last_words(messages: Messages) -> Answer:
    """Replies with what the user said last."""
    users = [message["content"] for message in messages if message["role"] == "user"]
    return f"You said {users[-1] if users else 'nothing'}."


@dataclass(frozen=True)
class Brain:
    """How the model behaves."""

    answer: Callable[[Messages], Answer] = last_words
    first_token_s: float = 0.1
    token_s: float = 0.02
    held: int = 0
    """Characters of the end that come with `done`."""
    in_flight_s: float = 0.0
    """What was due so soon after a cancel comes all the same."""


class _Due(NamedTuple):
    at: float
    number: int
    output: StreamOutput


@dataclass
class Think:
    """One stream of the service. Requests are answered in order. Raises Refused where a real one would say `failed`."""

    brain: Brain
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The meta of every request."""
    cancels: int = 0
    _turn: int = 0
    _due: deque[_Due] = field(default_factory=deque)

    def push(self, push: Push, now: float) -> None:
        if push.kind != "generate" or push.data:
            raise Refused(f"unknown message {push.kind!r}")
        try:
            asked = generation.options(push.meta)
            grammar.argument_schemas(asked.tools, grammar.chosen_tools(asked.tools, asked.tool_choice))
        except StreamError as error:
            raise Refused(str(error)) from error
        if not asked.messages:
            raise Refused("no messages")
        number = len(self.requests)
        self.requests.append(dict(push.meta))
        at = max([now, *(due.at for due in self._due)]) + self.brain.first_token_s
        for output in self._outputs(number, push.meta):
            self._due.append(_Due(at, number, output))
            at += self.brain.token_s

    def cancel(self, turn: int, now: float) -> None:
        if turn <= self._turn:
            raise Refused(f"turn {turn} after {self._turn}")
        self._turn, self.cancels = turn, self.cancels + 1
        numbers = sorted({due.number for due in self._due})
        self._due = deque(due for due in self._due if due.at <= now + self.brain.in_flight_s)
        self._due.extend(_Due(now, number, done(number, "cancelled")) for number in numbers)

    def pull(self, now: float) -> StreamOutput | None:
        """The next output that is due by now."""
        return self._due.popleft().output if self._due and self._due[0].at <= now else None

    @property
    def busy(self) -> bool:
        """Whether it has more to say."""
        return bool(self._due)

    def _outputs(self, number: int, meta: dict[str, Any]) -> list[StreamOutput]:
        answer = self.brain.answer(meta["messages"])
        outputs: list[StreamOutput] = []
        calls, error, tail = 0, None, ""
        for piece in answer if isinstance(answer, list) else (answer,):
            match piece:
                case str():
                    text, tail = piece[: len(piece) - self.brain.held], piece[len(piece) - self.brain.held :]
                    outputs += [_token(number, len(outputs), word) for word in re.findall(r"\s*\S+|\s+$", text)]
                case Call(name, arguments):
                    outputs += _call(number, calls, name, arguments)
                    calls += 1
                case Fails(code, message):
                    error = {"code": code, "message": message, "param": None}
        reason = "failed" if error else "tool_calls" if calls else "stop"
        limit = meta["max_tokens"]
        if limit is not None and len(outputs) >= limit:
            outputs, reason, tail = outputs[:limit], "length", ""
        return [*outputs, done(number, reason, tail, len(outputs), error)]


def done(
    number: int, reason: str, text: str = "", tokens: int = 0, error: dict[str, Any] | None = None
) -> StreamOutput:
    usage = {"prompt_tokens": 20, "cached_tokens": 5, "completion_tokens": tokens}
    return StreamOutput("done", meta={"number": number, "reason": reason, "text": text, "usage": usage, "error": error})


def _token(number: int, index: int, text: str) -> StreamOutput:
    return StreamOutput("token", meta={"number": number, "index": index, "token": 7, "logprob": -0.1, "text": text})


def _call(number: int, index: int, name: str, arguments: str) -> list[StreamOutput]:
    half = len(arguments) // 2
    pieces = [(name, ""), (None, arguments[:half]), (None, arguments[half:])]
    return [
        StreamOutput("call", meta={"number": number, "index": index, "name": name, "arguments": piece})
        for name, piece in pieces
    ]
