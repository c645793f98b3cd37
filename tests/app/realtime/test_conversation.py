"""What a client sees of a conversation that goes as it should."""

import json
from typing import Any

import numpy as np
import pytest

from tests.app.realtime.talker import Talker
from tests.app.realtime.test_audio import a_law, mu_law
from tests.pipelines.converse import answers
from tests.pipelines.listen import said, samples
from tests.pipelines.speak import tone
from tests.pipelines.think import Call

LONG = " ".join(f"Sentence number {number} is here." for number in range(20))
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather somewhere.",
    "parameters": {"type": "object", "properties": {"in": {"type": "string"}}},
}
HEARD = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
]
SPOKEN = [
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]
WRITTEN = [
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]
CALLED = [
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]
TEXT = ["text"]


def test_a_session_greets_with_its_configuration() -> None:
    (created,) = Talker().events
    assert created["type"] == "session.created"
    session = created["session"]
    assert session["type"] == "realtime"
    assert (session["id"], session["object"], session["model"]) == ("sess_story", "realtime.session", "gpt-realtime")
    assert session["expires_at"] == 1_700_003_600
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "voice": "alloy",
        "speed": 1.0,
    }
    detection = session["audio"]["input"]["turn_detection"]
    assert (detection["type"], detection["create_response"], detection["interrupt_response"]) == (
        "server_vad",
        True,
        True,
    )
    assert session["audio"]["input"]["transcription"] is None
    assert "spoken" in session["instructions"]
    assert (session["tools"], session["tool_choice"]) == ([], "auto")
    assert (session["max_output_tokens"], session["truncation"]) == ("inf", "auto")
    for name in ("include", "parallel_tool_calls", "prompt", "reasoning", "tracing"):
        assert session[name] is None


# --- turns ---


def test_a_spoken_turn_is_told_in_the_order_of_the_protocol() -> None:
    talker = Talker(said(1, 2, "what time is it"))
    talker.speak(6)
    assert talker.kinds() == ["session.created", *HEARD, *SPOKEN]


def test_the_transcript_of_a_turn_comes_before_its_reply_if_it_is_wanted() -> None:
    talker = Talker(said(1, 2, "what time is it"))
    talker.listen(transcription={"model": "gpt-4o-mini-transcribe"})
    talker.speak(6)
    kinds = [kind for kind in talker.kinds() if not kind.endswith("transcription.delta")]
    completed = "conversation.item.input_audio_transcription.completed"
    assert kinds == ["session.created", "session.updated", *HEARD, completed, *SPOKEN]
    assert talker.told(completed)[0]["transcript"] == "what time is it"


def test_what_is_told_of_a_response_adds_up() -> None:
    talker = Talker(brain=answers(LONG)).manual()
    talker.say(id="question")
    talker.respond(metadata={"topic": "test"})
    talker.wait(10)
    created, response = talker.told("response.created")[0]["response"], talker.done()
    (added,), (finished,) = talker.told("response.output_item.added"), talker.told("response.output_item.done")
    item = added["item"]["id"]
    assert created == {
        "id": response["id"],
        "object": "realtime.response",
        "status": "in_progress",
        "conversation_id": "conv_story",
        "output": [],
        "output_modalities": ["audio"],
        "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "alloy"}},
        "max_output_tokens": "inf",
        "metadata": {"topic": "test"},
        "usage": None,
    }
    assert (response["status"], response["status_details"]) == ("completed", None)
    assert response["output"] == [finished["item"]]
    assert response["metadata"] == {"topic": "test"}
    assert finished["item"]["content"] == [{"type": "output_audio", "transcript": LONG}]
    assert finished["item"]["status"] == "completed"
    assert (added["item"]["status"], added["item"]["content"]) == ("in_progress", [])
    assert talker.told("conversation.item.added")[-1]["previous_item_id"] == "question"
    assert talker.told("conversation.item.done")[-1]["previous_item_id"] == "question"
    parts = talker.told("response.content_part.added") + talker.told("response.content_part.done")
    assert [event["part"] for event in parts] == [
        {"type": "audio", "transcript": ""},
        {"type": "audio", "transcript": LONG},
    ]
    deltas = talker.told("response.output_audio_transcript.delta")
    assert "".join(event["delta"] for event in deltas) == LONG
    assert talker.told("response.output_audio_transcript.done")[0]["transcript"] == LONG
    assert talker.audio(response["id"]) == tone(100 * 6_000)
    of_item = [event for event in talker.events if "content_index" in event]
    assert {(event["item_id"], event["output_index"], event["content_index"]) for event in of_item} == {(item, 0, 0)}
    assert {event["response_id"] for event in of_item} == {response["id"]}


def test_no_audio_delta_is_long() -> None:
    talker = Talker(brain=answers("One clause of a great many words, in which there are no others.")).manual()
    talker.say()
    talker.respond()
    talker.wait(5)
    sizes = [len(event["delta"]) for event in talker.told("response.output_audio.delta")]
    assert len(sizes) > 10
    assert max(sizes) == 200 * 48 * 4 // 3


def test_usage_counts_tokens() -> None:
    talker = Talker(brain=answers("One two three.")).manual()
    talker.say()
    talker.respond()
    talker.wait(3)
    assert talker.done()["usage"] == {
        "total_tokens": 23,
        "input_tokens": 20,
        "output_tokens": 3,
        "input_token_details": {
            "text_tokens": 20,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": 5,
            "cached_tokens_details": {"text_tokens": 5, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 3, "audio_tokens": 0},
    }
    assert talker.told("rate_limits.updated")[0]["rate_limits"] == []


def test_a_response_in_text() -> None:
    talker = Talker(brain=answers("Fine, thanks.")).manual(output_modalities=TEXT)
    talker.say()
    talker.respond()
    talker.wait(2)
    assert talker.kinds()[4:] == WRITTEN
    response = talker.done()
    assert (response["output_modalities"], response["audio"]) == (TEXT, None)
    assert response["output"][0]["content"] == [{"type": "output_text", "text": "Fine, thanks."}]
    assert [event["delta"] for event in talker.told("response.output_text.delta")] == ["Fine,", " thanks."]
    assert talker.told("response.content_part.done")[0]["part"] == {"type": "text", "text": "Fine, thanks."}


def test_a_manual_turn() -> None:
    talker = Talker(said(0.2, 1, "by hand"), final_lag=lambda segment: samples(0.5)).manual()
    talker.speak(1.4)
    committed = talker.send("input_audio_buffer.commit")
    assert [event["type"] for event in committed] == HEARD[2:]
    (created, limits) = talker.respond()
    assert (created["type"], limits["type"]) == ("response.created", "rate_limits.updated")
    talker.speak(4)
    assert talker.done()["output"][0]["content"][0]["transcript"] == "You said by hand."


def test_an_interruption_is_told_before_the_response_is_over() -> None:
    talker = Talker(said(1, 2, "tell me a story"), said(4, 5, "stop"), brain=answers(LONG, "Yes.", token_s=0.1))
    talker.speak(4.2)
    assert talker.kinds()[-6:] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    assert "input_audio_buffer.speech_started" in talker.kinds()[-8:-5]
    response = talker.done()
    assert (response["status"], response["status_details"]) == (
        "cancelled",
        {"type": "cancelled", "reason": "turn_detected"},
    )
    assert response["output"][0]["status"] == "incomplete"


def test_a_cough_is_not_told() -> None:
    talker = Talker(said(1, 2, "hello"), said(4, 4.2), brain=answers(LONG, token_s=0.05))
    talker.listen(turn_detection={"type": "semantic_vad"}, transcription={})
    talker.speak(10)
    assert len(talker.told("input_audio_buffer.speech_started")) == 1
    assert len(talker.told("input_audio_buffer.committed")) == 1
    assert talker.done()["status"] == "completed"
    assert (talker.state.announced, talker.state.held) == ([], {})


def test_a_response_that_is_cut_by_its_limit_is_incomplete() -> None:
    talker = Talker(brain=answers("One two three four.")).manual()
    talker.say()
    talker.respond(max_output_tokens=2)
    talker.wait(2)
    assert talker.done()["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert talker.done()["max_output_tokens"] == 2


# --- functions ---


def test_a_tool_call_is_told_in_the_order_of_the_protocol_and_its_result_answered() -> None:
    talker = Talker(brain=answers(Call("weather", '{"in":"Rome"}'), "Sunny.")).manual(tools=[WEATHER])
    talker.say()
    before = len(talker.kinds())
    talker.respond()
    talker.wait(2)
    assert talker.kinds()[before:] == CALLED
    (call,) = talker.done()["output"]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "weather", '{"in":"Rome"}')
    (done,) = talker.told("response.function_call_arguments.done")
    assert (done["call_id"], done["name"], done["arguments"]) == (call["call_id"], "weather", '{"in":"Rome"}')
    assert "".join(event["delta"] for event in talker.told("response.function_call_arguments.delta")) == '{"in":"Rome"}'
    (added,) = talker.told("response.output_item.added")
    assert (added["item"]["arguments"], added["item"]["status"]) == ("", "in_progress")
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sun"}
    created, finished = talker.send("conversation.item.create", item=output)
    assert created["item"] == finished["item"]
    assert created["previous_item_id"] == call["id"]
    talker.respond()
    talker.wait(2)
    assert talker.prompts()[-1][-1] == {"role": "tool", "tool_call_id": call["call_id"], "content": "sun"}
    assert talker.done()["output"][0]["content"][0]["transcript"] == "Sunny."


def test_a_named_tool_is_asked_for() -> None:
    talker = Talker(brain=answers(Call("weather"))).manual(tools=[WEATHER])
    talker.say()
    talker.respond(tool_choice={"type": "function", "name": "weather"})
    (request,) = talker.requests()
    assert request["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert request["tools"] == [{"type": "function", "function": {k: v for k, v in WEATHER.items() if k != "type"}}]


@pytest.mark.parametrize("audio_format", ["audio/pcm", "audio/pcmu", "audio/pcma"])
def test_words_and_a_call_keep_to_their_items(audio_format: str) -> None:
    answer = answers(["Let me look, one moment please.", Call("weather")])
    talker = Talker(brain=answer).manual(tools=[WEATHER], audio={"output": {"format": {"type": audio_format}}})
    talker.say()
    talker.respond()
    talker.wait(4)
    message, call = talker.done()["output"]
    assert {event["item_id"] for event in talker.told("response.output_audio.delta")} == {message["id"]}
    assert talker.told("response.function_call_arguments.done")[0]["item_id"] == call["id"]
    assert talker.told("response.function_call_arguments.done")[0]["output_index"] == 1


# --- formats ---


@pytest.mark.parametrize(("audio_format", "law"), [("audio/pcmu", mu_law), ("audio/pcma", a_law)])
def test_speech_in_g711_is_the_speech_that_was_made(audio_format: str, law: Any) -> None:
    talker = Talker(brain=answers("One two three, four five six. Seven eight, nine ten.")).manual(
        audio={"output": {"format": {"type": audio_format}}}
    )
    talker.say()
    talker.respond()
    talker.wait(5)
    response = talker.done()
    assert response["audio"]["output"]["format"] == {"type": audio_format}
    heard = np.array([law(code) for code in talker.audio(response["id"])])
    assert len(heard) == 10 * 2_000
    expected = 8_000 * np.sin(2 * np.pi * 440 * np.arange(len(heard)) / 8_000)
    assert np.abs(heard - expected)[100:-100].max() < 300
    last_audio = max(number for number, event in enumerate(talker.events) if event["type"].endswith("audio.delta"))
    assert talker.events[last_audio + 1]["type"] == "response.output_audio.done"


def test_a_response_may_have_its_own_format_and_voice() -> None:
    talker = Talker(brain=answers("One two.")).manual()
    talker.say()
    talker.respond(audio={"output": {"format": {"type": "audio/pcmu"}, "voice": "echo"}})
    talker.wait(2)
    assert len(talker.audio(talker.done()["id"])) == 2 * 2_000
    (speaker,) = talker.speakers()
    assert speaker.options["voice"] == "echo"
    assert talker.done()["audio"]["output"]["voice"] == "echo"


@pytest.mark.parametrize("audio_format", ["audio/pcmu", "audio/pcma"])
def test_speech_may_be_heard_in_g711(audio_format: str) -> None:
    talker = Talker(said(1, 2, "hello there"))
    talker.listen(format={"type": audio_format})
    talker.speak(5)
    assert talker.prompts()[0][-1]["content"] == "hello there"


# --- apart from the conversation ---


def test_a_response_apart_is_no_part_of_the_conversation() -> None:
    talker = Talker(brain=answers("Spam.")).manual()
    talker.say("Buy now!", id="mail")
    own = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Is it spam?"}]}
    reference = {"type": "item_reference", "id": "mail"}
    before = len(talker.kinds())
    request = {"conversation": "none", "input": [reference, own], "output_modalities": TEXT}
    talker.raw(json.dumps({"type": "response.create", "response": request | {"metadata": {"kind": "filter"}}}))
    talker.wait(2)
    told = [kind for kind in WRITTEN if not kind.startswith("conversation.")]
    assert talker.kinds()[before:] == told
    response = talker.done()
    assert (response["conversation_id"], response["metadata"]) == (None, {"kind": "filter"})
    assert [message["content"] for message in talker.prompts()[0][1:]] == ["Buy now!", "Is it spam?"]
    assert "error" in talker.send("conversation.item.retrieve", item_id=response["output"][0]["id"])[0]


def test_responses_apart_run_at_the_same_time() -> None:
    talker = Talker(brain=answers(LONG)).manual()
    talker.say()
    for name in ("a", "b"):
        talker.respond(conversation="none", metadata={"name": name})
    talker.respond()
    talker.wait(10)
    assert [event["response"]["status"] for event in talker.told("response.done")] == ["completed"] * 3
    for done in talker.told("response.done"):
        assert talker.audio(done["response"]["id"]) == tone(100 * 6_000)
