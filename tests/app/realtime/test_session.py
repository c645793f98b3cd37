"""What a client sees of a session that goes as it should."""

import json

import pytest
from pydantic import ValidationError

from app.realtime.config import OPENAI_TRANSCRIBERS
from tests.app.realtime.client import CLIENT_EVENT, MODEL, SERVER_EVENT, Client
from tests.pipelines.listen import numbered, said, samples

LOGPROBS = "item.input_audio_transcription.logprobs"
TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.completed",
]


def test_an_event_of_an_unknown_type_does_not_pass_as_one_of_the_sdk() -> None:
    with pytest.raises(ValidationError):
        SERVER_EVENT.validate_json(b'{"type":"session.greeted","event_id":"e","session":{"type":"transcription"}}')
    with pytest.raises(ValidationError):
        CLIENT_EVENT.validate_json(b'{"type":"input_audio_buffer.finish"}')


def test_a_session_greets_with_its_configuration() -> None:
    client = Client()
    (created,) = client.events
    assert created["type"] == "session.created"
    assert created["session"] == {
        "id": "sess_story",
        "object": "realtime.transcription_session",
        "type": "transcription",
        "expires_at": 1_700_003_600,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "noise_reduction": None,
                "transcription": {
                    "model": MODEL,
                    "language": None,
                    "languages": None,
                    "prompt": None,
                    "keywords": None,
                    "delay": None,
                },
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                    "idle_timeout_ms": None,
                    "create_response": None,
                    "interrupt_response": None,
                },
            }
        },
    }


def test_a_turn_is_told_in_the_order_of_the_protocol() -> None:
    client = Client(said(1, 2, "hello there world"))
    client.speak(4)
    assert client.kinds() == ["session.created", *TURN]
    started, stopped, committed, added, done, completed = client.events[1:2] + [
        event for event in client.events[2:] if not event["type"].endswith("delta")
    ]
    item = started["item_id"]
    assert {event["item_id"] for event in (stopped, committed, completed)} == {added["item"]["id"], done["item"]["id"]}
    assert added["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert started["audio_start_ms"] == pytest.approx(700, abs=32)
    assert stopped["audio_end_ms"] == pytest.approx(2_500, abs=32)
    assert completed["transcript"] == client.deltas(item) == "hello there world"
    assert completed["usage"] == {"type": "duration", "seconds": pytest.approx(1.8, abs=0.064)}
    assert completed["languages"] == [{"code": "en"}]
    assert completed["logprobs"] is None


def test_items_name_the_one_before() -> None:
    client = Client(said(1, 2, "one"), said(4, 5, "two"), said(7, 8, "three"))
    client.speak(10)
    items = [event["item_id"] for event in client.told("input_audio_buffer.committed")]
    assert len(set(items)) == 3
    for kind in ("input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"):
        assert [event["previous_item_id"] for event in client.told(kind)] == [None, *items[:2]]


def test_a_manual_commit_makes_an_item_at_once_and_its_text_follows() -> None:
    client = Client(said(0.5, 1.5, "by hand"), final_lag=lambda segment: samples(1))
    client.update(turn_detection=None)
    assert client.speak(2) == []
    assert [event["type"] for event in client.commit()] == TURN[2:5]
    client.speak(2)
    assert client.transcripts() == ["by hand"]


def test_text_that_is_known_before_a_manual_commit_is_held_until_the_client_knows_the_item() -> None:
    speech = numbered(0, 30)
    client = Client(speech)
    client.update(turn_detection=None)
    assert client.speak(30) == []
    committed, added, done, delta = client.commit()[:4]
    assert [event["type"] for event in (committed, added, done)] == TURN[2:5]
    assert delta["item_id"] == committed["item_id"]
    assert delta["delta"].startswith("w0 w1 w2")
    client.settle()
    assert client.transcripts() == [speech.text] == [client.deltas(committed["item_id"])]
    assert client.state.held == {}


def test_nothing_of_what_was_cleared_is_told_or_remembered() -> None:
    client = Client(numbered(0, 30))
    client.update(turn_detection=None)
    client.speak(30)
    assert [event["type"] for event in client.clear()] == ["input_audio_buffer.cleared"]
    assert client.settle() == []
    assert client.state.held == {}
    assert client.commit()[0]["error"]["code"] == "input_audio_buffer_commit_empty"


def test_a_turn_that_was_cleared_is_forgotten() -> None:
    client = Client(said(1, 3, "one two three four"))
    client.speak(2)
    client.clear()
    assert client.state.announced == []
    client.speak(3)
    assert client.transcripts() == ["three four"]


def test_committed_silence_has_an_empty_transcript() -> None:
    client = Client()
    client.update(turn_detection=None)
    client.speak(1)
    client.commit()
    assert client.transcripts() == [""]
    assert client.told("conversation.item.input_audio_transcription.completed")[0]["languages"] is None


@pytest.mark.parametrize("milliseconds", [0, 50, 99])
def test_a_commit_of_too_little_is_an_error_of_that_event(milliseconds: int) -> None:
    client = Client()
    client.update(turn_detection=None)
    if milliseconds:
        client.speak(milliseconds / 1_000)
    (error,) = client.commit(event_id="evt_commit")
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["code"] == "input_audio_buffer_commit_empty"
    assert error["error"]["event_id"] == "evt_commit"
    assert "100 ms" in error["error"]["message"]


def test_updates_merge_and_are_echoed() -> None:
    client = Client()
    (first,) = client.update(transcription={"model": "gpt-4o-transcribe", "language": "de", "prompt": "Namen"})
    shown = first["session"]["audio"]["input"]
    assert first["type"] == "session.updated"
    assert (shown["transcription"]["model"], shown["transcription"]["language"]) == ("gpt-4o-transcribe", "de")
    assert shown["turn_detection"]["type"] == "server_vad"
    (second,) = client.update(turn_detection={"type": "semantic_vad", "eagerness": "low"})
    shown = second["session"]["audio"]["input"]
    assert shown["transcription"]["prompt"] == "Namen"
    assert (shown["turn_detection"]["type"], shown["turn_detection"]["eagerness"]) == ("semantic_vad", "low")
    (third,) = client.update(format={"type": "audio/pcmu"})
    shown = third["session"]["audio"]["input"]
    assert shown["format"] == {"type": "audio/pcmu"}
    assert shown["turn_detection"]["type"] == "semantic_vad"
    (fourth,) = client.update(include=[LOGPROBS])
    assert fourth["session"]["include"] == [LOGPROBS]
    (fifth,) = client.update()
    assert fifth["session"] == fourth["session"]


def test_null_switches_off() -> None:
    client = Client(said(1, 2, "hello"))
    (updated,) = client.update(turn_detection=None, transcription=None, noise_reduction=None)
    shown = updated["session"]["audio"]["input"]
    assert shown["turn_detection"] is None
    assert shown["transcription"] is None
    client.speak(3)
    client.commit()
    client.settle()
    assert client.kinds()[2:] == TURN[2:5]
    assert {push.kind for push in client.pushes} == {"audio", "release"}


def test_what_is_not_implemented_is_accepted_and_reads_null() -> None:
    client = Client()
    (updated,) = client.update(
        noise_reduction={"type": "near_field"},
        transcription={"model": "gpt-4o-mini-transcribe", "languages": ["en", "de"]},
        turn_detection={
            "type": "server_vad",
            "create_response": True,
            "interrupt_response": True,
            "idle_timeout_ms": 6_000,
        },
    )
    shown = updated["session"]["audio"]["input"]
    assert shown["noise_reduction"] is None
    assert shown["transcription"]["languages"] is None
    for name in ("create_response", "interrupt_response", "idle_timeout_ms"):
        assert shown["turn_detection"][name] is None


@pytest.mark.parametrize("model", [MODEL, *sorted(OPENAI_TRANSCRIBERS)])
def test_models_that_stock_clients_name_are_accepted(model: str) -> None:
    (updated,) = Client().update(transcription={"model": model})
    assert updated["session"]["audio"]["input"]["transcription"]["model"] == model


def test_turn_detection_reaches_the_pipeline() -> None:
    client = Client(said(1, 2, "hello there"), said(3, 4, "again"))
    client.update(turn_detection={"type": "server_vad", "silence_duration_ms": 2_000, "prefix_padding_ms": 0})
    client.speak(7)
    assert client.transcripts() == ["hello there again"]
    assert client.told("input_audio_buffer.speech_started")[0]["audio_start_ms"] == pytest.approx(1_000, abs=32)
    assert client.told("input_audio_buffer.speech_stopped")[0]["audio_end_ms"] == pytest.approx(6_000, abs=40)


def test_keywords_and_prompt_reach_the_recogniser() -> None:
    client = Client(said(1, 2, "hello"))
    client.update(transcription={"language": "fr", "prompt": "A talk.", "keywords": ["Zürich", "Aare"]})
    client.speak(3)
    (request,) = client.stream.kinds("transcribe")
    assert request.meta["prompt"] == "A talk. Zürich, Aare"
    assert request.meta["phrases"] == ["Zürich", "Aare"]
    assert request.meta["language"] == "fr"


@pytest.mark.parametrize(
    ("delay", "lookahead_ms"),
    [(None, None), ("minimal", 0), ("low", 80), ("medium", 480), ("high", 1_040), ("xhigh", 1_040)],
)
def test_the_delay_is_how_far_the_recogniser_looks_ahead(delay: str | None, lookahead_ms: int | None) -> None:
    client = Client(said(1, 2, "hello"))
    (updated,) = client.update(transcription={"delay": delay})
    client.speak(3)
    assert updated["session"]["audio"]["input"]["transcription"]["delay"] == delay
    for kind in ("follow", "transcribe"):
        assert [push.meta["lookahead_ms"] for push in client.stream.kinds(kind)] == [lookahead_ms]


@pytest.mark.parametrize("include", [None, [], [LOGPROBS]])
def test_logprobs_are_included_only_if_asked_for(include: list[str] | None) -> None:
    client = Client(said(1, 2, "hélas oui"))
    if include is not None:
        client.update(include=include)
    client.speak(4)
    (completed,) = client.told("conversation.item.input_audio_transcription.completed")
    expected = [{"token": token, "logprob": -0.1, "bytes": list(token.encode())} for token in (" hélas", " oui")]
    assert completed["logprobs"] == (expected if include else None)


def test_logprobs_can_be_switched_off() -> None:
    client = Client()
    client.update(include=[LOGPROBS])
    (updated,) = client.raw('{"type":"session.update","session":{"type":"transcription","include":null}}')
    assert updated["session"]["include"] is None


def test_a_transcript_asked_for_before_transcription_was_switched_off_still_arrives() -> None:
    client = Client(said(0, 1, "too late"), final_lag=lambda segment: samples(1))
    client.update(turn_detection=None)
    client.speak(1.5)
    client.commit()
    client.update(transcription=None)
    client.speak(2)
    assert client.transcripts() == ["too late"]


def test_the_format_can_change_in_mid_session() -> None:
    client = Client(said(0.5, 1.5, "wide"), said(2.5, 3.5, "mu"), said(4.5, 5.5, "a"), said(6.5, 7.5, "wide again"))
    client.update(turn_detection=None)
    for audio_format in ({"type": "audio/pcm", "rate": 24_000}, {"type": "audio/pcmu"}, {"type": "audio/pcma"}):
        client.update(format=audio_format)
        client.speak(2)
        client.commit()
    client.update(format={"type": "audio/pcm"})
    client.speak(2)
    client.commit()
    assert client.transcripts() == ["wide", "mu", "a", "wide again"]
    usage = [
        event["usage"]["seconds"] for event in client.told("conversation.item.input_audio_transcription.completed")
    ]
    assert usage == pytest.approx([2, 2, 2, 2], abs=0.001)


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.2345, 7])
def test_a_commit_covers_all_the_audio_appended_before(seconds: float) -> None:
    client = Client()
    client.update(turn_detection=None)
    client.speak(seconds, chunk_s=0.033)
    client.commit()
    client.settle()
    (completed,) = client.told("conversation.item.input_audio_transcription.completed")
    assert completed["usage"]["seconds"] == pytest.approx(seconds, abs=0.001)


def test_a_lost_stream_fails_the_turn_and_the_session_goes_on() -> None:
    client = Client(said(1, 3, "lost half heard half"), said(5, 6, "heard again"))
    client.speak(2)
    (stopped, committed, _, _, failed) = client.lose()
    assert stopped["type"] == "input_audio_buffer.speech_stopped"
    assert failed["type"] == "conversation.item.input_audio_transcription.failed"
    assert failed["item_id"] == committed["item_id"] == stopped["item_id"]
    assert failed["error"]["code"] == "worker_lost"
    client.speak(6)
    assert client.transcripts() == ["heard half", "heard again"]
    assert client.state.announced == []


def test_a_lost_manual_buffer_is_an_error_of_no_item() -> None:
    client = Client(numbered(0, 20))
    client.update(turn_detection=None)
    client.speak(20)
    (error,) = client.lose()
    assert error["error"]["type"] == "server_error"
    assert "buffered audio was lost" in error["error"]["message"]
    assert client.state.held == {}


def test_a_session_that_keeps_losing_its_stream_closes() -> None:
    client = Client()
    for _ in range(3):
        client.speak(1)
        assert client.lose() == []
    (error,) = client.lose()
    assert error["error"]["code"] == "worker_lost"
    assert client.closed is not None
    assert client.closed.code == 1011


def test_items_in_the_state_stay_few_in_a_long_session() -> None:
    client = Client(*[said(start, start + 1, "a word or two") for start in range(1, 90, 3)])
    client.speak(92)
    assert len(client.transcripts()) == 30
    assert client.state.announced == []
    assert client.state.held == {}
    assert len(json.dumps(client.events[-1])) < 1_000
