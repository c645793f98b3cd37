"""The session object of the Realtime protocol: what clients may set, and how it is shown to them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipelines.transcribe_state import TranscribeConfig
from pipelines.turns import Detection, Eagerness, SemanticVad, ServerVad

LOGPROBS = "item.input_audio_transcription.logprobs"

OPENAI_TRANSCRIBERS = frozenset(
    {
        "whisper-1",
        "gpt-transcribe",
        "gpt-live-transcribe",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "gpt-realtime-whisper",
    }
)
"""Names that stock clients ask for; this server's own recogniser answers to all of them."""

Milliseconds = Annotated[int, Meta(ge=0, le=10_000)]
Delay = Literal["minimal", "low", "medium", "high", "xhigh"]
LOOKAHEADS_MS: dict[Delay, int] = {"minimal": 0, "low": 80, "medium": 480, "high": 1040, "xhigh": 1040}
"""How far a streaming recogniser looks ahead of what it writes: FastConformers are trained for no others."""
Keywords = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=256)]
Prompt = Annotated[str, Meta(max_length=4_096)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


class Pcm(_Strict, frozen=True, tag_field="type", tag="audio/pcm"):
    """16-bit little-endian mono PCM."""

    rate: Literal[24000] = 24000


class Pcmu(_Strict, frozen=True, tag_field="type", tag="audio/pcmu"):
    """G.711 mu-law, 8 kHz."""


class Pcma(_Strict, frozen=True, tag_field="type", tag="audio/pcma"):
    """G.711 A-law, 8 kHz."""


AudioFormat = Pcm | Pcmu | Pcma


class ServerVadRequest(_Strict, frozen=True, tag_field="type", tag="server_vad"):
    """`turn_detection` of type `server_vad` as a client sends it."""

    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    prefix_padding_ms: Milliseconds = 300
    silence_duration_ms: Milliseconds = 500
    idle_timeout_ms: int | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class SemanticVadRequest(_Strict, frozen=True, tag_field="type", tag="semantic_vad"):
    """`turn_detection` of type `semantic_vad` as a client sends it."""

    eagerness: Eagerness = "auto"
    create_response: bool | None = None
    interrupt_response: bool | None = None


class NoiseReduction(_Strict, frozen=True):
    """Accepted for the sake of stock clients; no noise reduction is done, so it reads back as null."""

    type: Literal["near_field", "far_field"] | None = None
    strength: float | None = None


class Transcription(_Strict, frozen=True):
    """How input audio is transcribed."""

    model: str | None = None
    language: Annotated[str, Meta(max_length=16)] | None = None
    languages: list[str] | None = None
    prompt: Prompt | None = None
    keywords: Keywords | None = None
    delay: Delay | None = None


class AudioInputUpdate(_Strict, frozen=True):
    """Fields of `session.audio.input` that are present change, the others stay."""

    format: AudioFormat | UnsetType = UNSET
    transcription: Transcription | None | UnsetType = UNSET
    turn_detection: ServerVadRequest | SemanticVadRequest | None | UnsetType = UNSET
    noise_reduction: NoiseReduction | None | UnsetType = UNSET


class AudioUpdate(_Strict, frozen=True):
    """`session.audio`."""

    input: AudioInputUpdate = AudioInputUpdate()


class TranscriptionUpdate(_Strict, frozen=True, tag_field="type", tag="transcription"):
    """`session` of a `session.update` event in a transcription session."""

    audio: AudioUpdate = AudioUpdate()
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None | UnsetType = UNSET


class SessionConfig(_Strict, frozen=True):
    """The configuration in force."""

    format: AudioFormat = Pcm()
    transcription: Transcription | None = Transcription()
    turn_detection: ServerVadRequest | SemanticVadRequest | None = ServerVadRequest()
    include: list[str] = []

    def updated(self, update: TranscriptionUpdate) -> "SessionConfig":
        """The configuration after an update."""
        changes = changed(update.audio.input, "format", "transcription", "turn_detection")
        if update.include is not UNSET:
            changes["include"] = update.include or []
        return msgspec.structs.replace(self, **changes)

    def pipeline(self) -> TranscribeConfig:
        """What the transcription pipeline needs to know of it."""
        transcription = self.transcription or Transcription()
        return TranscribeConfig(
            detection=_detection(self.turn_detection),
            transcribe=self.transcription is not None,
            language=transcription.language,
            prompt=prompt_with(transcription.prompt, transcription.keywords),
            phrases=transcription.keywords or [],
            lookahead_ms=LOOKAHEADS_MS[transcription.delay] if transcription.delay else None,
            words=LOGPROBS in self.include,
        )

    def shown(self, session_id: str, model: str, expires_at: int) -> dict[str, Any]:
        """The session object of `session.created` and `session.updated`; what is not implemented reads null."""
        return {
            "id": session_id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "expires_at": expires_at,
            "include": self.include or None,
            "audio": {
                "input": {
                    "format": msgspec.to_builtins(self.format),
                    "noise_reduction": None,
                    "transcription": _shown_transcription(self.transcription, model),
                    "turn_detection": self.turn_detection and shown_detection(self.turn_detection),
                }
            },
        }


def changed(update: msgspec.Struct, *fields: str) -> dict[str, Any]:
    """Those of the fields that an update sets."""
    values = {name: getattr(update, name) for name in fields}
    return {name: value for name, value in values.items() if value is not UNSET}


def _detection(request: ServerVadRequest | SemanticVadRequest | None) -> Detection | None:
    match request:
        case ServerVadRequest():
            return ServerVad(request.threshold, request.prefix_padding_ms, request.silence_duration_ms)
        case SemanticVadRequest():
            return SemanticVad(request.eagerness)
    return None


def prompt_with(prompt: str | None, keywords: list[str] | None) -> str | None:
    """A recogniser that cannot take keywords takes a prompt that mentions them."""
    parts = [prompt or "", ", ".join(keywords or [])]
    return " ".join(part for part in parts if part) or None


def _shown_transcription(transcription: Transcription | None, model: str) -> dict[str, Any] | None:
    if transcription is None:
        return None
    shown: dict[str, Any] = msgspec.to_builtins(transcription)
    return shown | {"model": transcription.model or model, "languages": None}


def shown_detection(request: ServerVadRequest | SemanticVadRequest) -> dict[str, Any]:
    """`turn_detection` as it is shown where nothing replies."""
    shown: dict[str, Any] = msgspec.to_builtins(request)
    unsupported = {"idle_timeout_ms", "create_response", "interrupt_response"}
    return {name: None if name in unsupported else value for name, value in shown.items()}
