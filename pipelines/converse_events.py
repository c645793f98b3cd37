"""What the conversation pipeline tells its owner, beyond what listening tells."""

import msgspec

from pipelines import transcribe_events
from pipelines.effects import OnStream
from pipelines.items import Item, Status
from pipelines.trace import Trace


class ReplyStarted(msgspec.Struct, frozen=True, tag=True):
    """A reply was begun."""

    reply: str


class ItemStarted(msgspec.Struct, frozen=True, tag=True):
    """The reply has a new item, number `index`. It joined the conversation after `previous`, unless out of band."""

    reply: str
    index: int
    item: Item
    previous: str | None = None


class TextDelta(msgspec.Struct, frozen=True, tag=True):
    """Text to append to a message."""

    reply: str
    index: int
    item: str
    text: str


class SpeechDelta(msgspec.Struct, frozen=True, tag=True):
    """Speech to append to a message, 24 kHz mono int16, and the text that it says; either may be empty."""

    reply: str
    index: int
    item: str
    text: str
    pcm: bytes


class CallDelta(msgspec.Struct, frozen=True, tag=True):
    """JSON to append to the arguments of a function call."""

    reply: str
    index: int
    item: str
    call_id: str
    arguments: str


class ItemFinished(msgspec.Struct, frozen=True, tag=True):
    """The item is complete, or remains incomplete."""

    reply: str
    index: int
    item: Item


class Usage(msgspec.Struct, frozen=True):
    """Tokens of a reply."""

    prompt: int
    cached: int
    completion: int


class Outcome(msgspec.Struct, frozen=True):
    """How a reply ended. `reason` tells why it did not complete, `code` and `message` why it failed."""

    status: Status | str
    reason: str | None = None
    code: str | None = None
    message: str | None = None


class ReplyFinished(msgspec.Struct, frozen=True, tag=True):
    """The reply is over."""

    reply: str
    outcome: Outcome
    items: list[Item]
    usage: Usage | None = None


class ItemsForgotten(msgspec.Struct, frozen=True, tag=True):
    """The conversation has become too long: its oldest items are gone."""

    items: list[str]


class Traced(msgspec.Struct, frozen=True, tag=True):
    """A reply's first sound or text went out: where the time went."""

    reply: str
    trace: Trace


ReplyEvent = ReplyStarted | ItemStarted | TextDelta | SpeechDelta | CallDelta | ItemFinished | ReplyFinished | Traced
Event = ReplyEvent | ItemsForgotten | transcribe_events.Event
Effect = OnStream | Event
