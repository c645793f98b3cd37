"""A client that talks with a real server, and what it heard."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import millstream
from millstream import Conversation, ConversationEvent, ReplyAudio, ReplyText
from tests.e2e.speech import FAST, spoken

HUNG_S = 100.0
SHORT = 24
LONG = 200
"""Tokens of a reply."""

Kind = TypeVar("Kind", bound=ConversationEvent)


class Talk:
    """A conversation, and what was heard in it."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.events: list[ConversationEvent] = []
        self._changed = asyncio.Condition()

    async def listen(self) -> None:
        async for event in self.conversation:
            async with self._changed:
                self.events.append(event)
                self._changed.notify_all()

    async def say(self, pcm: bytes, speed: float = FAST) -> None:
        async for piece in spoken(pcm, speed):
            await self.conversation.send(piece)

    def all(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    async def wait(self, kind: type[Kind], count: int = 1) -> Kind:
        """The `count`-th event of a kind."""
        async with asyncio.timeout(HUNG_S), self._changed:
            await self._changed.wait_for(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]

    def reply(self, item: str) -> tuple[str, bytes]:
        """The text and the audio of a reply's item."""
        text = "".join(event.delta for event in self.all(ReplyText) if event.item == item)
        return text, b"".join(event.pcm for event in self.all(ReplyAudio) if event.item == item)


@asynccontextmanager
async def talking(url: str, tokens: int, **options: Any) -> AsyncIterator[Talk]:
    async with millstream.converse(url, **options) as conversation:
        await conversation.update({"max_output_tokens": tokens})
        talk = Talk(conversation)
        listening = asyncio.create_task(talk.listen())
        try:
            yield talk
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
