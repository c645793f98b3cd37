"""What clients send: the events of the Realtime protocol, typed, and their decoding."""

import re
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.realtime.config import TranscriptionUpdate
from app.realtime.conversation_config import RealtimeUpdate
from app.realtime.errors import MAX_EVENT_ID, BadEvent, ErrorDetail
from app.realtime.items import ItemRequest
from app.realtime.response_config import ResponseRequest

ItemId = Annotated[str, Meta(min_length=1, max_length=64)]


class _ClientEvent(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="type"):
    event_id: Annotated[str, Meta(max_length=MAX_EVENT_ID)] | None = None


class UpdateSession(_ClientEvent, frozen=True, tag="session.update", kw_only=True):
    """Change the session's configuration."""

    session: TranscriptionUpdate | RealtimeUpdate


class AppendAudio(_ClientEvent, frozen=True, tag="input_audio_buffer.append", kw_only=True):
    """Add audio in the session's input format, base64."""

    audio: str


class CommitAudio(_ClientEvent, frozen=True, tag="input_audio_buffer.commit"):
    """Make an item of the buffered audio."""


class ClearAudio(_ClientEvent, frozen=True, tag="input_audio_buffer.clear"):
    """Forget the buffered audio."""


class ClearOutput(_ClientEvent, frozen=True, tag="output_audio_buffer.clear"):
    """Stop playback, where the transport owns it."""


class CreateItem(_ClientEvent, frozen=True, tag="conversation.item.create", kw_only=True):
    """Add an item to the conversation."""

    item: ItemRequest
    previous_item_id: ItemId | None = None


class DeleteItem(_ClientEvent, frozen=True, tag="conversation.item.delete", kw_only=True):
    """Take an item out of the conversation."""

    item_id: ItemId


class RetrieveItem(_ClientEvent, frozen=True, tag="conversation.item.retrieve", kw_only=True):
    """Ask for an item as the server knows it."""

    item_id: ItemId


class TruncateItem(_ClientEvent, frozen=True, tag="conversation.item.truncate", kw_only=True):
    """Cut a spoken item to what was heard."""

    item_id: ItemId
    content_index: Annotated[int, Meta(ge=0)]
    audio_end_ms: Annotated[int, Meta(ge=0)]


class CreateResponse(_ClientEvent, frozen=True, tag="response.create", kw_only=True):
    """Have the model reply."""

    response: ResponseRequest | None | UnsetType = UNSET


class CancelResponse(_ClientEvent, frozen=True, tag="response.cancel"):
    """Stop a reply."""

    response_id: ItemId | None = None


ClientEvent = (
    UpdateSession
    | AppendAudio
    | CommitAudio
    | ClearAudio
    | ClearOutput
    | CreateItem
    | DeleteItem
    | RetrieveItem
    | TruncateItem
    | CreateResponse
    | CancelResponse
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


class _Outline(msgspec.Struct):
    """What an event says of itself, whatever else is wrong with it."""

    type: msgspec.Raw = msgspec.Raw()
    event_id: msgspec.Raw = msgspec.Raw()
    session: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(ClientEvent)
_outline_decoder = msgspec.json.Decoder(_Outline)
_NOT_JSON = (msgspec.DecodeError, UnicodeError, RecursionError)
_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<field>[^`]*)`")
_MISSING_FIELD = re.compile(r"missing required field `(?P<field>[^`]*)`")
_PATH = re.compile(r" - at (?:`key` in )?`\$\.?(?P<path>[^`]*)`$")


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
    beta = _beta_field(outline.session) if path == "session" else None
    if beta is not None:
        param = f"session.{beta}"
        message = f"unknown field: in the GA protocol this is `session.{_BETA_FIELDS[beta]}`"
    return _invalid("invalid_value", f"{param}: {message}" if param else message, param, event_id)


def _beta_field(session: msgspec.Raw) -> str | None:
    """A field that the session object had before the GA protocol."""
    try:
        fields = msgspec.json.decode(session, type=dict[str, msgspec.Raw])
    except _NOT_JSON:
        return None
    return next((field for field in fields if field in _BETA_FIELDS), None)


def _string(raw: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)
    except _NOT_JSON:
        return None


def _unknown_event(kind: str, event_id: str | None) -> ErrorDetail:
    if kind in _BETA_EVENTS:
        message = f"{kind!r} is an event of the beta protocol, this server speaks GA: {_BETA_EVENTS[kind]}"
        return _invalid("beta_event", message, "type", event_id)
    return _invalid("unknown_event", f"there is no event {kind[:64]!r}", "type", event_id)
