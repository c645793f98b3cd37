"""What sessions tell their user. Items and replies are named by ids; whatever begins also ends: an item with `Final` or
`TranscriptFailed`, a reply with `ReplyDone`, whatever becomes of the connection.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reconnected:
    """The connection had dropped, and the session goes on over a new one. What is lost: `lost_s` seconds of audio that
    have no transcript and were too long ago to be sent again; `lost_pictures` that were sent and not answered for.
    """

    lost_s: float = 0.0
    lost_pictures: int = 0


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
class Committed:
    """An item was made of the audio; its transcript follows."""

    item: str


@dataclass(frozen=True)
class Partial:
    """Text to append to the item's transcript so far."""

    item: str
    delta: str


@dataclass(frozen=True)
class Final:
    """The item's transcript; where it differs from the partial text, it is right. `seconds` is the audio's length,
    `language` what was recognised (ISO 639-1), if the recogniser tells.
    """

    item: str
    text: str
    seconds: float
    language: str | None = None


@dataclass(frozen=True)
class TranscriptFailed:
    """The item has no transcript. With the code `connection_lost` its audio is heard again as another item."""

    item: str
    code: str
    message: str


Heard = SpeechStarted | SpeechStopped | Committed | Partial | Final | TranscriptFailed
Event = Heard | Reconnected
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
    response: str = ""


@dataclass(frozen=True)
class ReplyAudio:
    """24 kHz mono little-endian int16 audio to play after what the item had before. It comes faster than it plays."""

    item: str
    pcm: bytes
    response: str = ""


@dataclass(frozen=True)
class ToolCall:
    """The model calls a tool with arguments that fit its schema. A tool without a handler is yours to answer:
    `conversation.tool_result(call, output)`.
    """

    call: str
    name: str
    arguments: dict[str, Any]
    response: str = ""


@dataclass(frozen=True)
class ToolResult:
    """What a tool's handler gave, as the model is told; `failed` if it raised an exception or took too long."""

    call: str
    name: str
    output: str
    failed: bool


@dataclass(frozen=True)
class Usage:
    """Tokens of the language model: what it read, how much of that was cached, and what it wrote."""

    input: int
    cached: int
    output: int


@dataclass(frozen=True)
class ReplyDone:
    """The reply is `completed`, `cancelled`, `incomplete` or `failed`; unless completed, `problem` may tell why."""

    response: str
    status: str
    problem: str | None
    usage: Usage | None = None


@dataclass(frozen=True)
class Refused:
    """The server refused something that the client sent; the conversation goes on. `param` is the field at fault."""

    code: str
    message: str
    param: str | None


@dataclass(frozen=True)
class Forgotten:
    """The item is no longer part of the conversation: there were too many."""

    item: str


Said = ReplyStarted | ReplyText | ReplyAudio | ReplyDone | ToolCall | ToolResult
ConversationEvent = Heard | Said | Forgotten | Refused | Reconnected
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


RestylingEvent = Restyled | Unchanged | Held | Unreadable | Reconnected
"""What restyling yields."""
