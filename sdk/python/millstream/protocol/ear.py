"""What goes to a server's ear and what it heard, the same in transcriptions and conversations."""

import base64
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from millstream.events import Committed, Final, Heard, Partial, SpeechStarted, SpeechStopped, TranscriptFailed
from millstream.protocol.tape import Tape

RATE_HZ = 24_000
BYTES_PER_MS = 48
BYTES_PER_S = 48_000
MAX_APPEND_BYTES = 8 * 2**20
UNHEARD_S = 10.0
"""A server that keeps up has listened to all but the last seconds: if it has told of no speech, it was silence."""
COMMIT = "input_audio_buffer.commit"
COMMIT_EMPTY = "input_audio_buffer_commit_empty"
CONNECTION_LOST = "connection_lost"
_TRANSCRIPTION = "conversation.item.input_audio_transcription."


class Ear:
    """The audio of a session and the items that a server makes of it.

    Audio that has no transcript yet is kept, up to `keep_s` seconds, for `replay` over another connection.
    """

    def __init__(self, keep_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._detecting = self._transcribing = True
        self._clock = clock
        self._tape = Tape(round(keep_s * BYTES_PER_S))
        self._items: dict[str, int | None] = {}
        """Items that have no transcript yet, in order, and where their audio ends."""
        self._commits: deque[int] = deque()
        """Where the client committed, as far as it was not answered."""
        self._origin = 0
        """Position at which the connection began."""
        self._began_at = clock()
        self._listening = False
        """Whether there is a connection."""

    @property
    def waiting(self) -> bool:
        """Whether there are items without a transcript."""
        return bool(self._items)

    def choose(self, audio_input: dict[str, Any]) -> None:
        """The server listens as `session.audio.input` says."""
        self._detecting = audio_input.get("turn_detection", True) is not None
        self._transcribing = audio_input.get("transcription", True) is not None

    def append(self, pcm: bytes) -> Iterator[dict[str, Any]]:
        """The events that carry 24 kHz mono little-endian int16 audio."""
        self._tape.add(pcm)
        if self._listening and self._detecting and not self._items and not self._commits:
            listened_s = max(0.0, self._clock() - self._began_at - UNHEARD_S)
            self._tape.cover(self._origin + round(listened_s * 1_000) * BYTES_PER_MS)
        return _appends(pcm)

    def commit(self, *then: dict[str, Any]) -> list[dict[str, Any]]:
        """The events that make an item of the audio so far, and those that follow; `replay` will have them too."""
        events = [{"type": COMMIT}, *then]
        for event in events:
            self._tape.mark(event)
        return [self._sent(event, self._tape.ends) for event in events]

    def end(self, mark: str) -> list[dict[str, Any]]:
        """The events that make an item of the last audio, and one whose refusal marks the end: its id is `mark`."""
        last = self._sent({"type": COMMIT}, self._tape.ends)
        return [last, {"type": COMMIT, "event_id": mark}]

    def take(self, message: dict[str, Any]) -> Heard | None:
        """What an event of the protocol says of the input audio; None if it says nothing."""
        kind = message["type"].removeprefix(_TRANSCRIPTION)
        match kind:
            case "input_audio_buffer.speech_started":
                position = self._position(message["audio_start_ms"])
                if not self._items:
                    self._tape.cover(position)
                self._items[message["item_id"]] = None
                return SpeechStarted(message["item_id"], position / BYTES_PER_S)
            case "input_audio_buffer.speech_stopped":
                position = self._position(message["audio_end_ms"])
                self._items[message["item_id"]] = position
                return SpeechStopped(message["item_id"], position / BYTES_PER_S)
            case "input_audio_buffer.committed":
                return self._committed(message["item_id"])
            case "delta":
                return Partial(message["item_id"], message["delta"])
            case "completed" | "failed":
                self._settle(message["item_id"])
                return _transcript(message) if kind == "completed" else _failure(message)
        return None

    def refused_commit(self) -> None:
        """There was too little audio to make an item of."""
        if self._commits:
            self._commits.popleft()

    def drop(self) -> list[TranscriptFailed]:
        """The connection is gone, and with it items whose audio will be heard again under other names."""
        lost = [TranscriptFailed(item, CONNECTION_LOST, "the connection was lost") for item in self._items]
        self._items.clear()
        self._commits.clear()
        self._listening = False
        return lost

    def rewind(self) -> float:
        """A new connection begins. Returns how many seconds of audio are lost."""
        lost_s = self._tape.rewind() / BYTES_PER_S
        self._origin, self._began_at, self._listening = self._tape.begins, self._clock(), True
        return lost_s

    def replay(self) -> Iterator[dict[str, Any]]:
        """The events that tell a new connection what was not transcribed yet."""
        position = self._origin
        for part in self._tape.parts():
            if isinstance(part, bytes):
                position += len(part)
                yield from _appends(part)
            else:
                yield self._sent(part, position)

    def _sent(self, event: dict[str, Any], position: int) -> dict[str, Any]:
        if event["type"] == COMMIT:
            self._commits.append(position)
        return event

    def _committed(self, item: str) -> Committed:
        if self._items.get(item) is None:
            self._items[item] = self._commits.popleft() if self._commits else None
        if not self._transcribing:
            self._settle(item)
        return Committed(item)

    def _settle(self, item: str) -> None:
        end = self._items.pop(item, None)
        if end is not None:
            self._tape.cover(end)

    def _position(self, at_ms: int) -> int:
        return self._origin + at_ms * BYTES_PER_MS


def _appends(pcm: bytes) -> Iterator[dict[str, Any]]:
    for start in range(0, len(pcm), MAX_APPEND_BYTES):
        audio = base64.b64encode(pcm[start : start + MAX_APPEND_BYTES]).decode()
        yield {"type": "input_audio_buffer.append", "audio": audio}


def _transcript(message: dict[str, Any]) -> Final:
    languages = message.get("languages") or [{"code": None}]
    return Final(message["item_id"], message["transcript"], message["usage"]["seconds"], languages[0]["code"])


def _failure(message: dict[str, Any]) -> TranscriptFailed:
    return TranscriptFailed(message["item_id"], message["error"]["code"], message["error"]["message"])
