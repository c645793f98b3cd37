"""Live transcription over the Realtime protocol."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from millstream.audio_input import appends, heard
from millstream.connection import Connection, ServerError, connected
from millstream.events import Event, Final, SpeechStarted, TranscriptFailed

_END_MARK = "end"
"""`event_id` of a commit that can only be refused, since the buffer was just committed: the refusal marks the end."""
_COMMIT_EMPTY = "input_audio_buffer_commit_empty"
_SLOWED_DOWN = "rate_limit_exceeded"
"""The server reads more slowly for a while; nothing is lost, and `send` waits."""

DELAYS = {0: "minimal", 80: "low", 480: "medium", 1040: "high"}
"""The protocol's names of look-aheads in milliseconds."""


class Transcription:
    """A live transcription: send audio, iterate over events. Both may happen at once, in different tasks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._unfinished: set[str] = set()
        self._all_committed = False

    async def send(self, pcm: bytes) -> None:
        """Send 24 kHz mono little-endian int16 audio. Waits while the server takes no more."""
        for event in appends(pcm):
            await self._connection.send(event)

    async def finish(self) -> None:
        """Say that no more audio comes; iteration ends when every transcript has arrived."""
        await self._connection.send({"type": "input_audio_buffer.commit"})
        await self._connection.send({"type": "input_audio_buffer.commit", "event_id": _END_MARK})

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Events in order. Raises ServerError."""
        while self._unfinished or not self._all_committed:
            event = self._take(await self._connection.receive())
            if event is not None:
                yield event

    async def update(self, audio_input: dict[str, Any]) -> None:
        """Change `session.audio.input` of the Realtime protocol."""
        session = {"type": "transcription", "audio": {"input": audio_input}}
        await self._connection.send({"type": "session.update", "session": session})

    def _take(self, message: dict[str, Any]) -> Event | None:
        event = heard(message)
        match event:
            case SpeechStarted(item, _):
                self._unfinished.add(item)
            case Final(item, _, _) | TranscriptFailed(item, _, _):
                self._unfinished.discard(item)
        if message["type"] == "input_audio_buffer.committed":
            self._unfinished.add(message["item_id"])
        elif message["type"] == "error":
            self._take_error(message["error"])
        return event

    def _take_error(self, error: dict[str, Any]) -> None:
        if error["code"] == _COMMIT_EMPTY:
            self._all_committed = error["event_id"] == _END_MARK
        elif error["code"] != _SLOWED_DOWN:
            raise ServerError(error["message"], error["code"], error["param"])


@asynccontextmanager
async def transcribe(
    url: str = "http://127.0.0.1:8000",
    *,
    api_key: str | None = None,
    language: str | None = None,
    lookahead_ms: int | None = None,
    phrases: Sequence[str] = (),
    turn_detection: dict[str, Any] | None = None,
) -> AsyncIterator[Transcription]:
    """Open a live transcription on the server at `url`.

    `lookahead_ms` is how far a streaming recogniser looks ahead of the words it writes: one of `DELAYS`; more is more
    accurate. `phrases` are likely to be said. `turn_detection` is the protocol's object, for instance
    `{"type": "semantic_vad"}`; without it the server ends turns after half a second of silence. Raises OSError if the
    server cannot be reached, ServerError if it refuses, ValueError for an unknown look-ahead.
    """
    options: dict[str, Any] = {"language": language, "keywords": list(phrases)}
    if lookahead_ms is not None:
        options["delay"] = delay(lookahead_ms)
    audio_input: dict[str, Any] = {"transcription": {name: value for name, value in options.items() if value}}
    if turn_detection:
        audio_input["turn_detection"] = turn_detection
    async with connected(url, "/v1/realtime?intent=transcription", api_key) as connection:
        transcription = Transcription(connection)
        if audio_input["transcription"] or turn_detection:
            await transcription.update(audio_input)
        yield transcription


def delay(lookahead_ms: int) -> str:
    """The protocol's name of a look-ahead. Raises ValueError."""
    if lookahead_ms not in DELAYS:
        raise ValueError(f"lookahead_ms must be one of {', '.join(map(str, DELAYS))}; got {lookahead_ms}")
    return DELAYS[lookahead_ms]
