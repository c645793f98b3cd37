"""Functions as tools of a conversation."""

import asyncio
from typing import Annotated, Any, Literal

import pytest

from millstream import ReplyDone, ReplyStarted, Tool, ToolCall, ToolResult
from millstream.protocol.replies import Replies
from tests.sdk.talk import talking
from tests.server import Server

TOKENS = 40
REQUIRED = {"tool_choice": "required"}


def book(
    room: Annotated[str, "which room"], people: int, kind: Literal["desk", "hall"] = "desk", note: str | None = None
) -> str:
    """Book a room."""
    return f"{room} {people} {kind} {note}"


def test_schema() -> None:
    tool = Tool.of(book)
    assert (tool.name, tool.description) == ("book", "Book a room.")
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "room": {"type": "string", "description": "which room"},
            "people": {"type": "integer"},
            "kind": {"enum": ["desk", "hall"]},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["room", "people"],
        "additionalProperties": False,
    }


def test_functions_that_cannot_be_tools() -> None:
    def bytes_in(data: bytes) -> None: ...
    def bare(data) -> None: ...  # type: ignore[no-untyped-def]
    def rest(*data: str) -> None: ...

    for function in (bytes_in, bare, rest):
        with pytest.raises(TypeError, match=f"{function.__name__}: a tool's parameter.* 'data'"):
            Tool.of(function)


async def test_calls() -> None:
    async def later(word: str) -> list[str]:
        await asyncio.sleep(0)
        return [word]

    assert await Tool.of(later).call({"word": "é"}) == '["é"]'
    assert await Tool.of(book).call({"room": "a", "people": 2}) == "a 2 desk None"
    with pytest.raises(ValueError, match="at most 100000 characters"):
        await Tool("long", "", {}, lambda: "x" * 100_001).call({})


async def test_a_tool_of_ones_own(server: Server) -> None:
    """The call comes as an event, and the reply to its result by itself."""
    tool = Tool("get_time", "Tell the time.", {"type": "object", "properties": {}})
    async with talking(server.url, TOKENS, text_only=True, tools=[tool]) as talk:
        await talk.conversation.send_text("What time is it?", **REQUIRED)
        call = await talk.wait(ToolCall)
        assert (call.name, call.arguments) == ("get_time", {})
        assert (await talk.wait(ReplyDone)).status == "completed"
        await talk.conversation.tool_result(call.call, "It is noon.")
        done = await talk.wait(ReplyDone, 2)
    assert done.usage is not None
    assert done.status in ("completed", "incomplete")


async def test_a_tool_that_fails(server: Server) -> None:
    """The model is told, and replies."""

    def get_time() -> str:
        """Tell the time."""
        raise LookupError("the clock has stopped")

    async with talking(server.url, TOKENS, text_only=True, tools=[get_time]) as talk:
        await talk.conversation.send_text("What time is it?", **REQUIRED)
        result = await talk.wait(ToolResult)
        await talk.wait(ReplyStarted, 2)
    assert (result.name, result.failed) == ("get_time", True)
    assert result.output == "LookupError: the clock has stopped"


def started(name: str) -> dict[str, Any]:
    return {"id": name, "conversation_id": "conv"}


def test_one_reply_to_all_results() -> None:
    replies = Replies()
    replies.start(started("first"))
    replies.call("first", "a")
    replies.call("first", "b")
    replies.result("a")
    replies.finish("first")
    assert not replies.due
    replies.result("b")
    assert replies.due
    replies.ask({})
    assert not replies.due


def test_a_late_result_waits_for_the_reply_in_progress() -> None:
    replies = Replies()
    replies.start(started("first"))
    replies.call("first", "a")
    replies.finish("first")
    replies.start(started("second"))
    replies.result("a")
    assert not replies.due
    replies.finish("second")
    assert replies.due
    replies.start(started("third"))
    replies.finish("third")
    assert not replies.due
