"""Events of the Realtime protocol, typed, and the decoding of what clients send."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.realtime.config import SessionUpdate

MAX_EVENT_ID = 512
MAX_QUOTED = 1_024
"""Characters of an error message: it may quote what the client sent, and that may be megabytes."""


class _ClientEvent(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="type"):
    event_id: Annotated[str, Meta(max_length=MAX_EVENT_ID)] | None = None


class UpdateSession(_ClientEvent, frozen=True, tag="session.update", kw_only=True):
    """Change the session's configuration."""

    session: SessionUpdate


class AppendAudio(_ClientEvent, frozen=True, tag="input_audio_buffer.append", kw_only=True):
    """Add audio in the session's input format, base64."""

    audio: str


class CommitAudio(_ClientEvent, frozen=True, tag="input_audio_buffer.commit"):
    """Make an item of the buffered audio."""


class ClearAudio(_ClientEvent, frozen=True, tag="input_audio_buffer.clear"):
    """Forget the buffered audio."""


ClientEvent = UpdateSession | AppendAudio | CommitAudio | ClearAudio


class ServerEvent(msgspec.Struct, tag_field="type", kw_only=True):
    """`event_id` carries the session's sequence number; it is set when the event is sent."""

    event_id: str = ""


class SessionCreated(ServerEvent, tag="session.created"):
    """First event of a session."""

    session: dict[str, Any]


class SessionUpdated(ServerEvent, tag="session.updated"):
    """The configuration in force."""

    session: dict[str, Any]


class SpeechStarted(ServerEvent, tag="input_audio_buffer.speech_started"):
    """Media time of the onset, prefix padding included."""

    item_id: str
    audio_start_ms: int


class SpeechStopped(ServerEvent, tag="input_audio_buffer.speech_stopped"):
    """Media time of the turn's end, silence included."""

    item_id: str
    audio_end_ms: int


class AudioCommitted(ServerEvent, tag="input_audio_buffer.committed"):
    """An item was made of the buffer."""

    item_id: str
    previous_item_id: str | None


class AudioCleared(ServerEvent, tag="input_audio_buffer.cleared"):
    """The buffer is empty."""


class ItemAdded(ServerEvent, tag="conversation.item.added"):
    """An item joined the conversation."""

    item: dict[str, Any]
    previous_item_id: str | None


class ItemDone(ServerEvent, tag="conversation.item.done"):
    """The item is complete but for its transcript."""

    item: dict[str, Any]
    previous_item_id: str | None


class TranscriptionDelta(ServerEvent, tag="conversation.item.input_audio_transcription.delta"):
    """Text to append."""

    item_id: str
    delta: str
    content_index: int = 0


class TranscriptionCompleted(ServerEvent, tag="conversation.item.input_audio_transcription.completed"):
    """The final transcript; where it differs from the deltas, it is right."""

    item_id: str
    transcript: str
    usage: dict[str, Any]
    content_index: int = 0
    logprobs: list[dict[str, Any]] | None = None
    languages: list[dict[str, str]] | None = None


class TranscriptionFailed(ServerEvent, tag="conversation.item.input_audio_transcription.failed"):
    """The item has no transcript."""

    item_id: str
    error: dict[str, Any]
    content_index: int = 0


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong; `param` names the field, `event_id` the client's event."""

    type: Literal["invalid_request_error", "server_error"]
    code: str
    message: str
    param: str | None = None
    event_id: str | None = None


class Error(ServerEvent, tag="error"):
    """Something went wrong; the session goes on."""

    error: ErrorDetail


class BadEvent(Exception):
    """What a client sent is not an event of the protocol, or not one of this session."""

    def __init__(self, detail: ErrorDetail) -> None:
        super().__init__(detail.message)
        self.detail = msgspec.structs.replace(
            detail,
            message=detail.message[:MAX_QUOTED],
            param=detail.param and detail.param[:MAX_QUOTED],
            event_id=detail.event_id and detail.event_id[:MAX_EVENT_ID],
        )


_BETA_EVENTS = {
    "transcription_session.update": "send session.update with session.type 'transcription'",
}
_BETA_FIELDS = {
    "input_audio_format": "audio.input.format",
    "input_audio_transcription": "audio.input.transcription",
    "input_audio_noise_reduction": "audio.input.noise_reduction",
    "turn_detection": "audio.input.turn_detection",
    "output_audio_format": "audio.output.format",
    "modalities": "output_modalities",
    "voice": "audio.output.voice",
}
_CONVERSATION_EVENTS = frozenset(
    {
        "output_audio_buffer.clear",
        "conversation.item.create",
        "conversation.item.delete",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "response.create",
        "response.cancel",
    }
)


class _Outline(msgspec.Struct):
    """What an event says of itself, whatever else is wrong with it."""

    type: msgspec.Raw = msgspec.Raw()
    event_id: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(ClientEvent)
_outline_decoder = msgspec.json.Decoder(_Outline)
_NOT_JSON = (msgspec.DecodeError, UnicodeError, RecursionError)
_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<field>[^`]*)`")
_MISSING_FIELD = re.compile(r"missing required field `(?P<field>[^`]*)`")
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def decode(text: str | bytes) -> ClientEvent:
    """Decode a client event. Raises BadEvent, which names the field."""
    try:
        event: ClientEvent = _decoder.decode(text)
        return event
    except msgspec.ValidationError as error:
        raise BadEvent(_explain(text, str(error))) from None
    except _NOT_JSON as error:
        raise BadEvent(_not_json(error)) from None


def _not_json(error: Exception) -> ErrorDetail:
    return _invalid("invalid_json", f"the message is not JSON: {error}")


def _invalid(code: str, message: str, param: str | None = None, event_id: str | None = None) -> ErrorDetail:
    return ErrorDetail("invalid_request_error", code, message, param, event_id)


def _explain(text: str | bytes, problem: str) -> ErrorDetail:
    """Say what is wrong with a message that is no valid event. It may be no JSON either: decoding has stopped early."""
    try:
        outline = _outline_decoder.decode(text)
    except msgspec.ValidationError:
        return _invalid("invalid_event", "an event is a JSON object")
    except _NOT_JSON as error:
        return _not_json(error)
    event_id, kind = _string(outline.event_id), _string(outline.type)
    if kind is None:
        return _invalid("missing_required_parameter", "every event has a `type`, a string", "type", event_id)
    path = match["path"] if (match := _PATH.search(problem)) else ""
    if path == "type":
        return _unknown_event(kind, event_id)
    field = _UNKNOWN_FIELD.search(problem) or _MISSING_FIELD.search(problem)
    param = ".".join(part for part in (path, field["field"] if field else "") if part) or None
    message = _PATH.sub("", problem)
    if "unknown field" in problem and field and path == "session" and field["field"] in _BETA_FIELDS:
        message += f": in the GA protocol this is `session.{_BETA_FIELDS[field['field']]}`"
    if param == "session.type":
        message = f"{message}: this server serves sessions of type 'transcription'"
    return _invalid("invalid_value", f"{param}: {message}" if param else message, param, event_id)


def _string(raw: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)
    except _NOT_JSON:
        return None


def _unknown_event(kind: str, event_id: str | None) -> ErrorDetail:
    if kind in _BETA_EVENTS:
        message = f"{kind!r} is an event of the beta protocol, this server speaks GA: {_BETA_EVENTS[kind]}"
        return _invalid("beta_event", message, "type", event_id)
    if kind in _CONVERSATION_EVENTS:
        message = f"{kind!r} is not available in a transcription session"
        return _invalid("unsupported_event", message, "type", event_id)
    return _invalid("unknown_event", f"there is no event {kind[:64]!r}", "type", event_id)
