"""What the conversation pipeline is told and what it remembers."""

import msgspec

from pipelines.conversation import Conversation
from pipelines.onset import Onset
from pipelines.replies import RepliesState
from pipelines.reply import ReplyRequest
from pipelines.transcribe_state import TranscribeConfig, TranscribeState


class ConverseConfig(msgspec.Struct, frozen=True):
    """How to listen, and how to reply when a turn is over."""

    listen: TranscribeConfig = TranscribeConfig()
    reply: ReplyRequest = ReplyRequest()
    create_response: bool = True
    interrupt_response: bool = True


class ConverseState(msgspec.Struct):
    """All that the pipeline remembers."""

    config: ConverseConfig
    listen: TranscribeState
    conversation: Conversation = msgspec.field(default_factory=Conversation)
    replies: RepliesState = msgspec.field(default_factory=RepliesState)
    onset: Onset | None = None
    speaking: bool = False
    """Whether the user is."""
    ended: list[str] = []
    """Items that turn detection ended and that have no text yet."""
    unheard: list[str] = []
    """Items of the conversation that have no text yet."""
    wanted: bool = False
    """Whether a reply is due once the one in progress is over."""
    voice_at: float | None = None
    turn_end: float | None = None
