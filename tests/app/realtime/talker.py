"""A Realtime client that converses, and scripted streams on the other side of its session.

Every event that the session sends is held against the official SDK's types, and so is what the client means to be
valid.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from app.realtime.config import Pcm
from app.realtime.conversation_session import ConversationSession, ConversationState, new_conversation
from app.realtime.session import Close, Effect, Limits, Send
from pipelines.converse_events import Traced
from pipelines.effects import OnStream, Push
from tests.app.realtime.client import BEGAN, CLIENT_EVENT, MODEL, SERVER_EVENT, Event
from tests.pipelines.listen import Script, Utterance
from tests.pipelines.speak import Speak, Voice
from tests.pipelines.streams import Streams
from tests.pipelines.think import Brain, Think

CHUNK_S = 0.02


class Talker:
    """One session; time is that of the audio sent, and `wait`. Methods that send return the events that came of it."""

    def __init__(
        self,
        *utterances: Utterance,
        brain: Brain | None = None,
        voice: Voice | None = None,
        moving: bool = False,
        **script: Any,
    ) -> None:
        script.setdefault("finished", lambda pts: 1.0)
        self.streams = Streams(replace(Script(utterances), **script), brain or Brain(), voice or Voice())
        self.moving = moving
        self.now = BEGAN
        self.heard = 0
        self.events: list[Event] = []
        self.traces: list[Traced] = []
        self.closed: Close | None = None
        state = new_conversation("gpt-realtime", MODEL, BEGAN)
        state.id = "sess_story"
        self.session = ConversationSession(state, Limits())
        self.perform(self.session.start())

    # --- what the client does ---

    def send(self, kind: str, **fields: Any) -> list[Event]:
        """Send an event that the SDK takes for valid."""
        message = json.dumps({"type": kind, **fields})
        CLIENT_EVENT.validate_json(message, strict=True)
        return self.raw(message)

    def raw(self, message: str | bytes) -> list[Event]:
        """Send whatever."""
        before = len(self.events)
        self._move()
        self.perform(self.session.receive(message, self.now))
        self.run()
        return self.events[before:]

    def update(self, **session: Any) -> Event:
        """Change the session; returns it as it is then."""
        (updated,) = self.send("session.update", session={"type": "realtime", **session})
        assert updated["type"] == "session.updated", updated
        shown: Event = updated["session"]
        return shown

    def listen(self, **audio_input: Any) -> Event:
        """Change how the session listens."""
        return self.update(audio={"input": audio_input})

    def manual(self, **session: Any) -> "Talker":
        """Take turns into the client's hands."""
        self.update(audio={"input": {"turn_detection": None}, **session.pop("audio", {})}, **session)
        return self

    def speak(self, seconds: float) -> list[Event]:
        """Append audio in the session's format as it is spoken."""
        before = len(self.events)
        audio_format = self.session.config.format
        rate, silence = (24_000, b"\0\0") if isinstance(audio_format, Pcm) else (8_000, b"\xd5")
        for _ in range(round(seconds / CHUNK_S)):
            self.now += CHUNK_S
            self.send("input_audio_buffer.append", audio=b64encode(silence * round(rate * CHUNK_S)).decode())
        return self.events[before:]

    def say(self, text: str = "Hello?", role: str = "user", **fields: Any) -> list[Event]:
        """Add a typed message."""
        kind = "output_text" if role == "assistant" else "input_text"
        item = {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **fields}
        return self.send("conversation.item.create", item=item)

    def respond(self, **response: Any) -> list[Event]:
        """Ask for a reply."""
        return self.send("response.create", **({"response": response} if response else {}))

    def wait(self, seconds: float) -> list[Event]:
        """Time passes."""
        before = len(self.events)
        for _ in range(round(seconds / CHUNK_S)):
            self.now += CHUNK_S
            self.run()
        return self.events[before:]

    def lose(self, name: str, kind: str = "lost") -> list[Event]:
        """A stream ends of itself."""
        before = len(self.events)
        self.perform(self.session.on_output(name, self.streams.lose(name, kind), self.now))
        self.run()
        return self.events[before:]

    # --- the machinery ---

    def _move(self) -> None:
        """If `moving`, another gateway takes the session over. What resamplers hold is not part of its state."""
        if not self.moving:
            return
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.session.state), type=ConversationState)
        moved = ConversationSession(state, Limits())
        moved._audio, moved._outputs = self.session._audio, self.session._outputs
        self.session = moved

    def run(self) -> None:
        """Give the session what is due, until nothing is."""
        while not self.closed and (due := self.streams.pull(self.now)):
            self._move()
            self.perform(self.session.on_output(*due, self.now))

    def perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            assert self.closed is None
            match effect:
                case Send(event):
                    message = msgspec.json.encode(event)
                    SERVER_EVENT.validate_json(message, strict=True)
                    self.events.append(json.loads(message))
                    assert event.event_id == f"event_story_{len(self.events)}"
                case OnStream(_, action):
                    self.heard += len(action.data) // 2 if effect.stream == "listen" and isinstance(action, Push) else 0
                    self.streams.act(effect, self.now, self.heard)
                case Traced():
                    self.traces.append(effect)
                case Close():
                    self.closed = effect

    # --- what came of it ---

    @property
    def state(self) -> ConversationState:
        return self.session.state

    def told(self, kind: str) -> list[Event]:
        """Events of one type so far."""
        return [event for event in self.events if event["type"] == kind]

    def kinds(self) -> list[str]:
        """Types of the events so far; the same one after another count once."""
        kinds = [event["type"] for event in self.events]
        return [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind != before]

    def done(self, number: int = -1) -> Event:
        """A response that is over."""
        response: Event = self.told("response.done")[number]["response"]
        return response

    def audio(self, response: str) -> bytes:
        """All audio of a response, in its format."""
        deltas = self.told("response.output_audio.delta")
        return b"".join(b64decode(event["delta"]) for event in deltas if event["response_id"] == response)

    def requests(self) -> list[dict[str, Any]]:
        """What language models were asked, in the order of streams."""
        thinkers = [stream for _, stream in self.streams.opened if isinstance(stream, Think)]
        return [request for stream in thinkers for request in stream.requests]

    def prompts(self) -> list[list[dict[str, Any]]]:
        """The messages of that."""
        return [request["messages"] for request in self.requests()]

    def speakers(self) -> list[Speak]:
        """Every stream to the speaker that was ever open."""
        return [stream for _, stream in self.streams.opened if isinstance(stream, Speak)]
