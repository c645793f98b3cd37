"""The session of a conversation: its configuration, its faults, and its going on elsewhere."""

from typing import Any

import pytest

from tests.app.realtime.client import MODEL, Event
from tests.app.realtime.talker import Talker
from tests.pipelines.converse import answers
from tests.pipelines.listen import said, samples
from tests.pipelines.think import Call

LONG = " ".join(f"Sentence number {number} is here." for number in range(20))
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather somewhere.",
    "parameters": {"type": "object", "properties": {"in": {"type": "string"}}},
}
TEXT = ["text"]


def test_updates_merge_and_are_echoed() -> None:
    talker = Talker()
    session = talker.update(
        instructions="Be rude.",
        tools=[WEATHER],
        tool_choice="required",
        max_output_tokens=100,
        output_modalities=TEXT,
        truncation={"type": "retention_ratio", "retention_ratio": 0.8},
        audio={"output": {"voice": {"id": "af_heart"}, "speed": 1.2, "format": {"type": "audio/pcma"}}},
    )
    assert session["instructions"] == "Be rude."
    assert session["tools"][0]["name"] == "weather"
    assert session["tool_choice"] == "required"
    assert session["max_output_tokens"] == 100
    assert session["output_modalities"] == TEXT
    assert session["truncation"]["retention_ratio"] == 0.8
    assert session["audio"]["output"] == {"voice": "af_heart", "speed": 1.2, "format": {"type": "audio/pcma"}}
    again = talker.listen(turn_detection={"type": "semantic_vad", "create_response": False})
    assert again["audio"]["input"]["turn_detection"]["create_response"] is False
    assert again["audio"]["input"]["turn_detection"]["interrupt_response"] is True
    assert {name: again[name] for name in ("instructions", "tools", "truncation")} == {
        name: session[name] for name in ("instructions", "tools", "truncation")
    }


def test_what_is_not_implemented_is_accepted_and_reads_null() -> None:
    session = Talker().update(tracing="auto", parallel_tool_calls=True, prompt={"id": "p"}, reasoning={"effort": "low"})
    for name in ("tracing", "parallel_tool_calls", "prompt", "reasoning"):
        assert session[name] is None


@pytest.mark.parametrize("truncation", ["auto", "disabled", {"type": "retention_ratio", "retention_ratio": 0.5}])
def test_replies_work_with_every_truncation(truncation: Any) -> None:
    talker = Talker(brain=answers("Fine.")).manual(truncation=truncation)
    talker.say()
    talker.respond()
    talker.wait(2)
    assert talker.done()["status"] == "completed"


def test_what_the_session_says_reaches_the_models() -> None:
    talker = Talker(brain=answers("Fine.")).manual(
        instructions="Be rude.", max_output_tokens=50, audio={"output": {"voice": "echo", "speed": 0.5}}
    )
    talker.say()
    talker.respond()
    (request,) = talker.requests()
    assert request["messages"][0] == {"role": "system", "content": "Be rude."}
    assert request["max_tokens"] == 50
    (speaker,) = talker.speakers()
    assert speaker.options == {"voice": "echo", "speed": 0.5}


def story(*, moving: bool) -> Talker:
    """A bit of everything."""
    talker = Talker(
        said(1, 2, "one turn"),
        said(3.5, 4.5, "stop please"),
        said(12, 12.2),
        brain=answers(LONG, Call("weather"), "Well. " * 9, token_s=0.03),
        moving=moving,
        final_lag=lambda segment: samples(0.2),
    )
    talker.update(tools=[WEATHER])
    talker.speak(7)
    call = talker.done()["output"][-1]
    talker.send(
        "conversation.item.create",
        item={"type": "function_call_output", "call_id": call["call_id"], "output": "sun"},
    )
    talker.respond(conversation="none", output_modalities=TEXT)
    talker.respond()
    talker.speak(1)
    talker.raw("nonsense")
    talker.send("response.cancel")
    talker.listen(turn_detection={"type": "semantic_vad"}, transcription={"model": MODEL})
    talker.speak(1)
    talker.respond(audio={"output": {"format": {"type": "audio/pcmu"}}})
    talker.speak(6)
    return talker


def test_a_session_goes_on_from_its_serialised_state_in_mid_response() -> None:
    moved, stayed = story(moving=True), story(moving=False)
    assert moved.events == stayed.events
    assert [event["response"]["status"] for event in stayed.told("response.done")].count("cancelled") >= 2
    assert stayed.state.responses == {}


def errors(talker: Talker) -> list[Event]:
    return [event["error"] for event in talker.told("error")]


def test_lost_streams_are_told_and_the_session_goes_on() -> None:
    talker = Talker(brain=answers(LONG, "Fine.")).manual()
    talker.say()
    talker.respond()
    talker.wait(0.5)
    talker.lose("think")
    details = talker.done()["status_details"]
    assert (details["type"], details["error"]["code"]) == ("failed", "worker_lost")
    talker.respond()
    talker.wait(2)
    assert talker.done()["status"] == "completed"
    assert errors(talker) == []


def test_speech_that_is_lost_is_told_though_no_transcript_was_asked_for() -> None:
    talker = Talker(said(1, 2, "lost for good"))
    talker.speak(2)
    talker.lose("listen")
    assert [error["code"] for error in errors(talker)] == ["worker_lost"]
    assert talker.closed is None


def test_a_session_closes_when_no_language_model_is_left() -> None:
    talker = Talker()
    for _ in range(4):
        talker.lose("think")
    assert [error["code"] for error in errors(talker)] == ["worker_lost"]
    assert talker.closed is not None
    assert talker.closed.code == 1011


def test_a_trace_is_made_of_every_turn() -> None:
    talker = Talker(said(1, 2, "hello"), said(7, 8, "again"))
    talker.speak(12)
    assert [traced.reply for traced in talker.traces] == [
        event["response"]["id"] for event in talker.told("response.done")
    ]
