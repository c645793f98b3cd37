"""What sessions make of a server's messages, without a server."""

import json
from typing import Any

import pytest

from millstream import Final, Refused, ReplyDone, ServerError, ToolCall
from millstream.errors import Dropped
from millstream.protocol.base import Protocol
from millstream.protocol.conversation import TO_RESULTS, ConversationProtocol
from millstream.protocol.transcription import TranscriptionProtocol

USAGE = {"input_tokens": 5, "output_tokens": 3, "input_token_details": {"cached_tokens": 2}}
CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at": "it"}'}


def receive(protocol: Protocol[Any], kind: str, **fields: Any) -> None:
    protocol.receive(json.dumps({"type": kind, **fields}))


def refuse(protocol: Protocol[Any], kind: str, code: str, event_id: str | None = None) -> None:
    error = {"type": kind, "code": code, "message": code, "param": None, "event_id": event_id}
    receive(protocol, "error", error=error)


def begun(protocol: Protocol[Any]) -> Any:
    """The protocol, once the server has agreed."""
    protocol.begin()
    receive(protocol, "session.created", session={})
    receive(protocol, "session.updated", session={})
    assert protocol.ready
    protocol.outgoing.clear()
    return protocol


def said(protocol: Protocol[Any]) -> list[str]:
    """The types of the events that are to be sent."""
    kinds = [json.loads(event)["type"] for event in protocol.outgoing]
    protocol.outgoing.clear()
    return kinds


@pytest.fixture
def transcription() -> TranscriptionProtocol:
    protocol: TranscriptionProtocol = begun(TranscriptionProtocol({"transcription": {}}))
    return protocol


@pytest.fixture
def conversation() -> ConversationProtocol:
    protocol: ConversationProtocol = begun(ConversationProtocol({"audio": {"input": {"turn_detection": None}}}))
    return protocol


def reply(conversation: ConversationProtocol, name: str) -> None:
    receive(conversation, "response.created", response={"id": name, "conversation_id": "conv"})


def done(conversation: ConversationProtocol, name: str) -> None:
    response = {"id": name, "status": "completed", "status_details": None, "usage": USAGE}
    receive(conversation, "response.done", response=response)


@pytest.mark.parametrize("code", ["session_expired", "server_full", "stream_lost"])
def test_a_session_that_a_new_one_may_replace(transcription: TranscriptionProtocol, code: str) -> None:
    with pytest.raises(Dropped):
        refuse(transcription, "server_error", code)


@pytest.mark.parametrize(("kind", "code"), [("server_error", "idle_timeout"), ("invalid_request_error", "bad_value")])
def test_a_session_that_ends(transcription: TranscriptionProtocol, kind: str, code: str) -> None:
    with pytest.raises(ServerError) as caught:
        refuse(transcription, kind, code)
    assert not isinstance(caught.value, Dropped)


def test_a_client_that_is_slowed_down_goes_on(transcription: TranscriptionProtocol) -> None:
    refuse(transcription, "server_error", "rate_limit_exceeded")
    assert not transcription.events


def test_options_are_sent_again_as_they_were_changed(conversation: ConversationProtocol) -> None:
    conversation.update({"instructions": "Be brief.", "audio": {"output": {"voice": "nova"}}})
    conversation.update({"audio": {"output": {"speed": 1.2}}})
    conversation.drop()
    conversation.begin()
    (event,) = conversation.outgoing
    assert json.loads(event)["session"] == {
        "type": "realtime",
        "instructions": "Be brief.",
        "audio": {"input": {"turn_detection": None}, "output": {"voice": "nova", "speed": 1.2}},
    }


def test_results_are_replied_to_even_if_another_reply_has_just_begun(conversation: ConversationProtocol) -> None:
    reply(conversation, "first")
    receive(conversation, "response.output_item.done", response_id="first", item={**CALL, "status": "completed"})
    done(conversation, "first")
    conversation.result("call_1", "a cat")
    assert said(conversation) == ["conversation.item.create", "response.create"]
    refuse(conversation, "invalid_request_error", "conversation_already_has_active_response", TO_RESULTS)
    reply(conversation, "second")
    done(conversation, "second")
    events = list(conversation.events)
    assert ToolCall("call_1", "look", {"at": "it"}, "first") in events
    assert not [event for event in events if isinstance(event, Refused)]
    assert all(event.usage for event in events if isinstance(event, ReplyDone))


def test_a_call_that_was_interrupted_is_none(conversation: ConversationProtocol) -> None:
    reply(conversation, "first")
    item = {**CALL, "arguments": '{"at', "status": "incomplete"}
    receive(conversation, "response.output_item.done", response_id="first", item=item)
    assert not [event for event in conversation.events if isinstance(event, ToolCall)]


def test_what_was_said_is_told_anew_in_order(conversation: ConversationProtocol) -> None:
    """A user's turn that came before what the assistant had begun to say, an item that is gone, a call."""
    for name, previous in (("a", None), ("c", "a"), ("b", "a"), ("gone", "c")):
        content = [{"type": "input_audio", "transcript": None}]
        item = {"id": name, "type": "message", "role": "user", "content": content}
        receive(conversation, "conversation.item.done", item=item, previous_item_id=previous)
    for name in "abc":
        kind = "conversation.item.input_audio_transcription.completed"
        receive(conversation, kind, item_id=name, transcript=name.upper(), usage={"seconds": 1})
    receive(conversation, "conversation.item.deleted", item_id="gone")
    receive(conversation, "conversation.item.done", item={"id": "d", **CALL}, previous_item_id="c")
    conversation.result("call_1", "a cat")
    conversation.drop()
    conversation.begin()
    conversation.outgoing.clear()
    receive(conversation, "session.updated", session={})
    events = [json.loads(event) for event in conversation.outgoing]
    items = [event["item"] for event in events if event["type"] == "conversation.item.create"]
    assert [item["id"] for item in items[:4]] == ["a", "b", "c", "d"]
    assert [part["transcript"] for item in items[:3] for part in item["content"]] == ["A", "B", "C"]
    assert items[4]["output"] == "a cat"
    conversation.truncate("c", 100)
    assert len(conversation.outgoing) == len(events)
    assert [event.text for event in conversation.events if isinstance(event, Final)] == ["A", "B", "C"]
