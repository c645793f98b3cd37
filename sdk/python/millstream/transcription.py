"""Live transcription over the Realtime protocol."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from millstream.events import Event, Final, Partial, SpeechStarted, SpeechStopped, TranscriptFailed

MAX_APPEND_BYTES = 8 * 2**20
_END_MARK = "end"
"""`event_id` of a commit that can only be refused, since the buffer was just committed: the refusal marks the end."""
_COMMIT_EMPTY = "input_audio_buffer_commit_empty"
_SLOWED_DOWN = "rate_limit_exceeded"
"""The server reads more slowly for a while; nothing is lost, and `send` waits."""
_TRANSCRIPTION = "conversation.item.input_audio_transcription."


class ServerError(Exception):
    """The server refused something or ended the session. `param` names the field at fault, if there is one."""

    def __init__(self, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Transcription:
    """A live transcription: send audio, iterate over events. Both may happen at once, in different tasks."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._unfinished: set[str] = set()
        self._all_committed = False

    async def send(self, pcm: bytes) -> None:
        """Send 24 kHz mono little-endian int16 audio. Waits while the server takes no more."""
        for start in range(0, len(pcm), MAX_APPEND_BYTES):
            audio = base64.b64encode(pcm[start : start + MAX_APPEND_BYTES]).decode()
            await self._send({"type": "input_audio_buffer.append", "audio": audio})

    async def finish(self) -> None:
        """Say that no more audio comes; iteration ends when every transcript has arrived."""
        await self._send({"type": "input_audio_buffer.commit"})
        await self._send({"type": "input_audio_buffer.commit", "event_id": _END_MARK})

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Events in order. Raises ServerError."""
        while self._unfinished or not self._all_committed:
            try:
                message = json.loads(await self._connection.recv())
            except ConnectionClosed as closed:
                raise ServerError(f"the connection closed: {closed}") from closed
            event = self._take(message)
            if event is not None:
                yield event

    async def update(self, audio_input: dict[str, Any]) -> None:
        """Change `session.audio.input` of the Realtime protocol."""
        await self._send(
            {"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio_input}}}
        )

    async def _send(self, event: dict[str, Any]) -> None:
        try:
            await self._connection.send(json.dumps(event))
        except ConnectionClosed as closed:
            raise ServerError(f"the connection closed: {closed}") from closed

    def _take(self, message: dict[str, Any]) -> Event | None:
        match message["type"].removeprefix(_TRANSCRIPTION):
            case "error":
                self._take_error(message["error"])
            case "input_audio_buffer.speech_started":
                self._unfinished.add(message["item_id"])
                return SpeechStarted(message["item_id"], message["audio_start_ms"] / 1_000)
            case "input_audio_buffer.speech_stopped":
                return SpeechStopped(message["item_id"], message["audio_end_ms"] / 1_000)
            case "input_audio_buffer.committed":
                self._unfinished.add(message["item_id"])
            case "delta":
                return Partial(message["item_id"], message["delta"])
            case "completed":
                self._unfinished.discard(message["item_id"])
                return Final(message["item_id"], message["transcript"], message["usage"]["seconds"])
            case "failed":
                self._unfinished.discard(message["item_id"])
                error = message["error"]
                return TranscriptFailed(message["item_id"], error["code"], error["message"])
        return None

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
    turn_detection: dict[str, Any] | None = None,
) -> AsyncIterator[Transcription]:
    """Open a live transcription on the server at `url`.

    `turn_detection` is the protocol's object, for instance `{"type": "semantic_vad"}`; without it the server ends turns
    after half a second of silence. Raises OSError if the server cannot be reached, ServerError if it refuses.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    endpoint = f"{url.replace('http', 'ws', 1).rstrip('/')}/v1/realtime?intent=transcription"
    try:
        connection = await connect(endpoint, additional_headers=headers, max_size=None, compression=None)
    except InvalidURI:
        raise ValueError(f"the URL of a server begins with http:// or https://, but this is {url!r}") from None
    except InvalidHandshake as error:
        raise _refusal(error) from error
    async with connection:
        transcription = Transcription(connection)
        audio_input: dict[str, Any] = {}
        if language:
            audio_input["transcription"] = {"language": language}
        if turn_detection:
            audio_input["turn_detection"] = turn_detection
        if audio_input:
            await transcription.update(audio_input)
        yield transcription


def _refusal(error: InvalidHandshake) -> ServerError:
    """What the server says to a client that it does not let in."""
    if not isinstance(error, InvalidStatus):
        return ServerError(f"what answers is no Millstream server: {error}")
    try:
        detail = json.loads(error.response.body)["error"]
        return ServerError(detail["message"], detail["code"], detail["param"])
    except (ValueError, LookupError, TypeError):
        return ServerError(f"the server refused the connection: HTTP {error.response.status_code}")
