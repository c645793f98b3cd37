"""`response.create`: what may differ from the session for one response."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.realtime.config import AudioFormat
from app.realtime.items import CallOutputRequest, CallRequest, ItemReference, MessageRequest
from app.realtime.tools import ToolChoice, Tools

MaxTokens = Annotated[int, Meta(ge=1, le=4_096)] | Literal["inf"]
Modalities = Annotated[list[Literal["text", "audio"]], Meta(min_length=1, max_length=1)]
Instructions = Annotated[str, Meta(max_length=100_000)]
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]


class VoiceId(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A voice by its id."""

    id: str


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


class ResponseAudioOutput(_Strict, frozen=True):
    """`response.audio.output`."""

    format: AudioFormat | UnsetType = UNSET
    voice: str | VoiceId | UnsetType = UNSET


class ResponseAudio(_Strict, frozen=True):
    """`response.audio`."""

    output: ResponseAudioOutput = ResponseAudioOutput()


class ReplyFields(_Strict, frozen=True):
    """What a session says of all its responses and a `response.create` of one. `parallel_tool_calls`, `prompt` and
    `reasoning` are accepted without effect.
    """

    instructions: Instructions | UnsetType = UNSET
    max_output_tokens: MaxTokens | UnsetType = UNSET
    output_modalities: Modalities | UnsetType = UNSET
    parallel_tool_calls: bool | None = None
    prompt: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    tool_choice: ToolChoice | UnsetType = UNSET
    tools: Tools | UnsetType = UNSET


class ResponseRequest(ReplyFields, frozen=True):
    """`response` of a `response.create` event; what is absent is as in the session."""

    audio: ResponseAudio = ResponseAudio()
    conversation: Literal["auto", "none"] = "auto"
    input: (
        Annotated[list[MessageRequest | CallRequest | CallOutputRequest | ItemReference], Meta(max_length=256)]
        | UnsetType
    ) = UNSET
    metadata: Metadata | None = None


class ShownResponse(msgspec.Struct, frozen=True):
    """What the response object of a reply says beside its output."""

    conversation_id: str | None
    modalities: list[str]
    format: AudioFormat
    voice: str
    max_output_tokens: int | str
    metadata: dict[str, str] | None = None

    def shown(self, response_id: str) -> dict[str, Any]:
        """The response object without status, output and usage."""
        output = {"format": msgspec.to_builtins(self.format), "voice": self.voice}
        return {
            "id": response_id,
            "object": "realtime.response",
            "conversation_id": self.conversation_id,
            "output_modalities": self.modalities,
            "audio": {"output": output} if self.modalities == ["audio"] else None,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata,
        }
