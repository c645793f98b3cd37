"""A language model for tests: it puts out what it was told to, one output a step."""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from models.base import Message, Output, Pending, StreamModel
from workers.service import Service

Put = tuple[str, dict[str, Any]]
"""Kind and meta of an output."""


def done(reason: str, error: dict[str, Any] | None = None) -> Put:
    usage = {"prompt_tokens": 5, "cached_tokens": 0, "completion_tokens": 2}
    return "done", {"number": 0, "reason": reason, "text": "", "usage": usage, "error": error}


def token(text: str) -> Put:
    return "token", {"number": 0, "index": 0, "token": 0, "logprob": 0.0, "text": text}


def call(index: int, name: str | None, arguments: str) -> Put:
    return "call", {"number": 0, "index": index, "name": name, "arguments": arguments}


class Scripted(StreamModel):
    """Takes one `generate` a stream. At a cancellation it says that it is done and forgets the rest."""

    name: ClassVar[str] = "scripted"
    accepts: ClassVar[frozenset[str]] = frozenset({"generate"})

    def __init__(self, script: Sequence[Put]) -> None:
        self.capacity = self.max_batch = 1
        self.window = 1
        self._script = script
        self._left: deque[Put] = deque()

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        self._left.clear()

    def push(self, slot: int, message: Message) -> None:
        self._left.extend(self._script)

    def cancel(self, slot: int, turn: int) -> None:
        self._left = deque([done("cancelled")])

    def pending(self) -> Iterable[Pending]:
        if self._left:
            yield Pending(0, "output", 0.0)

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        kind, meta = self._left.popleft()
        return [Output(0, kind, meta=meta)]

    def consumed(self, slot: int) -> int:
        return 0

    def snapshot(self, slot: int) -> bytes:
        raise NotImplementedError

    def restore(self, slot: int, snapshot: bytes) -> None:
        raise NotImplementedError


def think(script: Sequence[Put]) -> Service:
    """A scripted model in the place of the language model."""
    return Service("think", lanes=[[Scripted(script)]], device="cpu")
