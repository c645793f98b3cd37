"""A session that transcribes speech and does nothing else."""

from collections.abc import Iterable

from app.realtime import client_events, events
from app.realtime.audio import InputAudio
from app.realtime.config import SessionConfig, TranscriptionUpdate
from app.realtime.errors import bad_request
from app.realtime.session import Effect, Limits, Session, SessionState, new_id
from pipelines import transcribe_events
from pipelines.effects import OnStream, OpenStream, Push, StreamOutput
from pipelines.transcribe import SERVICE, Transcribe
from pipelines.transcribe_state import TranscribeState


class TranscriptionState(SessionState, kw_only=True):
    """All that a transcription session remembers."""

    pipeline: TranscribeState
    config: SessionConfig = SessionConfig()
    last_item: str | None = None


def new_transcription(transcriber: str, now: float, config: SessionConfig | None = None) -> TranscriptionState:
    """The state of a session that begins now."""
    config = config or SessionConfig()
    return TranscriptionState(
        id=new_id(),
        transcriber=transcriber,
        created_at=now,
        heard_at=now,
        pipeline=TranscribeState(config.pipeline()),
        config=config,
    )


class TranscriptionSession(Session):
    """Rules of a transcription session."""

    state: TranscriptionState

    def __init__(self, state: TranscriptionState, limits: Limits, *, tracks: bool = False) -> None:
        super().__init__(state, limits, state.config, tracks=tracks)
        self._pipeline = Transcribe(state.pipeline, state.new_item)

    @property
    def config(self) -> SessionConfig:
        return self.state.config

    def start(self) -> list[Effect]:
        created = events.SessionCreated(session=self.shown())
        return [*self._carry_out(self._pipeline.start()), self._send(created)]

    def on_output(self, stream: str, output: StreamOutput, now: float) -> list[Effect]:
        return self._carry_out(self._pipeline.on_output(output))

    def hear(self, pcm: bytes, now: float) -> list[Effect]:
        self.state.heard_at = now
        return self._carry_out(self._pipeline.audio(pcm))

    def handle(self, event: client_events.ClientEvent, now: float) -> list[Effect]:
        match event:
            case client_events.AppendAudio():
                return self._carry_out(self._pipeline.audio(self._decoded(event)))
            case client_events.CommitAudio(event_id=event_id):
                tail = self._pipeline.audio(self._audio.flush())
                return self._carry_out([*tail, *self._pipeline.commit(event_id)])
            case client_events.ClearAudio():
                self._audio.flush()
                return self._carry_out(self._pipeline.clear())
            case client_events.UpdateSession(session=TranscriptionUpdate() as update):
                return self._update(update, event.event_id)
            case client_events.UpdateSession():
                message = "session.type: this is a transcription session; connect without ?intent to converse"
                raise bad_request("invalid_value", message, "session.type", event.event_id)
        kind = event.__struct_config__.tag
        message = f"{kind!r} is not available in a transcription session"
        raise bad_request("unsupported_event", message, "type", event.event_id)

    def changed(self, update: TranscriptionUpdate, event_id: str | None = None) -> SessionConfig:
        """The configuration that an update asks for. Raises BadEvent."""
        config = self.state.config.updated(update)
        self._check(config.transcription, event_id)
        return config

    def _update(self, update: TranscriptionUpdate, event_id: str | None) -> list[Effect]:
        config = self.changed(update, event_id)
        tail: list[Effect] = []
        if config.format != self.state.config.format:
            tail = self._carry_out(self._pipeline.audio(self._audio.flush()))
            self._audio = InputAudio(config.format)
        self.state.config = config
        changed = self._carry_out(self._pipeline.configure(config.pipeline()))
        return [*tail, *changed, self._send(events.SessionUpdated(session=self.shown()))]

    def _carry_out(self, effects: Iterable[transcribe_events.Effect]) -> list[Effect]:
        carried: list[Effect] = []
        for effect in effects:
            match effect:
                case OpenStream() | Push():
                    carried.append(OnStream(SERVICE, effect))
                case transcribe_events.Committed(item):
                    previous, self.state.last_item = self.state.last_item, item
                    carried += self._committed(item, previous)
                case _:
                    carried += self._listened(effect)
        self.state.pipeline = self._pipeline.state
        return carried

    def shown(self) -> dict[str, object]:
        return self.config.shown(self.state.id, self.state.transcriber, int(self._expires_at))
