"""What speech recognisers share as streams: the audio they hold and the messages they take."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from models.audio import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, AudioRing
from models.base import Message, StreamError, StreamModel

MAX_REQUESTS = 512
"""Final texts that a stream may wait for: more than commits of the shortest length can make of one credit window."""


class Listening(Protocol):
    """What a stream wants heard. Nobody will ask for audio before `release_pts`, and none before `needed_from` is of
    use any more.
    """

    release_pts: int
    audio_slack_s: float
    followed: Any
    requests: list[Any]

    @property
    def needed_from(self) -> int: ...

    def release(self, pts: int) -> None: ...


ListenerT = TypeVar("ListenerT", bound=Listening)


class Recogniser(StreamModel, Generic[ListenerT]):
    """Takes `audio` (16 kHz mono int16), `release`, `follow`, `unfollow` and `transcribe`."""

    accepts: ClassVar[frozenset[str]] = frozenset({"audio", "release", "follow", "unfollow", "transcribe"})

    def __init__(self, capacity: int, window_s: float, listener: Callable[[], ListenerT], history: int = 0) -> None:
        """Each slot can hold `window_s` seconds of unreleased audio, and `history` samples before it."""
        samples = round(window_s * SAMPLE_RATE_HZ)
        self.capacity = capacity
        self.window = samples * BYTES_PER_SAMPLE
        self._ring = AudioRing(capacity, samples, history)
        self._listener = listener
        self._listeners = [listener() for _ in range(capacity)]

    def open(self, slot: int, options: Mapping[str, Any]) -> None:
        self._ring.reset(slot)
        self._listeners[slot] = self._listener()

    def push(self, slot: int, message: Message) -> None:
        listener = self._listeners[slot]
        match message.kind:
            case "audio":
                self._ring.append(slot, message.pts, message.data)
                listener.audio_slack_s = message.slack_s
            case "release":
                listener.release(min(message.pts, int(self._ring.written[slot])))
            case "follow":
                self._check_held(slot, message.pts, "pts")
                self._follow(slot, message)
            case "unfollow":
                listener.followed = None
            case "transcribe":
                self._check_segment(slot, message.meta["start"], message.pts)
                self._transcribe(slot, message)
        self._ring.release(slot, listener.needed_from)

    def consumed(self, slot: int) -> int:
        return int(self._ring.released[slot]) * BYTES_PER_SAMPLE

    def close(self, slot: int) -> None:
        self.open(slot, {})

    @abstractmethod
    def _follow(self, slot: int, message: Message) -> None:
        """Hear a segment from `message.pts` on, while it is spoken."""

    @abstractmethod
    def _transcribe(self, slot: int, message: Message) -> None:
        """Give the final text of a segment that ends at `message.pts`."""

    @property
    @abstractmethod
    def _longest(self) -> int:
        """Samples of the longest segment."""

    def _check_segment(self, slot: int, start: int, end: int) -> None:
        self._check_held(slot, start, "start")
        if not 0 <= end - start <= self._longest:
            raise StreamError(f"a segment has 0 to {self._longest} samples, got {end - start}", param="start")

    def _check_held(self, slot: int, pts: int, param: str) -> None:
        released, written = self._listeners[slot].release_pts, int(self._ring.written[slot])
        if not released <= pts <= written:
            raise StreamError(f"{param} must be between {released} (released) and {written}, got {pts}", param=param)

    def _check_room(self, slot: int) -> None:
        if len(self._listeners[slot].requests) >= MAX_REQUESTS:
            raise StreamError(f"at most {MAX_REQUESTS} segments can wait for their final text", code="queue_full")
