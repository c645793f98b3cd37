"""How sessions begin: by what a client asks for when it connects."""

import time
from dataclasses import dataclass

import msgspec

from app.realtime import client_events
from app.realtime.config import TranscriptionUpdate
from app.realtime.conversation_config import RealtimeUpdate
from app.realtime.conversation_session import ConversationSession, new_conversation
from app.realtime.session import Limits, Session
from app.realtime.transcription_session import TranscriptionSession, new_transcription
from app.settings import Settings

DEFAULT_MODEL = "millstream"
MAX_MODEL_NAME = 128


@dataclass(frozen=True)
class Wish:
    """What a session is to be. `update` is the session object of the protocol, where it is given beforehand."""

    model: str = DEFAULT_MODEL
    transcription: bool = False
    update: TranscriptionUpdate | RealtimeUpdate | None = None


def read_wish(session: bytes, model: str = DEFAULT_MODEL) -> Wish:
    """What a session object asks for. Raises BadEvent, which names the field."""
    try:
        msgspec.json.decode(session)
    except msgspec.DecodeError:
        session = b"null"
    event = client_events.decode(b'{"type":"session.update","session":' + session + b"}")
    assert isinstance(event, client_events.UpdateSession)
    update = event.session
    if isinstance(update, RealtimeUpdate) and isinstance(update.model, str):
        model = update.model
    return Wish(model, isinstance(update, TranscriptionUpdate), update)


def open_session(wish: Wish, settings: Settings, *, tracks: bool) -> Session:
    """A session that begins now. Raises BadEvent if it cannot be what is wished for."""
    return _transcription(wish, settings, tracks) if wish.transcription else _conversation(wish, settings, tracks)


def _transcription(wish: Wish, settings: Settings, tracks: bool) -> Session:
    state = new_transcription(settings.transcriber, time.time())
    session = TranscriptionSession(state, _limits(settings), tracks=tracks)
    if not isinstance(wish.update, TranscriptionUpdate):
        return session
    state = new_transcription(settings.transcriber, time.time(), session.changed(wish.update))
    return TranscriptionSession(state, _limits(settings), tracks=tracks)


def _conversation(wish: Wish, settings: Settings, tracks: bool) -> Session:
    model = wish.model[:MAX_MODEL_NAME]
    state = new_conversation(model, settings.transcriber, time.time())
    session = ConversationSession(state, _limits(settings), tracks=tracks)
    if not isinstance(wish.update, RealtimeUpdate):
        return session
    state = new_conversation(model, settings.transcriber, time.time(), session.changed(wish.update))
    return ConversationSession(state, _limits(settings), tracks=tracks)


def _limits(settings: Settings) -> Limits:
    return Limits(settings.session_max_s, settings.idle_timeout_s)
