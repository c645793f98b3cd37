"""The session object of a conversation."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.realtime.config import (
    AudioFormat,
    AudioInputUpdate,
    Pcm,
    SessionConfig,
    Transcription,
    changed,
    shown_detection,
)
from app.realtime.response_config import ReplyFields, VoiceId
from app.realtime.tools import FunctionTool, ToolChoice, chat_choice, chat_tools
from pipelines.converse_state import ConverseConfig
from pipelines.reply import ReplyRequest

DEFAULT_INSTRUCTIONS = (
    "You are a friendly voice assistant. Your answers are spoken aloud: answer in one or two short sentences, "
    "in plain words, without lists or markup."
)
DEFAULT_VOICE = "alloy"


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


class AudioOutputUpdate(_Strict, frozen=True):
    """Fields of `session.audio.output` that are present change, the others stay."""

    format: AudioFormat | UnsetType = UNSET
    voice: str | VoiceId | UnsetType = UNSET
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] | UnsetType = UNSET


class AudioUpdate(_Strict, frozen=True):
    """`session.audio`."""

    input: AudioInputUpdate = AudioInputUpdate()
    output: AudioOutputUpdate = AudioOutputUpdate()


class RetentionRatio(_Strict, frozen=True, tag_field="type", tag="retention_ratio"):
    """Drop old messages until this share of the room after the instructions is used."""

    retention_ratio: Annotated[float, Meta(ge=0, le=1)]
    token_limits: dict[Literal["post_instructions"], Annotated[int, Meta(ge=0)]] | None = None


class RealtimeUpdate(ReplyFields, frozen=True, tag_field="type", tag="realtime"):
    """`session` of a `session.update` event in a conversation."""

    audio: AudioUpdate = AudioUpdate()
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None | UnsetType = UNSET
    model: str | UnsetType = UNSET
    tracing: Literal["auto"] | dict[str, Any] | None = None
    truncation: Literal["auto", "disabled"] | RetentionRatio | UnsetType = UNSET


class RealtimeConfig(SessionConfig, frozen=True):
    """The configuration of a conversation in force."""

    transcription: Transcription | None = None
    instructions: str = DEFAULT_INSTRUCTIONS
    output_modalities: list[Literal["text", "audio"]] = msgspec.field(default_factory=lambda: ["audio"])
    output_format: AudioFormat = Pcm()
    voice: str = DEFAULT_VOICE
    speed: float = 1.0
    tools: list[FunctionTool] = msgspec.field(default_factory=list)
    tool_choice: ToolChoice = "auto"
    max_output_tokens: int | Literal["inf"] = "inf"
    truncation: Literal["auto", "disabled"] | RetentionRatio = "auto"

    def with_changes(self, update: RealtimeUpdate) -> "RealtimeConfig":
        """The configuration after an update."""
        output = update.audio.output
        changes = changed(update.audio.input, "format", "transcription", "turn_detection")
        changes |= changed(
            update, "instructions", "max_output_tokens", "output_modalities", "tool_choice", "tools", "truncation"
        )
        changes |= changed(output, "speed")
        if output.format is not UNSET:
            changes["output_format"] = output.format
        if output.voice is not UNSET:
            changes["voice"] = voice_name(output.voice)
        if update.include is not UNSET:
            changes["include"] = update.include or []
        return msgspec.structs.replace(self, **changes)

    def conversation(self) -> ConverseConfig:
        """What the conversation pipeline needs to know of it. Speech is always transcribed, for replies."""
        detection = self.turn_detection
        return ConverseConfig(
            msgspec.structs.replace(self.pipeline(), transcribe=True),
            self.reply(),
            create_response=detection is None or detection.create_response is not False,
            interrupt_response=detection is None or detection.interrupt_response is not False,
        )

    def reply(self) -> ReplyRequest:
        """The reply to a turn."""
        truncation = self.truncation
        return ReplyRequest(
            instructions=self.instructions,
            audio=self.output_modalities == ["audio"],
            voice=self.voice,
            speed=self.speed,
            tools=chat_tools(self.tools),
            tool_choice=chat_choice(self.tool_choice),
            max_tokens=None if self.max_output_tokens == "inf" else self.max_output_tokens,
            truncation=None if truncation == "auto" else _truncation(truncation),
        )

    def shown_session(self, session_id: str, model: str, recogniser: str, expires_at: int) -> dict[str, Any]:
        """The session object of `session.created` and `session.updated`; what is not implemented reads null."""
        shown = self.shown(session_id, recogniser, expires_at)
        detection = self.turn_detection
        if detection is not None:
            shown["audio"]["input"]["turn_detection"] = shown_detection(detection) | {
                "create_response": detection.create_response is not False,
                "interrupt_response": detection.interrupt_response is not False,
            }
        output = {"format": msgspec.to_builtins(self.output_format), "voice": self.voice, "speed": self.speed}
        return shown | {
            "object": "realtime.session",
            "type": "realtime",
            "model": model,
            "audio": shown["audio"] | {"output": output},
            "instructions": self.instructions,
            "output_modalities": self.output_modalities,
            "tools": msgspec.to_builtins(self.tools),
            "tool_choice": msgspec.to_builtins(self.tool_choice),
            "max_output_tokens": self.max_output_tokens,
            "truncation": msgspec.to_builtins(self.truncation),
            "parallel_tool_calls": None,
            "prompt": None,
            "reasoning": None,
            "tracing": None,
        }


def _truncation(truncation: Literal["disabled"] | RetentionRatio) -> dict[str, Any]:
    if truncation == "disabled":
        return {"type": "disabled"}
    built: dict[str, Any] = msgspec.to_builtins(truncation)
    return built


def voice_name(voice: str | VoiceId) -> str:
    """The name by which a voice was asked for."""
    return voice.id if isinstance(voice, VoiceId) else voice
