"""A Realtime client and a scripted `listen` stream on either side of a session.

Every event that the session sends is held against the official SDK's types, and so is what the client means to be
valid.
"""

import json
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import TypeAdapter

from app.realtime.config import Pcm
from app.realtime.session import Close, Effect, Limits, Send
from app.realtime.transcription_session import TranscriptionSession, TranscriptionState, new_transcription
from pipelines.effects import OnStream, OpenStream, Push, StreamOutput
from tests.pipelines.listen import CHUNK_S, Listen, Script, Utterance

MODEL = "whisper-base"
BEGAN = 1_700_000_000.0
LIMITS = Limits()
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
CLIENT_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)

Event = dict[str, Any]


class Client:
    """One session; `now` only moves when told to. Methods that send return the events that came of it."""

    def __init__(self, *utterances: Utterance, limits: Limits = LIMITS, **script: Any) -> None:
        self.script = replace(Script(utterances), **script)
        self.limits = limits
        self.now = BEGAN
        self.events: list[Event] = []
        self.pushes: list[Push] = []
        self.streams: list[Listen] = []
        self.closed: Close | None = None
        self.heard = 0
        state = new_transcription(MODEL, BEGAN)
        state.id = "sess_story"
        self.session = TranscriptionSession(state, limits)
        self.perform(self.session.start())

    @property
    def stream(self) -> Listen:
        return self.streams[-1]

    @property
    def state(self) -> TranscriptionState:
        return self.session.state

    def send(self, kind: str, **fields: Any) -> list[Event]:
        """Send an event that the SDK takes for valid."""
        message = json.dumps({"type": kind, **fields})
        CLIENT_EVENT.validate_json(message, strict=True)
        return self.raw(message)

    def raw(self, message: str | bytes) -> list[Event]:
        """Send whatever."""
        before = len(self.events)
        self.perform(self.session.receive(message, self.now))
        self.listen()
        return self.events[before:]

    def update(self, include: list[str] | None = None, event_id: str | None = None, **audio_input: Any) -> list[Event]:
        session: dict[str, Any] = {"type": "transcription", "audio": {"input": audio_input}}
        if include is not None:
            session["include"] = include
        return self.send("session.update", session=session, **({"event_id": event_id} if event_id else {}))

    def speak(self, seconds: float, chunk_s: float = CHUNK_S) -> list[Event]:
        """Append audio in the session's format, in chunks."""
        audio_format = self.state.config.format
        rate, width = (24_000, 2) if isinstance(audio_format, Pcm) else (8_000, 1)
        silence = {1: b"\xd5", 2: b"\0\0"}[width]
        before, left = len(self.events), round(seconds * rate)
        while left:
            chunk = min(left, round(chunk_s * rate))
            left -= chunk
            self.append(silence * chunk)
        return self.events[before:]

    def append(self, audio: bytes) -> list[Event]:
        return self.send("input_audio_buffer.append", audio=b64encode(audio).decode())

    def commit(self, **fields: Any) -> list[Event]:
        return self.send("input_audio_buffer.commit", **fields)

    def clear(self, **fields: Any) -> list[Event]:
        return self.send("input_audio_buffer.clear", **fields)

    def lose(self) -> list[Event]:
        """The stream's worker dies."""
        before = len(self.events)
        lost = StreamOutput("lost", meta={"code": "worker_lost", "message": "gone"})
        self.perform(self.session.on_output("listen", lost, self.now))
        return self.events[before:]

    def tick(self, seconds: float) -> list[Event]:
        """Time passes."""
        before = len(self.events)
        self.now += seconds
        self.perform(self.session.tick(self.now))
        return self.events[before:]

    def settle(self) -> list[Event]:
        """Whatever lags catches up."""
        before = len(self.events)
        self.listen(settle=True)
        return self.events[before:]

    def move(self) -> None:
        """Another gateway takes the session over from its serialised state. The resampler is not part of it."""
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.state), type=TranscriptionState)
        moved = TranscriptionSession(state, self.limits)
        moved._audio = self.session._audio
        self.session = moved

    def told(self, kind: str) -> list[Event]:
        """Events of one type so far."""
        return [event for event in self.events if event["type"] == kind]

    def transcripts(self) -> list[str]:
        return [event["transcript"] for event in self.told("conversation.item.input_audio_transcription.completed")]

    def deltas(self, item: str) -> str:
        deltas = self.told("conversation.item.input_audio_transcription.delta")
        return "".join(event["delta"] for event in deltas if event["item_id"] == item)

    def kinds(self) -> list[str]:
        """Types of the events so far, deltas left out."""
        return [event["type"] for event in self.events if not event["type"].endswith(".delta")]

    def listen(self, *, settle: bool = False) -> None:
        while not self.closed and (output := self.stream.pull(settle=settle)) is not None:
            self.perform(self.session.on_output("listen", output, self.now))

    def perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            assert self.closed is None
            match effect:
                case Send(event):
                    message = msgspec.json.encode(event)
                    SERVER_EVENT.validate_json(message, strict=True)
                    self.events.append(json.loads(message))
                    assert event.event_id == f"event_story_{len(self.events)}"
                case OnStream("listen", OpenStream()):
                    self.streams.append(Listen(self.script, self.heard))
                case OnStream("listen", Push() as push):
                    self.heard += len(push.data) // 2
                    self.pushes.append(push)
                    self.stream.push(push)
                case Close():
                    self.closed = effect
