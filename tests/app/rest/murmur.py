"""A synthesiser for tests: it counts the text that it is given before it has said it."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from models.base import Message, Output, Pending, StreamModel
from workers.service import Service

SAMPLES_PER_CHAR = 24


class Murmur(StreamModel):
    """Says one character a millisecond, `CLAUSE_CHARS` a step."""

    name: ClassVar[str] = "murmur"
    accepts: ClassVar[frozenset[str]] = frozenset({"text", "pace"})
    CLAUSE_CHARS: ClassVar[int] = 100

    def __init__(self) -> None:
        self.capacity = self.max_batch = 1
        self.window = 1 << 16
        self.most_waiting = 0
        self.open(0, {})

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        self._text, self._said, self._bytes, self._flushed = "", 0, 0, False

    def push(self, slot: int, message: Message) -> None:
        self._text += message.data.decode()
        self.most_waiting = max(self.most_waiting, len(self._text))

    def flush(self, slot: int) -> None:
        self._flushed = True

    def pending(self) -> Iterable[Pending]:
        if self._flushed or len(self._text) >= self.CLAUSE_CHARS:
            yield Pending(0, "clause", 0.0)

    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        pts = self._said * SAMPLES_PER_CHAR
        if not self._text:
            self._flushed = False
            return [Output(0, "done", pts, meta={"text": ""})]
        clause, self._text = self._text[: self.CLAUSE_CHARS], self._text[self.CLAUSE_CHARS :]
        self._said += len(clause)
        self._bytes += len(clause.encode())
        return [Output(0, "audio", pts, bytes(len(clause) * SAMPLES_PER_CHAR * 2), {"text": clause, "words": []})]

    def consumed(self, slot: int) -> int:
        return self._bytes

    def snapshot(self, slot: int) -> bytes:
        raise NotImplementedError

    def restore(self, slot: int, snapshot: bytes) -> None:
        raise NotImplementedError


def speak(model: Murmur) -> Service:
    """`model` in the place of the synthesiser."""
    return Service("speak", lanes=[[model]], device="cpu")
