"""The one contract between the step engine and every network.

A model serves `capacity` streams at once, each in a *slot*, and advances many of them with one batched forward pass, a
*step*. Models say what can advance; they hold no policy, no clock, no socket. All methods of one model are called from
one thread.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple


class Message(NamedTuple):
    """Input for one slot.

    `pts` is media time in samples, `slack_s` how long the work that this message causes may wait. Only messages with
    `data` are charged to the stream's credit window.
    """

    kind: str
    pts: int = 0
    data: bytes = b""
    meta: Mapping[str, Any] = {}
    slack_s: float = 0.0


class Pending(NamedTuple):
    """A slot that can advance. Only slots of one `bucket` (one tensor shape) share a step."""

    slot: int
    bucket: Hashable
    slack_s: float


class Output(NamedTuple):
    """What a step produced for one slot; `pts` is media time in samples."""

    slot: int
    kind: str
    pts: int = 0
    data: bytes = b""
    meta: Mapping[str, Any] = {}


class StreamError(Exception):
    """The fault of one stream: bad options or input. It ends that stream and nothing else."""

    def __init__(self, message: str, *, code: str = "invalid_input", param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class StreamModel(ABC):
    """A network whose state lives in preallocated `[capacity, ...]` tensors, addressed by slot."""

    name: ClassVar[str]
    accepts: ClassVar[frozenset[str]]
    """Kinds of message this model takes; others of its stream pass it by."""

    capacity: int
    max_batch: int
    """Most slots in one step (1 for a network that cannot batch)."""
    window: int
    """Bytes of message data that a slot can hold before `consumed` moves on."""

    @abstractmethod
    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        """Reset the slot's state. Raises StreamError on options it cannot serve."""

    @abstractmethod
    def push(self, slot: int, message: Message) -> None:
        """Queue input; cheap. Raises StreamError on input it cannot serve."""

    def flush(self, slot: int) -> None:
        """No more input comes: what is held back for lack of input becomes pending."""

    def cancel(self, slot: int, turn: int) -> None:
        """Drop queued work of turns before `turn`."""

    @abstractmethod
    def pending(self) -> Iterable[Pending]:
        """Slots that can advance now; a slot may appear once for each of its buckets."""

    @abstractmethod
    def step(self, bucket: Hashable, slots: Sequence[int]) -> list[Output]:
        """One batched forward pass. If it raises, the state of its slots is as before."""

    @abstractmethod
    def consumed(self, slot: int) -> int:
        """Bytes of message data, since `open`, whose memory is free again."""

    @abstractmethod
    def snapshot(self, slot: int) -> bytes:
        """The slot's state, from which `resume` continues."""

    @abstractmethod
    def restore(self, slot: int, snapshot: bytes) -> None:
        """Set the slot's state to a snapshot."""

    def resume(self, slot: int, snapshot: bytes, inputs: Iterable[Message], delivered: Sequence[Output]) -> None:
        """Continue a stream that lived elsewhere: its snapshot, the inputs since, and the output already delivered.

        Deterministic models need no more than the first two; a sampling model forces `delivered` as its own history.
        """
        self.restore(slot, snapshot)
        for message in inputs:
            self.push(slot, message)

    def close(self, slot: int) -> None:
        """The slot's stream is gone."""
