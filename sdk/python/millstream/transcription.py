"""Live transcription."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from millstream.connection import DEFAULT_URL, Connector
from millstream.events import Event
from millstream.flow import Source, flow
from millstream.hearing import hearing
from millstream.protocol.transcription import TranscriptionProtocol
from millstream.reconnection import RECONNECT, Reconnect
from millstream.session import Session, opened


class Transcription(Session[TranscriptionProtocol, Event]):
    """A live transcription: send audio, iterate over events. Both may happen at once, in different tasks; events that
    nobody reads hold the sender up.
    """

    async def send(self, pcm: bytes) -> None:
        """Send 24 kHz mono little-endian int16 audio. Waits while the server takes no more."""
        self._protocol.append(pcm)
        await self._send()

    async def finish(self) -> None:
        """Say that no more audio comes; iteration ends when every transcript has arrived."""
        self._protocol.finish()
        await self._send()

    async def update(self, audio_input: dict[str, Any]) -> None:
        """Change `session.audio.input` of the Realtime protocol."""
        self._protocol.update(audio_input)
        await self._send()

    def hear(self, audio: Source[bytes]) -> AsyncIterator[Event]:
        """Send all of the audio, and finish, while iterating over the events."""
        return self._beside(self._send_all(audio))

    async def _send_all(self, audio: Source[bytes]) -> None:
        async for pcm in flow(audio):
            await self.send(pcm)
        await self.finish()


@asynccontextmanager
async def transcribe(
    url: str = DEFAULT_URL,
    *,
    api_key: str | None = None,
    language: str | None = None,
    lookahead_ms: int | None = None,
    phrases: Sequence[str] = (),
    turn_detection: dict[str, Any] | None = None,
    reconnect: Reconnect | None = RECONNECT,
) -> AsyncIterator[Transcription]:
    """Open a live transcription on the server at `url`.

    `language` is what is spoken (ISO 639-1). `lookahead_ms` is how far a streaming recogniser looks ahead of the words
    it writes: 0, 80, 480 or 1040; more is more accurate. `phrases` are likely to be said. `turn_detection` is the
    protocol's object, for instance `{"type": "semantic_vad"}`; without it the server ends turns after half a second of
    silence.

    When the connection drops, audio that has no transcript yet is sent again over a new one; `reconnect=None` ends the
    session instead.

    Raises OSError if the server cannot be reached, ServerError if it refuses the connection or an option, ValueError
    for an unknown look-ahead.
    """
    audio_input: dict[str, Any] = {"transcription": hearing(language, lookahead_ms, phrases)}
    if turn_detection:
        audio_input["turn_detection"] = turn_detection
    protocol = TranscriptionProtocol(audio_input, reconnect.keep_s if reconnect else 0.0)
    async with opened(Transcription(protocol, Connector(url, api_key), reconnect)) as transcription:
        yield transcription
