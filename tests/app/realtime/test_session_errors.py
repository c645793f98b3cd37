"""Bad input: one `error` event that says what is wrong, and nothing else changes."""

import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest

from app.realtime.audio import MAX_APPEND_BYTES
from tests.app.realtime.client import Client, Event
from tests.pipelines.listen import said

OVERSIZED_APPEND = json.dumps(
    {"type": "input_audio_buffer.append", "audio": "A" * (MAX_APPEND_BYTES + 4), "event_id": "evt_bad"}
)


def append(audio: Any) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": audio}


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "transcription", **session}}


def audio_input(**fields: Any) -> dict[str, Any]:
    return update(audio={"input": fields})


def server_vad(**fields: Any) -> dict[str, Any]:
    return audio_input(turn_detection={"type": "server_vad", **fields})


def refused(message: str | bytes) -> Event:
    """The error that a message is answered with, in a session that otherwise does not notice."""
    client = Client(said(1, 2, "unharmed"))
    client.update(transcription={"language": "en"}, event_id="evt_good")
    client.speak(1.5)
    before = msgspec.msgpack.encode(client.state)
    sequence, pushes = client.state.sequence, len(client.pushes)
    (error,) = client.raw(message)
    assert error["type"] == "error"
    assert len(client.pushes) == pushes
    client.state.sequence = sequence
    assert msgspec.msgpack.encode(client.state) == before
    client.state.sequence += 1
    client.speak(2)
    assert client.transcripts() == ["unharmed"]
    detail: Event = error["error"]
    assert detail["type"] == "invalid_request_error"
    return detail


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no type": ({}, "missing_required_parameter", "type"),
    "type of the wrong type": ({"type": 7}, "missing_required_parameter", "type"),
    "unknown event": ({"type": "input_audio_buffer.finish"}, "unknown_event", "type"),
    "unknown event with fields": ({"type": "nonsense", "audio": 3}, "unknown_event", "type"),
    "audio missing": ({"type": "input_audio_buffer.append"}, "invalid_value", "audio"),
    "audio of the wrong type": (append(["AAAA"]), "invalid_value", "audio"),
    "audio null": (append(None), "invalid_value", "audio"),
    "audio not base64": (append("§$%&"), "invalid_audio", "audio"),
    "audio without its padding": (append("AAA"), "invalid_audio", "audio"),
    "audio with a line break": (append("AAAA\nAAAA"), "invalid_audio", "audio"),
    "audio of an odd number of bytes": (append(b64encode(b"abc").decode()), "invalid_audio", "audio"),
    "audio empty": (append(""), "invalid_audio", "audio"),
    "unknown field of an event": ({"type": "input_audio_buffer.commit", "now": 1}, "invalid_value", "now"),
    "session missing": ({"type": "session.update"}, "invalid_value", "session"),
    "session of the wrong type": ({"type": "session.update", "session": []}, "invalid_value", "session"),
    "session without a type": ({"type": "session.update", "session": {}}, "invalid_value", "session.type"),
    "session of another type": (update(type="realtime"), "invalid_value", "session.type"),
    "unknown field of the session": (update(colour="red"), "invalid_value", "session.colour"),
    "output of audio": (update(audio={"output": {}}), "invalid_value", "session.audio.output"),
    "unknown include": (update(include=["everything"]), "invalid_value", "session.include[0]"),
    "unknown format": (audio_input(format={"type": "audio/opus"}), "invalid_value", "session.audio.input.format.type"),
    "format as a string": (audio_input(format="pcm16"), "invalid_value", "session.audio.input.format"),
    "another rate": (
        audio_input(format={"type": "audio/pcm", "rate": 16_000}),
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    "a rate of G.711": (
        audio_input(format={"type": "audio/pcmu", "rate": 8_000}),
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    "unknown detection": (
        audio_input(turn_detection={"type": "telepathy"}),
        "invalid_value",
        "session.audio.input.turn_detection.type",
    ),
    "detection without a type": (
        audio_input(turn_detection={"threshold": 0.5}),
        "invalid_value",
        "session.audio.input.turn_detection.type",
    ),
    "threshold too high": (
        server_vad(threshold=1.1),
        "invalid_value",
        "session.audio.input.turn_detection.threshold",
    ),
    "threshold negative": (
        server_vad(threshold=-0.1),
        "invalid_value",
        "session.audio.input.turn_detection.threshold",
    ),
    "threshold of the wrong type": (
        server_vad(threshold="high"),
        "invalid_value",
        "session.audio.input.turn_detection.threshold",
    ),
    "silence negative": (
        server_vad(silence_duration_ms=-1),
        "invalid_value",
        "session.audio.input.turn_detection.silence_duration_ms",
    ),
    "silence too long": (
        server_vad(silence_duration_ms=10_001),
        "invalid_value",
        "session.audio.input.turn_detection.silence_duration_ms",
    ),
    "padding too long": (
        server_vad(prefix_padding_ms=10**30),
        "invalid_value",
        "session.audio.input.turn_detection.prefix_padding_ms",
    ),
    "padding that is no integer": (
        server_vad(prefix_padding_ms=1.5),
        "invalid_value",
        "session.audio.input.turn_detection.prefix_padding_ms",
    ),
    "unknown eagerness": (
        audio_input(turn_detection={"type": "semantic_vad", "eagerness": "frantic"}),
        "invalid_value",
        "session.audio.input.turn_detection.eagerness",
    ),
    "unknown noise reduction": (
        audio_input(noise_reduction={"type": "magic"}),
        "invalid_value",
        "session.audio.input.noise_reduction.type",
    ),
    "unknown model": (
        audio_input(transcription={"model": "gpt-9"}),
        "model_not_found",
        "session.audio.input.transcription.model",
    ),
    "language too long": (
        audio_input(transcription={"language": "x" * 17}),
        "invalid_value",
        "session.audio.input.transcription.language",
    ),
    "unknown language": (
        audio_input(transcription={"language": "xx"}),
        "invalid_value",
        "session.audio.input.transcription.language",
    ),
    "prompt too long": (
        audio_input(transcription={"prompt": "x" * 4_097}),
        "invalid_value",
        "session.audio.input.transcription.prompt",
    ),
    "unknown delay": (
        audio_input(transcription={"delay": "80ms"}),
        "invalid_value",
        "session.audio.input.transcription.delay",
    ),
    "keyword too long": (
        audio_input(transcription={"keywords": ["fine", "x" * 101]}),
        "invalid_value",
        "session.audio.input.transcription.keywords[1]",
    ),
    "too many keywords": (
        audio_input(transcription={"keywords": ["x"] * 257}),
        "invalid_value",
        "session.audio.input.transcription.keywords",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_event_is_answered_with_an_error_that_names_the_field(fault: str) -> None:
    event, code, param = FAULTS[fault]
    detail = refused(json.dumps({**event, "event_id": "evt_bad"}))
    assert (detail["code"], detail["param"], detail["event_id"]) == (code, param, "evt_bad")
    assert param in detail["message"] or param == "type"


def test_an_oversized_append_is_refused() -> None:
    detail = refused(OVERSIZED_APPEND)
    assert (detail["code"], detail["param"], detail["event_id"]) == ("invalid_audio", "audio", "evt_bad")
    assert str(MAX_APPEND_BYTES) in detail["message"]
    assert len(detail["message"]) < 200


@pytest.mark.parametrize(
    "message",
    [
        "",
        "hello",
        "{",
        '{"type":"input_audio_buffer.commit"',
        '{"type":"input_audio_buffer.commit"} trailing',
        '{"type":"nonsense"',
        '{"type":"session.update","session":{"type":"realtime"',
        "[1, 2",
        '{"type":"input_audio_buffer.commit","event_id":"\\ud800"}',
        '{"type":"nonsense","event_id":"\\ud800"}',
        b"\xff\xfe",
        b'{"type":"\xff"}',
        b'{"type":"input_audio_buffer.append","audio":"\xff"}',
        "[" * 100_000,
        '{"type":' * 100_000,
        '{"type":"nonsense","nested":' + "[" * 100_000,
        '{"type":"session.update","session":{"type":"transcription","audio":' + '{"input":' * 100_000,
    ],
)
def test_what_is_no_json_is_refused(message: str | bytes) -> None:
    detail = refused(message)
    assert detail["code"] in {"invalid_json", "invalid_event", "missing_required_parameter", "invalid_value"}
    assert detail["event_id"] is None


@pytest.mark.parametrize("message", ["[]", "[{}]", "null", "true", "7", '"input_audio_buffer.commit"'])
def test_an_event_is_an_object(message: str) -> None:
    assert refused(message)["code"] == "invalid_event"


def test_json_nested_deeply_but_well_formed_is_refused() -> None:
    depth = 100_000
    assert refused('{"type":"nonsense","nested":' + "[" * depth + "]" * depth + "}")["code"] == "invalid_json"


def test_a_beta_event_is_answered_with_its_successor() -> None:
    event = {"type": "transcription_session.update", "session": {}, "event_id": "evt_bad"}
    detail = refused(json.dumps(event))
    assert (detail["code"], detail["param"], detail["event_id"]) == ("beta_event", "type", "evt_bad")
    assert "session.update" in detail["message"]


@pytest.mark.parametrize(
    ("beta", "successor"),
    [
        ("input_audio_format", "session.audio.input.format"),
        ("input_audio_transcription", "session.audio.input.transcription"),
        ("input_audio_noise_reduction", "session.audio.input.noise_reduction"),
        ("turn_detection", "session.audio.input.turn_detection"),
        ("output_audio_format", "session.audio.output.format"),
        ("modalities", "session.output_modalities"),
        ("voice", "session.audio.output.voice"),
    ],
)
@pytest.mark.parametrize("session_type", [{}, {"type": "transcription"}])
def test_a_beta_field_is_answered_with_its_successor(beta: str, successor: str, session_type: dict[str, str]) -> None:
    event = {"type": "session.update", "session": {**session_type, beta: None}, "event_id": "evt_bad"}
    detail = refused(json.dumps(event))
    assert (detail["param"], detail["event_id"]) == (f"session.{beta}", "evt_bad")
    assert f"`{successor}`" in detail["message"]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.create"},
        {"type": "response.cancel"},
        {"type": "output_audio_buffer.clear"},
        {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": []}},
        {"type": "conversation.item.delete", "item_id": "item_1"},
        {"type": "conversation.item.retrieve", "item_id": "item_1"},
        {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 0},
    ],
)
def test_events_of_conversations_are_refused_in_a_transcription_session(event: dict[str, Any]) -> None:
    detail = refused(json.dumps({**event, "event_id": "evt_bad"}))
    assert (detail["code"], detail["param"], detail["event_id"]) == ("unsupported_event", "type", "evt_bad")
    assert event["type"] in detail["message"]


@pytest.mark.parametrize("event_id", [7, None, ["x"], {}])
def test_an_event_id_that_is_no_string_is_not_echoed(event_id: Any) -> None:
    assert refused(json.dumps({"type": "nonsense", "event_id": event_id}))["event_id"] is None


@pytest.mark.parametrize(
    "event",
    [
        {"type": "x" * 10**6},
        {"type": "input_audio_buffer.commit", "x" * 10**6: 1},
        {"type": "input_audio_buffer.commit", "event_id": "x" * 10**6},
        update(include=["x" * 10**6]),
        audio_input(transcription={"model": "x" * 10**6}),
    ],
)
def test_megabytes_of_nonsense_are_not_echoed(event: dict[str, Any]) -> None:
    assert len(json.dumps(refused(json.dumps(event)))) < 4_000
