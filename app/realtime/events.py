"""What the server sends: the events of the Realtime protocol, typed."""

from typing import Any

import msgspec

from app.realtime.errors import ErrorDetail


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


class Error(ServerEvent, tag="error"):
    """Something went wrong; the session goes on."""

    error: ErrorDetail


class ItemDeleted(ServerEvent, tag="conversation.item.deleted"):
    """The item is no longer part of the conversation."""

    item_id: str


class ItemRetrieved(ServerEvent, tag="conversation.item.retrieved"):
    """The item as the server knows it, without its audio."""

    item: dict[str, Any]


class ItemTruncated(ServerEvent, tag="conversation.item.truncated"):
    """The item ends at `audio_end_ms`; what was said after that is forgotten."""

    item_id: str
    content_index: int
    audio_end_ms: int


class OutputAudioStarted(ServerEvent, tag="output_audio_buffer.started"):
    """The response begins to be heard. Only where the server plays."""

    response_id: str


class OutputAudioStopped(ServerEvent, tag="output_audio_buffer.stopped"):
    """The response was heard to its end. Only where the server plays."""

    response_id: str


class OutputAudioCleared(ServerEvent, tag="output_audio_buffer.cleared"):
    """The rest of the response will not be heard. Only where the server plays."""

    response_id: str


class ResponseCreated(ServerEvent, tag="response.created"):
    """A response is in progress."""

    response: dict[str, Any]


class ResponseDone(ServerEvent, tag="response.done"):
    """The response is over: `status` tells how."""

    response: dict[str, Any]


class RateLimitsUpdated(ServerEvent, tag="rate_limits.updated"):
    """Limits on requests and tokens."""

    rate_limits: list[dict[str, Any]]


class _OfResponse(ServerEvent, kw_only=True):
    response_id: str
    output_index: int


class OutputItemAdded(_OfResponse, kw_only=True, tag="response.output_item.added"):
    """The response has a new item."""

    item: dict[str, Any]


class OutputItemDone(_OfResponse, kw_only=True, tag="response.output_item.done"):
    """The item is complete, or remains incomplete."""

    item: dict[str, Any]


class _OfPart(_OfResponse, kw_only=True):
    item_id: str
    content_index: int = 0


class ContentPartAdded(_OfPart, kw_only=True, tag="response.content_part.added"):
    """The message has content."""

    part: dict[str, Any]


class ContentPartDone(_OfPart, kw_only=True, tag="response.content_part.done"):
    """The content is complete, or remains incomplete."""

    part: dict[str, Any]


class TextDelta(_OfPart, kw_only=True, tag="response.output_text.delta"):
    """Text to append."""

    delta: str


class TextDone(_OfPart, kw_only=True, tag="response.output_text.done"):
    """The whole text."""

    text: str


class AudioDelta(_OfPart, kw_only=True, tag="response.output_audio.delta"):
    """Audio to append, base64, in the response's output format."""

    delta: str


class AudioDone(_OfPart, kw_only=True, tag="response.output_audio.done"):
    """All audio was sent."""


class AudioTranscriptDelta(_OfPart, kw_only=True, tag="response.output_audio_transcript.delta"):
    """What the audio that follows says."""

    delta: str


class AudioTranscriptDone(_OfPart, kw_only=True, tag="response.output_audio_transcript.done"):
    """What the whole audio says."""

    transcript: str


class CallArgumentsDelta(_OfResponse, kw_only=True, tag="response.function_call_arguments.delta"):
    """JSON to append to a function call's arguments."""

    item_id: str
    call_id: str
    delta: str


class CallArgumentsDone(_OfResponse, kw_only=True, tag="response.function_call_arguments.done"):
    """The whole arguments."""

    item_id: str
    call_id: str
    name: str
    arguments: str
