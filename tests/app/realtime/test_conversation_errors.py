"""Bad input in a conversation: one `error` event that names the field, and nothing else changes."""

import json
from typing import Any

import msgspec
import pytest

from tests.app.realtime.client import Event
from tests.app.realtime.talker import Talker
from tests.pipelines.converse import answers
from tests.pipelines.speak import Voice

LONG = " ".join(f"Sentence number {number} is here." for number in range(20))
X = "x" * 100_001


def update(**session: Any) -> Event:
    return {"type": "session.update", "session": {"type": "realtime", **session}}


def output(**fields: Any) -> Event:
    return update(audio={"output": fields})


def create(place: str | None = None, **item: Any) -> Event:
    event = {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [], **item}}
    return event if place is None else {**event, "previous_item_id": place}


def content(role: str, **part: Any) -> Event:
    return create(role=role, content=[part])


def respond(**response: Any) -> Event:
    return {"type": "response.create", "response": response}


def truncate(item: str = "made", index: int = 0, end_ms: int = 0) -> Event:
    return {
        "type": "conversation.item.truncate",
        "item_id": item,
        "content_index": index,
        "audio_end_ms": end_ms,
    }


def tool(**fields: Any) -> Event:
    return {"type": "function", "name": "look", **fields}


def refused(event: Any) -> Event:
    """The error that an event is answered with, in a session amid a response that otherwise does not notice.

    The conversation has the items `typed` (a user's message), `made` (the assistant's, in text) and a spoken reply,
    2.5 s long; an item that says SPOKEN in the event stands for the reply's id.
    """
    talker = Talker(brain=answers("One two three four five six seven eight nine ten.", LONG, token_s=0.05)).manual()
    talker.say(id="typed")
    talker.say("Well.", role="assistant", id="made")
    talker.respond()
    talker.wait(3)
    spoken = talker.done()["output"][0]["id"]
    talker.respond()
    talker.wait(0.5)
    before, requests = unsequenced(talker), len(talker.requests())
    message = json.dumps({**event, "event_id": "evt_bad"}).replace("SPOKEN", spoken)
    (error,) = talker.raw(message)
    assert error["type"] == "error"
    assert unsequenced(talker) == before
    assert len(talker.requests()) == requests
    talker.wait(12)
    assert talker.done()["status"] == "completed"
    assert talker.done()["output"][0]["content"][0]["transcript"] == LONG
    detail: Event = error["error"]
    assert (detail["type"], detail["event_id"]) == ("invalid_request_error", "evt_bad")
    return detail


def unsequenced(talker: Talker) -> bytes:
    """What a session remembers, but for its counters: a name that was given in vain is given to nothing else."""
    return msgspec.msgpack.encode(msgspec.structs.replace(talker.state, sequence=0, heard_at=0.0, items=0))


INVALID, MISSING = "invalid_value", "item_not_found"
FAULTS: dict[str, tuple[Event, str, str | None]] = {
    # responses
    "response while one is active": ({"type": "response.create"}, "conversation_already_has_active_response", None),
    "unknown response cancelled": (
        {"type": "response.cancel", "response_id": "resp_9"},
        "response_cancel_not_active",
        "response_id",
    ),
    "unknown reference": (
        respond(conversation="none", input=[{"type": "item_reference", "id": "nothing"}]),
        MISSING,
        "response.input[0].id",
    ),
    "image as input": (
        respond(
            conversation="none",
            input=[{"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}],
        ),
        INVALID,
        "response.input[0].content[0].type",
    ),
    "unknown voice of a response": (
        respond(audio={"output": {"voice": "siren"}}),
        INVALID,
        "response.audio.output.voice",
    ),
    "unknown format of a response": (
        respond(audio={"output": {"format": {"type": "audio/opus"}}}),
        INVALID,
        "response.audio.output.format.type",
    ),
    "both modalities": (respond(output_modalities=["text", "audio"]), INVALID, "response.output_modalities"),
    "no modality": (respond(output_modalities=[]), INVALID, "response.output_modalities"),
    "unknown modality": (respond(output_modalities=["smell"]), INVALID, "response.output_modalities[0]"),
    "no tokens": (respond(max_output_tokens=0), INVALID, "response.max_output_tokens"),
    "too many tokens": (respond(max_output_tokens=4_097), INVALID, "response.max_output_tokens"),
    "endless tokens misspelt": (respond(max_output_tokens="infinite"), INVALID, "response.max_output_tokens"),
    "instructions too long": (respond(instructions=X), INVALID, "response.instructions"),
    "metadata of another type": (respond(metadata={"a": 1}), INVALID, "response.metadata[...]"),
    "too much metadata": (respond(metadata={str(n): "x" for n in range(17)}), INVALID, "response.metadata"),
    "metadata too long": (respond(metadata={"a": "x" * 513}), INVALID, "response.metadata[...]"),
    "metadata's key too long": (respond(metadata={"a" * 65: "x"}), INVALID, "response.metadata"),
    "unknown conversation": (respond(conversation="other"), INVALID, "response.conversation"),
    "unknown field of a response": (respond(mood="good"), INVALID, "response.mood"),
    "choice of no tool": (
        respond(tool_choice={"type": "function", "name": "look"}),
        INVALID,
        "response.tool_choice",
    ),
    "call required without tools": (respond(tool_choice="required"), INVALID, "response.tool_choice"),
    "choice of an MCP server": (
        respond(tool_choice={"type": "mcp", "server_label": "it"}),
        INVALID,
        "response.tool_choice.type",
    ),
    "bad schema in a response": (
        respond(tools=[tool(parameters={"type": "nothing"})]),
        INVALID,
        "response.tools[0].parameters.type",
    ),
    # items
    "item that exists": (create(id="typed"), "item_exists", "item.id"),
    "item's id too long": (create(id="x" * 33), INVALID, "item.id"),
    "item's id empty": (create(id=""), INVALID, "item.id"),
    "item after nothing": (create("nothing"), MISSING, "previous_item_id"),
    "unknown role": (create(role="bystander"), INVALID, "item.role"),
    "unknown kind of item": (create(type="reasoning"), INVALID, "item.type"),
    "result of no call": (
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "call_9", "output": ""},
        },
        INVALID,
        "item.call_id",
    ),
    "call without a name": (
        {"type": "conversation.item.create", "item": {"type": "function_call", "arguments": "{}"}},
        INVALID,
        "item.name",
    ),
    "text too long": (content("user", type="input_text", text=X), INVALID, "item.content[0].text"),
    "text missing": (content("user", type="input_text"), INVALID, "item.content[0].text"),
    "audio without a transcript": (
        content("user", type="input_audio", audio="AAAA"),
        INVALID,
        "item.content[0].transcript",
    ),
    "image": (content("user", type="input_image", image_url="data:"), INVALID, "item.content[0].type"),
    "assistant's words of a user": (content("user", type="output_text", text="x"), INVALID, "item.content[0].type"),
    "user's words of an assistant": (
        content("assistant", type="input_text", text="x"),
        INVALID,
        "item.content[0].type",
    ),
    "audio of a system message": (
        content("system", type="input_audio", transcript="x"),
        INVALID,
        "item.content[0].type",
    ),
    "beta's kind of content": (content("assistant", type="text", text="x"), INVALID, "item.content[0].type"),
    "too many parts": (
        create(content=[{"type": "input_text", "text": "x"}] * 65),
        INVALID,
        "item.content",
    ),
    "unknown item deleted": ({"type": "conversation.item.delete", "item_id": "nothing"}, MISSING, "item_id"),
    "unknown item retrieved": ({"type": "conversation.item.retrieve", "item_id": "nothing"}, MISSING, "item_id"),
    "item missing": ({"type": "conversation.item.create"}, INVALID, "item"),
    "item_id missing": ({"type": "conversation.item.delete"}, INVALID, "item_id"),
    # truncation
    "unknown item truncated": (truncate("nothing"), MISSING, "item_id"),
    "user's item truncated": (truncate("typed"), INVALID, "item_id"),
    "text truncated": (truncate("made"), INVALID, "content_index"),
    "other content truncated": (truncate("SPOKEN", 1), INVALID, "content_index"),
    "truncated beyond the end": (truncate("SPOKEN", 0, 2_501), INVALID, "audio_end_ms"),
    "truncated before the start": (truncate("SPOKEN", 0, -1), INVALID, "audio_end_ms"),
    # session
    "transcription session": (
        {"type": "session.update", "session": {"type": "transcription"}},
        INVALID,
        "session.type",
    ),
    "unknown voice": (output(voice="siren"), INVALID, "session.audio.output.voice"),
    "unknown voice by id": (output(voice={"id": "siren"}), INVALID, "session.audio.output.voice"),
    "too fast": (output(speed=1.6), INVALID, "session.audio.output.speed"),
    "too slow": (output(speed=0.2), INVALID, "session.audio.output.speed"),
    "unknown output format": (output(format={"type": "audio/mp3"}), INVALID, "session.audio.output.format.type"),
    "long instructions": (update(instructions=X), INVALID, "session.instructions"),
    "unknown truncation": (update(truncation="sometimes"), INVALID, "session.truncation"),
    "ratio too high": (
        update(truncation={"type": "retention_ratio", "retention_ratio": 1.1}),
        INVALID,
        "session.truncation.retention_ratio",
    ),
    "MCP tool": (
        update(tools=[{"type": "mcp", "server_label": "it", "server_url": "https://mcp.example"}]),
        INVALID,
        "session.tools[0].type",
    ),
    "tool without a name": (update(tools=[{"type": "function"}]), INVALID, "session.tools[0].name"),
    "tool's name with a space": (update(tools=[tool(name="look at")]), INVALID, "session.tools[0].name"),
    "two tools of one name": (update(tools=[tool(), tool()]), INVALID, "session.tools[1].name"),
    "too many tools": (update(tools=[tool(name=f"look{n}") for n in range(129)]), INVALID, "session.tools"),
    "parameters of another type": (
        update(tools=[tool(parameters={"type": "array"})]),
        INVALID,
        "session.tools[0].parameters",
    ),
    "bad schema": (
        update(tools=[tool(parameters={"type": "object", "properties": {"at": {"type": "place"}}})]),
        INVALID,
        "session.tools[0].parameters.properties.at.type",
    ),
    "choice of an unknown tool": (
        update(tools=[tool()], tool_choice={"type": "function", "name": "listen"}),
        INVALID,
        "session.tool_choice",
    ),
    "unknown choice": (update(tool_choice="maybe"), INVALID, "session.tool_choice"),
    "unknown transcriber": (
        update(audio={"input": {"transcription": {"model": "gpt-9"}}}),
        "model_not_found",
        "session.audio.input.transcription.model",
    ),
    "unknown field": (update(colour="red"), INVALID, "session.colour"),
    "beta field": (update(modalities=["text"]), INVALID, "session.modalities"),
    # what is not of this transport
    "output buffer": ({"type": "output_audio_buffer.clear"}, "unsupported_event", "type"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_event_is_answered_with_an_error_that_names_the_field(fault: str) -> None:
    event, code, param = FAULTS[fault]
    detail = refused(event)
    assert (detail["code"], detail["param"]) == (code, param)
    assert len(detail["message"]) < 1_100


def test_an_item_of_a_response_in_progress_cannot_be_deleted() -> None:
    talker = Talker(brain=answers(LONG, token_s=0.1)).manual()
    talker.say()
    talker.respond()
    talker.wait(2)
    item = talker.told("response.output_item.added")[0]["item"]["id"]
    (error,) = talker.send("conversation.item.delete", item_id=item)
    assert (error["error"]["code"], error["error"]["param"]) == ("item_in_progress", "item_id")


def test_responses_apart_are_bounded() -> None:
    talker = Talker(brain=answers(LONG)).manual()
    for _ in range(4):
        talker.respond(conversation="none")
    (error,) = talker.respond(conversation="none")
    assert (error["error"]["code"], error["error"]["param"]) == ("too_many_responses", "response.conversation")


def test_the_choices_of_voices_are_told() -> None:
    detail = refused(output(voice="siren"))
    for name in ("alloy", "marin", "af_heart"):
        assert name in detail["message"]


@pytest.mark.parametrize("text", ["🎉" * 1_000, "word, " * 500, "a" * 50_000])
def test_text_of_any_kind_is_taken(text: str) -> None:
    talker = Talker(brain=answers(text, token_s=0), voice=Voice(clause_s=0)).manual()
    talker.say(text)
    talker.respond()
    talker.wait(2)
    assert talker.prompts()[0][-1]["content"] == text
    assert talker.done()["output"][0]["content"][0]["transcript"] == text
