"""Live conversation over the Realtime protocol."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from millstream.audio_input import appends, heard
from millstream.connection import Connection, ServerError, connected
from millstream.events import ConversationEvent, Refused, ReplyAudio, ReplyDone, ReplyStarted, ReplyText

SERVER_VAD = {"type": "server_vad"}
"""The server ends a turn after half a second of silence."""
_PCM = {"type": "audio/pcm", "rate": 24_000}


class Conversation:
    """A live conversation: send audio, iterate over events. Both may happen at once, in different tasks.

    While a reply plays, the user may begin to speak: at `SpeechStarted` stop the playback, and if it was cut short tell
    with `truncate` how much of it was heard.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def send(self, pcm: bytes) -> None:
        """Send 24 kHz mono little-endian int16 audio. Waits while the server takes no more."""
        for event in appends(pcm):
            await self._connection.send(event)

    async def commit(self) -> None:
        """End the user's turn and ask for a reply; needed only with `turn_detection=None`."""
        await self._connection.send({"type": "input_audio_buffer.commit"})
        await self._connection.send({"type": "response.create"})

    async def truncate(self, item: str, played_s: float) -> None:
        """Say that only the first `played_s` seconds of a reply's audio were played."""
        end_ms = int(played_s * 1_000)
        event = {"type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": end_ms}
        await self._connection.send(event)

    async def cancel(self) -> None:
        """Stop the reply that is being made."""
        await self._connection.send({"type": "response.cancel"})

    async def update(self, session: dict[str, Any]) -> None:
        """Change `session` of the Realtime protocol."""
        await self._connection.send({"type": "session.update", "session": {"type": "realtime", **session}})

    async def __aiter__(self) -> AsyncIterator[ConversationEvent]:
        """Events in order, until the connection is closed. Raises ServerError when the server closes it."""
        while True:
            event = _event(await self._connection.receive())
            if event is not None:
                yield event


def _event(message: dict[str, Any]) -> ConversationEvent | None:
    match message["type"]:
        case "response.created":
            return ReplyStarted(message["response"]["id"])
        case "response.output_audio_transcript.delta" | "response.output_text.delta":
            return ReplyText(message["item_id"], message["delta"])
        case "response.output_audio.delta":
            return ReplyAudio(message["item_id"], base64.b64decode(message["delta"]))
        case "response.done":
            return _done(message["response"])
        case "error":
            error = message["error"]
            return Refused(error["code"], error["message"], error["param"])
    return heard(message)


def _done(response: dict[str, Any]) -> ReplyDone:
    details = response.get("status_details") or {}
    problem = (details.get("error") or {}).get("message") or details.get("reason")
    return ReplyDone(response["id"], response["status"], problem)


@asynccontextmanager
async def converse(
    url: str = "http://127.0.0.1:8000",
    *,
    api_key: str | None = None,
    instructions: str | None = None,
    voice: str | None = None,
    speed: float | None = None,
    language: str | None = None,
    turn_detection: dict[str, Any] | None = SERVER_VAD,
) -> AsyncIterator[Conversation]:
    """Open a spoken conversation on the server at `url`, with 24 kHz audio in both directions.

    `turn_detection` is the protocol's object; with None turns end when `commit` says so. `language` is the user's (ISO
    639-1). Raises OSError if the server cannot be reached, ServerError if it refuses the connection or an option.
    """
    audio_input = {"format": _PCM, "transcription": _given(language=language), "turn_detection": turn_detection}
    audio_output = {"format": _PCM, **_given(voice=voice, speed=speed)}
    session = {
        "output_modalities": ["audio"],
        "audio": {"input": audio_input, "output": audio_output},
        **_given(instructions=instructions),
    }
    async with connected(url, "/v1/realtime", api_key) as connection:
        conversation = Conversation(connection)
        await conversation.update(session)
        while (message := await connection.receive())["type"] != "session.updated":
            if message["type"] == "error":
                error = message["error"]
                raise ServerError(error["message"], error["code"], error["param"])
        yield conversation


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
