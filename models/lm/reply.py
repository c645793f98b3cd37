"""A reply in progress: its tokens so far, and what they say."""

from typing import NamedTuple

from models.lm.calls import CallPiece, CallReader
from models.lm.constraint import Constraint
from models.lm.generation import FAILED, LENGTH, STOP, TOOL_CALLS, Error, Event, done, usage
from models.lm.request import Request
from models.lm.sampling import Choice
from models.lm.text import StopText
from models.lm.tokens import Detokenizer, Tokenizer


class Taken(NamedTuple):
    """What a token lets go of, and why the reply ends with it (None if it goes on)."""

    text: str
    calls: list[CallPiece]
    reason: str | None


class Reply:
    """Grows token by token."""

    def __init__(self, request: Request, cached: int, tokenizer: Tokenizer, constraint: Constraint | None) -> None:
        """`cached`: prompt tokens that need no computation."""
        self.request = request
        self.constraint = constraint
        self.tokens: list[int] = []
        self._cached = cached
        self._detokenizer = Detokenizer(tokenizer)
        self._calls = CallReader() if request.may_call else None
        self._stops = StopText(request.stop)

    def choice(self, position: int) -> Choice:
        """How the token at `position` of the whole history is chosen."""
        request = self.request
        rules = request.sampling
        return Choice(
            rules.temperature,
            rules.top_p,
            rules.top_k,
            request.seed,
            position,
            rules.frequency_penalty,
            rules.presence_penalty,
            self.tokens,
        )

    def take(self, token: int) -> Taken:
        """Add a token that does not end the reply by itself."""
        self.tokens.append(token)
        complete = self.constraint is not None and self.constraint.take(token)
        text, calls = self._read(self._detokenizer.push(token))
        shown, stopped = self._stops.push(text)
        if stopped or complete:
            return Taken(shown, calls, STOP)
        return Taken(shown, calls, LENGTH if len(self.tokens) >= self.request.max_tokens else None)

    def end(self, reason: str) -> Event:
        """End the reply; STOP becomes TOOL_CALLS or FAILED if that is what it means."""
        text, _ = self._read(self._detokenizer.flush())
        held, stopped = self._stops.push(text + (self._calls.flush() if self._calls else ""))
        if not stopped:
            held += self._stops.flush()
        counts = usage(len(self.request.tokens), self._cached, len(self.tokens))
        error = self._error() if reason == STOP else None
        if error is not None:
            reason = FAILED
        elif reason == STOP and self._calls and self._calls.count:
            reason = TOOL_CALLS
        return done(self.request.number, reason, held, counts, error)

    def _read(self, text: str) -> tuple[str, list[CallPiece]]:
        return (text, []) if self._calls is None else self._calls.push(text)

    def _error(self) -> Error | None:
        fault = self.constraint and self.constraint.error
        if not fault:
            return None
        return {"code": "schema_too_complex", "message": f"the schema is too complex: {fault}", "param": None}
