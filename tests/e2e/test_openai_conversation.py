"""The official OpenAI client converses. What a small model says is arbitrary: never is its content looked at."""

import json
from itertools import pairwise
from typing import Any, Literal

import jsonschema_rs
import numpy as np
import pytest

from tests.e2e.conversing import PACED, Talker, detecting, read_back, talking
from tests.e2e.speech import REFERENCE, clip, g711, said, seconds, silence
from tests.server import Server

SAMPLE_BYTES = 2
PIECE_MS = 200
"""Most audio of one delta."""
FORECAST: dict[str, Any] = {
    "type": "function",
    "name": "forecast",
    "description": "The weather of the next days.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Paris", "Rome", "Oslo"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
        },
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}
LONG_WINDED = "Tell me a very long story about a cat, a dog and a horse, with every detail."


def cough() -> bytes:
    """A burst of noise that decays within a quarter of a second."""
    burst = np.random.default_rng(7).normal(size=24_000 // 4) * 9_000 * np.exp(-np.linspace(0, 6, 24_000 // 4))
    return bytes(np.clip(burst, -32_768, 32_767).astype("<i2").tobytes())


async def start_long_reply(talker: Talker, **response: Any) -> None:
    """Have it begin to tell a story; wait until it is heard."""
    await talker.write(LONG_WINDED)
    await talker.respond(**response)
    await talker.wait("output_audio.delta")


async def test_spoken_turn(server: Server) -> None:
    async with talking(server) as talker:
        await talker.updated(max_output_tokens=48)
        await talker.say(clip("question") + silence(0.8))
        response = await talker.done()
        transcript, speech = talker.text(response), talker.audio(response)
        question = await talker.retrieved((await talker.wait("input_audio_buffer.committed")).item_id)
        answer = await talker.retrieved((await talker.wait("response.output_item.done")).item.id)
        heard = await read_back(server, speech)

    kinds = [kind for kind in talker.kinds if not kind.endswith("delta")]
    assert kinds[2:] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "rate_limits.updated",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
        "conversation.item.retrieved",
        "conversation.item.retrieved",
    ]
    assert said(question.content[0].transcript, REFERENCE["question"]) <= 0.2
    assert answer.content[0].transcript == transcript == response.output[0].content[0].transcript  # type: ignore[index,union-attr]
    assert transcript.strip()
    assert said(heard, transcript) <= 0.25
    usage = response.usage
    assert usage is not None
    assert usage.input_tokens is not None
    assert usage.output_tokens is not None
    assert usage.input_tokens > 10
    assert 0 < usage.output_tokens <= 48
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


async def test_interruption(server: Server) -> None:
    async with talking(server) as talker:
        await start_long_reply(talker)
        await talker.say(clip("stop") + silence(0.8), PACED)
        interrupted = await talker.done()
        item = (await talker.wait("response.output_item.done")).item
        heard_ms = round(seconds(talker.audio(interrupted)) * 500)
        await talker.connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=heard_ms)
        truncated = await talker.wait("item.truncated")
        cut = await talker.retrieved(item.id)
        await talker.wait("response.created", 2)
        await talker.connection.response.cancel()
        cancelled = await talker.done(2)

    assert _ended(interrupted) == ("cancelled", "turn_detected")
    assert not [event for event in talker.after("speech_started") if _is_audio(event, interrupted.id)]
    assert item.status == "incomplete"
    assert truncated.audio_end_ms == heard_ms
    whole = talker.text(interrupted)
    assert cut.status == "incomplete"
    assert whole.startswith(cut.content[0].transcript)
    assert 0 < len(cut.content[0].transcript) < len(whole)
    assert _ended(cancelled) == ("cancelled", "client_cancelled")


async def test_semantic_turns(server: Server) -> None:
    async with talking(server) as talker:
        shown = await talker.updated(**detecting("semantic_vad", eagerness="high"), instructions=LONG_WINDED)
        await talker.say(clip("story") + silence(1.5))
        await talker.wait("output_audio.delta")
        await talker.say(cough() + silence(0.5) + clip("backchannel") + silence(1.0), PACED)
        uninterrupted = list(talker.kinds)
        await talker.say(clip("stop") + silence(2.0), PACED)
        interrupted = await talker.done()

    assert shown.audio.input.turn_detection.type == "semantic_vad"
    assert shown.audio.input.turn_detection.interrupt_response is True
    assert uninterrupted.count("input_audio_buffer.speech_started") == 1
    assert "response.done" not in uninterrupted
    assert _ended(interrupted) == ("cancelled", "turn_detected")
    assert not [event for event in talker.after("speech_started", 2) if _is_audio(event, interrupted.id)]


async def test_function_call(server: Server) -> None:
    async with talking(server) as talker:
        choice: dict[str, Any] = {"type": "function", "name": "forecast"}
        await talker.updated(tools=[FORECAST], tool_choice=choice, max_output_tokens=64)
        await talker.write("What is the weather in Rome?")
        await talker.respond()
        called = await talker.done(1)
        (call,) = called.output or []
        result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": '{"sky": "clear"}'}  # type: ignore[union-attr]
        await talker.connection.conversation.item.create(item=result)
        await talker.respond(tool_choice="none", max_output_tokens=32)
        spoken = await talker.done(2)

    assert called.status == "completed"
    assert call.type == "function_call"
    assert call.name == "forecast"
    assert call.arguments is not None
    jsonschema_rs.validate(FORECAST["parameters"], json.loads(call.arguments))
    assert "".join(event.delta for event in talker.of("arguments.delta")) == call.arguments
    assert not [event for event in talker.of("output_audio.delta") if event.response_id == called.id]
    (message,) = spoken.output or []
    assert message.type == "message"
    assert talker.audio(spoken)


FORMATS: list[tuple[str, Literal["pcm_mulaw", "pcm_alaw"] | None]] = [
    ("audio/pcm", None),
    ("audio/pcmu", "pcm_mulaw"),
    ("audio/pcma", "pcm_alaw"),
]


@pytest.mark.parametrize(("kind", "law"), FORMATS)
async def test_turn_by_hand(server: Server, kind: str, law: Literal["pcm_mulaw", "pcm_alaw"] | None) -> None:
    async with talking(server) as talker:
        heard = {"format": {"type": kind}, "turn_detection": None, "transcription": {"model": "whisper-1"}}
        shown = await talker.updated(audio={"input": heard, "output": heard_as(kind)}, max_output_tokens=12)
        if law is None:
            await talker.say(clip("question"))
        else:
            await talker.say(g711(clip("question", 8_000), law), rate=8_000, sample_bytes=1)
        await talker.connection.input_audio_buffer.commit()
        await talker.respond()
        response = await talker.done()
        question = await talker.wait("transcription.completed")
        speech = talker.audio(response)

    assert (shown.audio.input.format.type, shown.audio.output.format.type) == (kind, kind)
    assert not talker.of("speech_started")
    assert said(question.transcript, REFERENCE["question"]) <= 0.2
    samples = len(speech) // (SAMPLE_BYTES if law is None else 1)
    assert samples / (24_000 if law is None else 8_000) > 0.3
    assert response.audio is not None
    assert response.audio.output is not None
    assert response.audio.output.voice == "verse"


def heard_as(kind: str) -> dict[str, Any]:
    return {"format": {"type": kind}, "voice": "verse", "speed": 1.5}


async def test_text(server: Server) -> None:
    async with talking(server) as talker:
        await talker.updated(output_modalities=["text"])
        await talker.write(LONG_WINDED)
        await talker.respond(max_output_tokens=5)
        brief = await talker.done(1)
        await talker.respond(max_output_tokens=5, instructions="Be brief. " * 30)
        instructed = await talker.done(2)
        await talker.respond(max_output_tokens=5, output_modalities=["audio"])
        spoken = await talker.done(3)

    for response in (brief, instructed, spoken):
        assert _ended(response) == ("incomplete", "max_output_tokens")
        assert response.usage is not None
        assert response.usage.output_tokens == 5
    assert talker.text(brief)
    assert [bool(talker.audio(response)) for response in (brief, instructed, spoken)] == [False, False, True]
    assert brief.usage is not None
    assert instructed.usage is not None
    assert (instructed.usage.input_tokens or 0) > (brief.usage.input_tokens or 0) + 30


async def test_out_of_band(server: Server) -> None:
    async with talking(server) as talker:
        await start_long_reply(talker)
        question: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Yes or no?"}]}
        await talker.respond(
            conversation="none",
            input=[question],
            metadata={"purpose": "aside"},
            output_modalities=["text"],
            max_output_tokens=8,
        )
        aside = await talker.done(1)
        added = [event.item.id for event in talker.of("conversation.item.added")]
        (told,) = aside.output or []
        await talker.connection.conversation.item.retrieve(item_id=told.id or "")
        unknown = await talker.error()
        await talker.connection.response.cancel()
        story = await talker.done(2)

    assert aside.metadata == {"purpose": "aside"}
    assert aside.conversation_id is None
    assert talker.text(aside)
    assert told.id not in added
    assert unknown.code == "item_not_found"
    assert _ended(story) == ("cancelled", "client_cancelled")
    assert story.conversation_id is not None
    assert story.metadata is None
    assert [item.id for item in story.output or []] == added[1:]


async def test_items(server: Server) -> None:
    async with talking(server) as talker:
        for place, (name, after) in enumerate([("b", None), ("a", "root"), ("c", "b")]):
            content: Any = [{"type": "input_text", "text": f"This is {name}."}]
            item: Any = {"id": name, "type": "message", "role": "user", "content": content}
            create = talker.connection.conversation.item.create
            await (create(item=item, previous_item_id=after) if after else create(item=item))
            await talker.wait("conversation.item.done", place + 1)
        whole = await _counted(talker, 1)
        await talker.connection.conversation.item.delete(item_id="b")
        deleted = await talker.wait("item.deleted")
        rest = await _counted(talker, 2)
        found = await talker.retrieved("c")

    places = [(event.item.id, event.previous_item_id) for event in talker.of("item.added")[:3]]
    assert places == [("b", None), ("a", None), ("c", "b")]
    assert deleted.item_id == "b"
    assert found.content[0].text == "This is c."
    assert rest < whole


async def _counted(talker: Talker, count: int) -> int:
    """Tokens of the conversation."""
    await talker.respond(output_modalities=["text"], max_output_tokens=1, conversation="none")
    usage = (await talker.done(count)).usage
    assert usage is not None
    return usage.input_tokens or 0


async def test_events_are_numbered(server: Server) -> None:
    async with talking(server) as talker:
        await talker.write("Hello.")
        await talker.respond(max_output_tokens=8)
        response = await talker.done()

    heard: list[Any] = talker.heard.events
    numbers = [int(event.event_id.rpartition("_")[2]) for event in heard]
    assert all(after == before + 1 for before, after in pairwise(numbers))
    per_delta = SAMPLE_BYTES * 24 * PIECE_MS
    deltas = [len(event.delta) * 3 // 4 for event in talker.of("output_audio.delta")]
    assert max(deltas) <= per_delta + 2
    assert seconds(talker.audio(response)) > 0.2


def _ended(response: Any) -> tuple[str | None, str | None]:
    details = response.status_details
    return response.status, details and details.reason


def _is_audio(event: Any, response_id: str | None) -> bool:
    return bool(event.type.endswith("output_audio.delta") and event.response_id == response_id)
