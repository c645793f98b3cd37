"""A stock client in a conversation, and the read-back of what it is told."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeResponse, RealtimeServerEvent
from pydantic import TypeAdapter

from tests.e2e.hearing import Heard, hearing
from tests.e2e.speech import FAST, RATE_HZ, file, spoken
from tests.server import Server

PACED = 1.0
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


class Talker:
    """One session of the official client."""

    def __init__(self, connection: AsyncRealtimeConnection, heard: Heard[RealtimeServerEvent]) -> None:
        self.connection = connection
        self.heard = heard

    async def say(self, audio: bytes, speed: float = FAST, rate: int = RATE_HZ, sample_bytes: int = 2) -> None:
        async for piece in spoken(audio, speed, rate, sample_bytes):
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())

    async def write(self, text: str) -> None:
        """Add a message of the user to the conversation."""
        item: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.connection.conversation.item.create(item=item)

    async def updated(self, **fields: Any) -> Any:
        """Change the session. Returns it as it is then."""
        session: Any = {"type": "realtime", **fields}
        count = len(self.heard.of("session.updated"))
        await self.connection.session.update(session=session)
        event: Any = await self.heard.wait("session.updated", count + 1)
        return event.session

    async def respond(self, **fields: Any) -> None:
        """Ask for a response."""
        response: Any = fields
        await self.connection.response.create(response=response)

    async def done(self, count: int = 1) -> RealtimeResponse:
        """The `count`-th response that ended."""
        event: Any = await self.wait("response.done", count)
        response: RealtimeResponse = event.response
        return response

    async def retrieved(self, item: str) -> Any:
        """The item as the server knows it."""
        count = len(self.heard.of("item.retrieved"))
        await self.connection.conversation.item.retrieve(item_id=item)
        event: Any = await self.wait("item.retrieved", count + 1)
        return event.item

    async def error(self, count: int = 1) -> Any:
        """The `count`-th error."""
        event: Any = await self.wait("error", count)
        return event.error

    async def wait(self, kind: str, count: int = 1) -> Any:
        return await self.heard.wait(kind, count)

    @property
    def kinds(self) -> list[str]:
        return self.heard.kinds

    def of(self, kind: str) -> list[Any]:
        """Events of a type so far."""
        return list(self.heard.of(kind))

    def text(self, response: RealtimeResponse) -> str:
        """The transcript or text of a response, as its deltas tell it."""
        kinds = ("output_audio_transcript.delta", "output_text.delta")
        return "".join(e.delta for kind in kinds for e in self.of(kind) if e.response_id == response.id)

    def audio(self, response: RealtimeResponse) -> bytes:
        """The speech of a response, in the session's format."""
        deltas = (event.delta for event in self.of("output_audio.delta") if event.response_id == response.id)
        return b"".join(base64.b64decode(delta) for delta in deltas)

    def after(self, kind: str, count: int = 1) -> list[Any]:
        """Events that came after the `count`-th of a type."""
        places = [index for index, heard in enumerate(self.kinds) if heard.endswith(kind)]
        return list(self.heard.events[places[count - 1] + 1 :])


def detecting(kind: str, **fields: Any) -> dict[str, Any]:
    """Session fields that set turn detection."""
    return {"audio": {"input": {"turn_detection": {"type": kind, **fields}}}}


@asynccontextmanager
async def talking(server: Server, key: str = "unused") -> AsyncIterator[Talker]:
    """Connect; at the end every event must be what the official types say."""
    client = AsyncOpenAI(api_key=key, base_url=f"{server.url}/v1")
    async with (
        client.realtime.connect(model="gpt-realtime") as connection,
        hearing(connection, lambda event: event.type) as heard,
    ):
        await heard.wait("session.created")
        yield Talker(connection, heard)
    for event in heard.events:
        SERVER_EVENT.validate_python(event.to_dict())


async def read_back(server: Server, pcm: bytes) -> str:
    """What the final-pass recogniser hears in 24 kHz speech."""
    client = AsyncOpenAI(api_key="unused", base_url=f"{server.url}/v1")
    answer = await client.audio.transcriptions.create(
        file=("reply.wav", file(pcm, "wav", "pcm_s16le")), model="whisper-1", language="en"
    )
    return answer.text
