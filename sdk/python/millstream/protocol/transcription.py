"""Transcription over the Realtime protocol."""

import json
import time
from collections.abc import Callable
from typing import Any

from millstream.errors import Dropped, error_of
from millstream.events import Event, Reconnected
from millstream.protocol.base import Message, Protocol
from millstream.protocol.ear import COMMIT_EMPTY, Ear

END_MARK = "end"
"""`event_id` of a commit that can only be refused, since the buffer was just committed: the refusal marks the end."""
SLOWED_DOWN = "rate_limit_exceeded"
"""The server reads more slowly for a while; nothing is lost, and sending waits."""
IDLE = "idle_timeout"


class TranscriptionProtocol(Protocol[Event]):
    """`audio_input` is `session.audio.input`."""

    path = "/v1/realtime?intent=transcription"

    def __init__(
        self, audio_input: dict[str, Any], keep_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._audio_input: dict[str, Any] = {}
        self._ear = Ear(keep_s, clock)
        self._begun = self._ending = self._all_committed = False
        self._choose(audio_input)

    def begin(self) -> None:
        self._configure(self._audio_input)

    def update(self, audio_input: dict[str, Any]) -> None:
        """Change `session.audio.input`."""
        self._choose(audio_input)
        self._configure(audio_input)

    def append(self, pcm: bytes) -> None:
        """Say 24 kHz mono little-endian int16 audio."""
        events = self._ear.append(pcm)
        if self.ready:
            self._say(*events)

    def finish(self) -> None:
        """No more audio comes."""
        self._ending = True
        if self.ready:
            self._say(*self._ear.end(END_MARK))

    def receive(self, message: Message) -> None:
        event = json.loads(message)
        heard = self._ear.take(event)
        if heard is not None:
            self.events.append(heard)
        elif event["type"] == "session.updated" and not self.ready:
            self._agreed()
        elif event["type"] == "error":
            self._error(event["error"])
        self.finished = self._all_committed and not self._ear.waiting

    def drop(self) -> None:
        super().drop()
        self.events.extend(self._ear.drop())
        self._all_committed = False

    def _choose(self, audio_input: dict[str, Any]) -> None:
        self._audio_input |= audio_input
        self._ear.choose(self._audio_input)

    def _configure(self, audio_input: dict[str, Any]) -> None:
        session = {"type": "transcription", "audio": {"input": audio_input}}
        self._say({"type": "session.update", "session": session})

    def _agreed(self) -> None:
        """The server serves the session; if not the first one, it is told what the others left undone."""
        self.ready = self.proven = True
        lost_s = self._ear.rewind()
        if self._begun:
            self.events.append(Reconnected(lost_s))
            self._say(*self._ear.replay())
            if self._ending:
                self._say(*self._ear.end(END_MARK))
        self._begun = True

    def _error(self, error: dict[str, Any]) -> None:
        if error["code"] == COMMIT_EMPTY:
            self._all_committed = error["event_id"] == END_MARK
        elif error["type"] == "server_error" and error["code"] not in (SLOWED_DOWN, IDLE):
            raise Dropped(error["message"], error["code"], error["param"])
        elif error["code"] != SLOWED_DOWN:
            raise error_of(error)
