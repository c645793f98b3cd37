"""What transcriptions and conversations tell their user."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SpeechStarted:
    """Someone began to speak, `at` seconds of audio after the start."""

    item: str
    at: float


@dataclass(frozen=True)
class SpeechStopped:
    """The turn ended, `at` seconds of audio after the start."""

    item: str
    at: float


@dataclass(frozen=True)
class Partial:
    """Text to append to the item's transcript so far."""

    item: str
    delta: str


@dataclass(frozen=True)
class Final:
    """The item's transcript; where it differs from the partial text, it is right. `seconds` is the audio's length."""

    item: str
    text: str
    seconds: float


@dataclass(frozen=True)
class TranscriptFailed:
    """The item has no transcript."""

    item: str
    code: str
    message: str


Heard = SpeechStarted | SpeechStopped | Partial | Final | TranscriptFailed
Event = Heard
"""What a transcription yields."""


@dataclass(frozen=True)
class ReplyStarted:
    """The server has begun to make a reply."""

    response: str


@dataclass(frozen=True)
class ReplyText:
    """Text to append to the reply's; where there is audio too, the text that is spoken in it."""

    item: str
    delta: str


@dataclass(frozen=True)
class ReplyAudio:
    """24 kHz mono little-endian int16 audio to play after what the item had before. It comes faster than it plays."""

    item: str
    pcm: bytes


@dataclass(frozen=True)
class ReplyDone:
    """The reply is `completed`, `cancelled`, `incomplete` or `failed`; unless completed, `problem` may tell why."""

    response: str
    status: str
    problem: str | None


@dataclass(frozen=True)
class Refused:
    """The server refused something that the client sent; the conversation goes on. `param` is the field at fault."""

    code: str
    message: str
    param: str | None


ConversationEvent = Heard | ReplyStarted | ReplyText | ReplyAudio | ReplyDone | Refused
"""What a conversation yields."""


@dataclass(frozen=True)
class Restyled:
    """What the picture at `pts` became, a JPEG. Before it, `dropped` pictures will not come."""

    pts: int
    picture: bytes
    dropped: int


@dataclass(frozen=True)
class Unchanged:
    """The picture at `pts` looks like the one before it, and so would what it became."""

    pts: int


@dataclass(frozen=True)
class Held:
    """The picture at `pts` is under way, and none came out in its turn: the server works on a few at once."""

    pts: int


@dataclass(frozen=True)
class Unreadable:
    """The picture at `pts` cannot be taken."""

    pts: int
    message: str


RestylingEvent = Restyled | Unchanged | Held | Unreadable
"""What restyling yields."""
