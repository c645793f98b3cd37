"""`openai-agents` with its defaults: semantic turn detection, its own transcriber and tracing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents import function_tool
from agents.realtime import (
    RealtimeAgent,
    RealtimeModelSendSessionUpdate,
    RealtimeRunner,
    RealtimeSession,
    RealtimeSessionEvent,
    RealtimeSessionModelSettings,
)

from tests.e2e.conversing import PACED
from tests.e2e.hearing import Heard, hearing
from tests.e2e.speech import FAST, REFERENCE, clip, said, silence, spoken
from tests.server import Server

LONG_WINDED = "Tell very long stories about animals, with every detail."


class Guest:
    """A session of the SDK, and what it heard."""

    def __init__(self, session: RealtimeSession, heard: Heard[RealtimeSessionEvent]) -> None:
        self.session = session
        self.heard = heard

    async def say(self, audio: bytes, speed: float = FAST) -> None:
        async for piece in spoken(audio, speed):
            await self.session.send_audio(piece)

    async def wait(self, kind: str, count: int = 1) -> Any:
        return await self.heard.wait(kind, count)

    async def wait_for_server(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The `count`-th event of a type as the server sent it."""
        async with asyncio.timeout(60):
            while len(found := self.from_server(kind)) < count:
                await self.wait("raw_model_event", len(self.heard.of("raw_model_event")) + 1)
        return found[count - 1]

    def from_server(self, kind: str) -> list[dict[str, Any]]:
        """Events of a type as the server sent them."""
        raw: list[Any] = list(self.heard.of("raw_model_event"))
        sent = [event.data.data for event in raw if event.data.type == "raw_server_event"]
        return [event for event in sent if event["type"] == kind]

    @property
    def errors(self) -> list[Any]:
        """Whatever went wrong, on either side."""
        raw: list[Any] = list(self.heard.of("raw_model_event"))
        return [*self.heard.of("error"), *(e.data for e in raw if e.data.type in ("error", "exception"))]


@asynccontextmanager
async def visiting(
    server: Server, agent: RealtimeAgent[None], settings: RealtimeSessionModelSettings | None = None
) -> AsyncIterator[Guest]:
    """Run the agent against the server; nothing may go wrong."""
    where: Any = {"url": f"{server.realtime_url}/realtime?model=gpt-realtime", "api_key": "unused"}
    if settings is not None:
        where["initial_model_settings"] = settings
    session = await RealtimeRunner(agent).run(model_config=where)
    async with session, hearing(session, lambda event: event.type) as heard:
        guest = Guest(session, heard)
        yield guest
    assert guest.errors == []


async def test_spoken_turn(server: Server) -> None:
    agent: RealtimeAgent[None] = RealtimeAgent("host", instructions="Answer in a few words.")
    async with visiting(server, agent) as guest:
        await guest.say(clip("question") + silence(1.5))
        await guest.wait("agent_end")
        done = await guest.wait_for_server("response.done")
        history = list(guest.session._history)

    (updated, *_) = guest.from_server("session.updated")
    shown = updated["session"]["audio"]["input"]
    assert shown["turn_detection"]["type"] == "semantic_vad"
    assert shown["transcription"]["model"] == "gpt-4o-mini-transcribe"
    assert done["response"]["status"] == "completed"
    assert guest.heard.of("audio")
    question, answer = (item for item in history if item.type == "message")
    assert said(_transcript(question), REFERENCE["question"]) <= 0.2
    assert _transcript(answer) == done["response"]["output"][0]["content"][0]["transcript"]


async def test_interruption(server: Server) -> None:
    agent: RealtimeAgent[None] = RealtimeAgent("storyteller", instructions=LONG_WINDED)
    async with visiting(server, agent) as guest:
        await guest.session.send_message("Tell me a story about a cat, a dog and a horse.")
        await guest.wait("audio")
        await guest.say(clip("stop") + silence(2), PACED)
        interrupted = await guest.wait("audio_interrupted")
        done = await guest.wait_for_server("response.done")
        truncated = await guest.wait_for_server("conversation.item.truncated")
        cut = await guest.wait_for_server("conversation.item.retrieved")

    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert truncated["item_id"] == interrupted.item_id == cut["item"]["id"]
    whole = done["response"]["output"][0]["content"][0]["transcript"]
    assert whole.startswith(cut["item"]["content"][0]["transcript"])


async def test_function_tool(server: Server) -> None:
    asked: list[bool] = []

    @function_tool
    async def weather(indoors: bool) -> str:
        """The weather now."""
        asked.append(indoors)
        speak: RealtimeSessionModelSettings = {"tool_choice": "none"}
        await guest.session.model.send_event(RealtimeModelSendSessionUpdate(session_settings=speak))
        return "Clear and mild."

    agent: RealtimeAgent[None] = RealtimeAgent("forecaster", instructions="Answer in a few words.", tools=[weather])
    async with visiting(server, agent, {"tool_choice": "required"}) as guest:
        await guest.session.send_message("What is the weather?")
        ended = await guest.wait("tool_end")
        await guest.wait("audio")

    assert len(asked) == 1
    assert ended.output == "Clear and mild."
    called, result = (
        event["item"]
        for event in guest.from_server("conversation.item.added")
        if event["item"]["type"].startswith("function_call")
    )
    assert (called["name"], result["output"]) == ("weather", "Clear and mild.")
    assert called["call_id"] == result["call_id"]


def _transcript(item: Any) -> str:
    return str(item.content[0].transcript)
