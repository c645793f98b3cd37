"""What all Realtime sessions have in common, sans-I/O: the protocol's events in, effects out.

A session translates between the protocol and a pipeline, which owns turn-taking. `now` is seconds since the epoch. The
whole state is one serialisable struct.
"""

from abc import ABC, abstractmethod
from typing import Any
from uuid import uuid4

import msgspec

from app.realtime import client_events, events
from app.realtime.audio import BadAudio, InputAudio
from app.realtime.config import LOGPROBS, OPENAI_TRANSCRIBERS, SessionConfig, Transcription
from app.realtime.errors import BadEvent, ErrorDetail, bad_request
from app.realtime.events import ServerEvent
from pipelines import transcribe_events
from pipelines.converse_events import Traced
from pipelines.effects import OnStream, StreamOutput
from pipelines.languages import LANGUAGES, unknown_language
from pipelines.turns import SAMPLE_RATE_HZ

NORMAL_CLOSURE = 1000
TRY_AGAIN_LATER = 1013
INTERNAL_ERROR = 1011


class Send(msgspec.Struct, frozen=True):
    """Send an event to the client."""

    event: ServerEvent


class Close(msgspec.Struct, frozen=True):
    """End the session with a WebSocket close code."""

    code: int
    reason: str


Effect = Send | OnStream | Close | Traced


class Limits(msgspec.Struct, frozen=True):
    """Bounds in seconds on a session's life and on a client's silence."""

    session_max_s: float = 3600.0
    idle_timeout_s: float = 300.0


class SessionState(msgspec.Struct, kw_only=True):
    """All that a session remembers."""

    id: str
    transcriber: str
    """Name under which the recogniser is shown to the client."""
    created_at: float
    heard_at: float
    """When the client last sent anything."""
    sequence: int = 0
    """Events sent so far."""
    items: int = 0
    announced: list[str] = []
    """Items that the client knows and that have no final transcript yet."""
    held: dict[str, str] = {}
    """Text of items that the client does not know yet."""

    def new_item(self) -> str:
        """A name for an item."""
        self.items += 1
        return f"item_{self.id.removeprefix('sess_')}_{self.items}"


def new_id() -> str:
    """An id for a session."""
    return f"sess_{uuid4().hex[:16]}"


class Session(ABC):
    """Rules of every session. Each method returns effects to carry out in order."""

    def __init__(self, state: SessionState, limits: Limits, config: SessionConfig, *, tracks: bool) -> None:
        """With `tracks` audio goes by `hear` and `play`, not in events."""
        self.state = state
        self._limits = limits
        self._tracks = tracks
        self._audio = InputAudio(config.format)

    @property
    @abstractmethod
    def config(self) -> SessionConfig:
        """The configuration in force."""

    @abstractmethod
    def shown(self) -> dict[str, Any]:
        """The session object, as clients see it."""

    @abstractmethod
    def start(self) -> list[Effect]:
        """Reserve the streams and greet the client."""

    @abstractmethod
    def on_output(self, stream: str, output: StreamOutput, now: float) -> list[Effect]:
        """Take what one of the session's streams produced."""

    @abstractmethod
    def handle(self, event: client_events.ClientEvent, now: float) -> list[Effect]:
        """Take an event from the client. Raises BadEvent; then nothing has changed."""

    @abstractmethod
    def hear(self, pcm: bytes, now: float) -> list[Effect]:
        """Take 16 kHz mono int16 audio of the client's track."""

    def play(self) -> tuple[bytes | None, list[Effect]]:
        """The next 20 ms of 24 kHz mono int16 audio for the client's track, None where there is nothing to be heard."""
        return None, []

    def receive(self, message: str | bytes, now: float) -> list[Effect]:
        """Take one message from the client. Bad ones are answered with an `error` event and change nothing."""
        self.state.heard_at = now
        try:
            return self.handle(client_events.decode(message), now)
        except BadEvent as error:
            return [self._send(events.Error(error=error.detail))]

    def next_wakeup(self) -> float:
        """When to call `tick`, seconds since the epoch."""
        return min(self._expires_at, self.state.heard_at + self._limits.idle_timeout_s)

    def tick(self, now: float) -> list[Effect]:
        """Enforce the limits that depend on time."""
        if now >= self._expires_at:
            minutes = self._limits.session_max_s / 60
            return self.end("session_expired", f"a session lasts at most {minutes:g} minutes", NORMAL_CLOSURE)
        if now >= self.state.heard_at + self._limits.idle_timeout_s:
            message = f"no event from the client for {self._limits.idle_timeout_s:g} s"
            return self.end("idle_timeout", message, NORMAL_CLOSURE)
        return []

    def end(self, code: str, message: str, close_code: int = INTERNAL_ERROR) -> list[Effect]:
        """Tell the client why, and close."""
        return [self.fault(code, message), Close(close_code, message)]

    def fault(self, code: str, message: str) -> Send:
        """Tell the client of trouble that is not of its making."""
        return self._send(events.Error(error=ErrorDetail("server_error", code, message)))

    # --- for sessions of every kind ---

    def _decoded(self, event: client_events.AppendAudio) -> bytes:
        if self._tracks:
            raise bad_request("unsupported_event", "audio comes by the call's track", "type", event.event_id)
        try:
            return self._audio.decode(event.audio)
        except BadAudio as error:
            raise bad_request("invalid_audio", f"audio: {error}", "audio", event.event_id) from None

    def _check(self, transcription: Transcription | None, event_id: str | None) -> None:
        """Whether this server has the model and the language. Raises BadEvent."""
        if transcription is None:
            return
        language, model = transcription.language, transcription.model
        if language is not None and language not in LANGUAGES:
            param = "session.audio.input.transcription.language"
            raise bad_request("invalid_value", f"{param}: {unknown_language(language)}", param, event_id)
        if model is not None and model != self.state.transcriber and model not in OPENAI_TRANSCRIBERS:
            param = "session.audio.input.transcription.model"
            known = ", ".join(sorted({self.state.transcriber, *OPENAI_TRANSCRIBERS}))
            message = f"{param}: there is no model {model!r}; choose one of {known}"
            raise bad_request("model_not_found", message, param, event_id)

    def _listened(self, event: transcribe_events.Event) -> list[Effect]:
        """Tell the client what listening found."""
        match event:
            case transcribe_events.SpeechStarted(item, pts):
                self._announce(item)
                return [self._send(events.SpeechStarted(item_id=item, audio_start_ms=_milliseconds(pts)))]
            case transcribe_events.SpeechStopped(item, pts):
                return [self._send(events.SpeechStopped(item_id=item, audio_end_ms=_milliseconds(pts)))]
            case transcribe_events.CommitRefused(reference, buffered_ms):
                message = f"the buffer holds {buffered_ms} ms of audio that no item was made of; 100 ms are needed"
                detail = ErrorDetail(
                    "invalid_request_error", "input_audio_buffer_commit_empty", message, None, reference
                )
                return [self._send(events.Error(error=detail))]
            case transcribe_events.Cleared(item):
                self._forget(item)
                return [self._send(events.AudioCleared())]
            case transcribe_events.Delta(item, text):
                return self._delta(item, text)
            case transcribe_events.Completed():
                return self._completed(event)
            case transcribe_events.Failed(item, code, message):
                return self._failed(item, code, message)
            case transcribe_events.GaveUp(code, message):
                return self.end(code, message, TRY_AGAIN_LATER if code == "server_full" else INTERNAL_ERROR)
        return []

    def _committed(self, item: str, previous: str | None) -> list[Effect]:
        shown = {
            "id": item,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        self._announce(item)
        effects: list[Effect] = [
            self._send(events.AudioCommitted(item_id=item, previous_item_id=previous)),
            self._send(events.ItemAdded(item=shown, previous_item_id=previous)),
            self._send(events.ItemDone(item=shown, previous_item_id=previous)),
        ]
        if item in self.state.held:
            effects.append(self._send(events.TranscriptionDelta(item_id=item, delta=self.state.held.pop(item))))
        return effects

    def _delta(self, item: str, text: str) -> list[Effect]:
        if item not in self.state.announced:
            self.state.held[item] = self.state.held.get(item, "") + text
            return []
        return [self._send(events.TranscriptionDelta(item_id=item, delta=text))]

    def _completed(self, event: transcribe_events.Completed) -> list[Effect]:
        self._forget(event.item)
        if not event.transcribed:
            return []
        finals = [final for _, _, final in event.segments]
        tokens = [token for final in finals for token in final.tokens]
        languages = dict.fromkeys(final.language for final in finals if final.language)
        completed = events.TranscriptionCompleted(
            item_id=event.item,
            transcript=event.text,
            usage={"type": "duration", "seconds": event.seconds},
            logprobs=[_logprob(*token) for token in tokens] if LOGPROBS in self.config.include else None,
            languages=[{"code": language} for language in languages] or None,
        )
        return [self._send(completed)]

    def _failed(self, item: str, code: str, message: str) -> list[Effect]:
        announced = item in self.state.announced
        self._forget(item)
        if not announced:
            return [self.fault(code, f"buffered audio was lost: {message}")]
        error = {"type": "server_error", "code": code, "message": message, "param": None}
        return [self._send(events.TranscriptionFailed(item_id=item, error=error))]

    # --- small things ---

    def _announce(self, item: str) -> None:
        if item not in self.state.announced:
            self.state.announced.append(item)

    def _forget(self, item: str | None) -> None:
        if item in self.state.announced:
            self.state.announced.remove(item)
        if item is not None:
            self.state.held.pop(item, None)

    def _send(self, event: ServerEvent) -> Send:
        self.state.sequence += 1
        event.event_id = f"event_{self.state.id.removeprefix('sess_')}_{self.state.sequence}"
        return Send(event)

    @property
    def _expires_at(self) -> float:
        return self.state.created_at + self._limits.session_max_s


def _milliseconds(samples: int) -> int:
    return samples * 1_000 // SAMPLE_RATE_HZ


def _logprob(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
