"""Live conversation."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from millstream.connection import DEFAULT_URL, Connector
from millstream.events import ConversationEvent, ToolCall, ToolResult
from millstream.flow import Source, flow
from millstream.hearing import hearing
from millstream.protocol.conversation import ConversationProtocol
from millstream.reconnection import RECONNECT, Reconnect
from millstream.session import Session, opened
from millstream.tools import Tool, tools_by_name

log = logging.getLogger("millstream")

SERVER_VAD = {"type": "server_vad"}
"""The server ends a turn after half a second of silence."""
TOOL_TIMEOUT_S = 60.0
_PCM = {"type": "audio/pcm", "rate": 24_000}


class Conversation(Session[ConversationProtocol, ConversationEvent]):
    """A live conversation: send audio, iterate over events. Both may happen at once, in different tasks; events that
    nobody reads hold the sender up.

    While a reply plays, the user may begin to speak: at `SpeechStarted` stop the playback, and if it was cut short tell
    with `truncate` how much of it was heard.
    """

    def __init__(
        self,
        protocol: ConversationProtocol,
        connector: Connector,
        reconnect: Reconnect | None,
        tools: dict[str, Tool],
    ) -> None:
        super().__init__(protocol, connector, reconnect)
        self._tools = tools

    async def send(self, pcm: bytes) -> None:
        """Send 24 kHz mono little-endian int16 audio. Waits while the server takes no more."""
        self._protocol.append(pcm)
        await self._send()

    def hear(self, audio: Source[bytes]) -> AsyncIterator[ConversationEvent]:
        """Send all of the audio while iterating over the events, which go on after it."""
        return self._beside(self._send_all(audio))

    async def send_text(self, text: str, **fields: Any) -> None:
        """Say something in writing, and ask for a reply; `fields` as for `respond`."""
        self._protocol.write(text)
        await self.respond(**fields)

    async def respond(self, instructions: str | None = None, **fields: Any) -> None:
        """Ask for a reply now, for instance to be greeted. `instructions` take the place of the session's for this one;
        `fields` are others of the protocol's `response` object, such as `conversation="none"`.
        """
        self._protocol.ask({**_given(instructions=instructions), **fields})
        await self._send()

    async def commit(self) -> None:
        """End the user's turn and ask for a reply; needed only with `turn_detection=None`."""
        self._protocol.commit()
        await self._send()

    async def tool_result(self, call: str, output: str) -> None:
        """Answer a `ToolCall`. When all calls of a reply are answered, another is asked for."""
        self._protocol.result(call, output)
        await self._send()

    async def truncate(self, item: str, played_s: float) -> None:
        """Say that only the first `played_s` seconds of a reply's audio were played. Of an item of before a
        reconnection the server has no audio; it stays as it is.
        """
        self._protocol.truncate(item, int(played_s * 1_000))
        await self._send()

    async def cancel(self) -> None:
        """Stop the reply that is being made."""
        self._protocol.cancel()
        await self._send()

    async def update(self, session: dict[str, Any]) -> None:
        """Change `session` of the Realtime protocol."""
        self._protocol.update(session)
        await self._send()

    async def _next(self) -> ConversationEvent | None:
        event = await super()._next()
        if isinstance(event, ToolCall):
            tool = self._tools.get(event.name)
            if tool is not None and tool.handler is not None:
                self._spawn(self._call(tool, event))
        return event

    async def _call(self, tool: Tool, call: ToolCall) -> None:
        try:
            async with asyncio.timeout(TOOL_TIMEOUT_S):
                output, failed = await tool.call(call.arguments), False
        except Exception as error:
            log.exception("the tool %s failed", tool.name)
            output, failed = f"{type(error).__name__}: {error}", True
        self._protocol.events.append(ToolResult(call.call, call.name, output, failed))
        self._protocol.result(call.call, output)
        await self._send_aside()

    async def _send_all(self, audio: Source[bytes]) -> None:
        async for pcm in flow(audio):
            await self.send(pcm)


@asynccontextmanager
async def converse(
    url: str = DEFAULT_URL,
    *,
    api_key: str | None = None,
    instructions: str | None = None,
    voice: str | None = None,
    speed: float | None = None,
    language: str | None = None,
    lookahead_ms: int | None = None,
    phrases: Sequence[str] = (),
    turn_detection: dict[str, Any] | None = SERVER_VAD,
    tools: Sequence[Tool | Callable[..., Any]] = (),
    text_only: bool = False,
    reconnect: Reconnect | None = RECONNECT,
) -> AsyncIterator[Conversation]:
    """Open a conversation on the server at `url`, with 24 kHz audio in both directions.

    `instructions` say what the assistant is. `voice` and `speed` are its own, `language` is the user's (ISO 639-1),
    `lookahead_ms` and `phrases` are as in `transcribe`.
    `turn_detection` is the protocol's object; with None turns end when `commit` says so. `tools` are functions that the
    model may call, see `Tool`; those with a handler are called and answered while events are iterated over. With
    `text_only` replies are written.

    When the connection drops, the conversation is told anew over another one: the text of what was said, the audio of
    which there is none yet. A reply in progress ends as `failed`. `reconnect=None` ends the session instead.

    Raises OSError if the server cannot be reached, ServerError if it refuses the connection or an option, TypeError for
    a function that cannot be a tool, ValueError for an unknown look-ahead.
    """
    named = tools_by_name(tools)
    transcription = hearing(language, lookahead_ms, phrases)
    audio_input = {"format": _PCM, "transcription": transcription, "turn_detection": turn_detection}
    session = {
        "output_modalities": ["text" if text_only else "audio"],
        "audio": {"input": audio_input, "output": {"format": _PCM, **_given(voice=voice, speed=speed)}},
        **_given(instructions=instructions, tools=[tool.definition for tool in named.values()] or None),
    }
    protocol = ConversationProtocol(session, reconnect.keep_s if reconnect else 0.0)
    async with opened(Conversation(protocol, Connector(url, api_key), reconnect, named)) as conversation:
        yield conversation


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
