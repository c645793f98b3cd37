"""Conversations gone wrong: clear errors, and the session goes on."""

import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.conversing import Talker, talking
from tests.e2e.metrics import idle, metric, until
from tests.server import Server

KEY = "right-key"
"""Of the guarded server, which has two slots for each service."""
MIB = 2**20
CUT_OFF_S = 15.0
"""Until the first words are said, and a second after that; without that bound the ping would notice after 20."""
LONG_WINDED = "Tell me a very long story about a cat, a dog and a horse, with every detail."
BROKEN_SCHEMA = {"type": "object", "properties": {"city": {"type": "town"}}}


def message(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **fields}


async def assert_replies(talker: Talker) -> None:
    """Whatever has happened, it can still be talked to."""
    before = len(talker.of("response.done"))
    await talker.respond(conversation="none", input=[message("Hello.")], max_output_tokens=4)
    response = await talker.done(before + 1)
    assert talker.audio(response)


async def test_response_while_one_is_active(server: Server) -> None:
    async with talking(server) as talker:
        await talker.write(LONG_WINDED)
        await talker.respond(max_output_tokens=12)
        second: Any = {"type": "response.create", "event_id": "mine"}
        await talker.connection.send(second)
        error = await talker.error()
        response = await talker.done()
        await assert_replies(talker)

    assert (error.code, error.event_id) == ("conversation_already_has_active_response", "mine")
    assert response.status in ("completed", "incomplete")
    assert talker.audio(response)


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "conversation.item.retrieve", "item_id": "gone"}, "item_not_found", "item_id"),
        ({"type": "conversation.item.delete", "item_id": "gone"}, "item_not_found", "item_id"),
        (
            {"type": "conversation.item.truncate", "item_id": "gone", "content_index": 0, "audio_end_ms": 0},
            "item_not_found",
            "item_id",
        ),
        (
            {"type": "conversation.item.create", "previous_item_id": "gone", "item": message("Hello.")},
            "item_not_found",
            "previous_item_id",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "gone", "output": "1"},
            },
            "invalid_value",
            "item.call_id",
        ),
        (
            {"type": "response.create", "response": {"input": [{"type": "item_reference", "id": "gone"}]}},
            "item_not_found",
            "response.input[0].id",
        ),
        ({"type": "response.cancel"}, "response_cancel_not_active", None),
        ({"type": "response.cancel", "response_id": "gone"}, "response_cancel_not_active", "response_id"),
        ({"type": "output_audio_buffer.clear"}, "unsupported_event", "type"),
        (
            {"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"voice": "robot"}}}},
            "invalid_value",
            "session.audio.output.voice",
        ),
        (
            {"type": "response.create", "response": {"audio": {"output": {"voice": "robot"}}}},
            "invalid_value",
            "response.audio.output.voice",
        ),
        (
            {
                "type": "session.update",
                "session": {
                    "type": "realtime",
                    "tools": [{"type": "function", "name": "f", "parameters": BROKEN_SCHEMA}],
                },
            },
            "invalid_value",
            "session.tools[0].parameters.properties.city.type",
        ),
        (
            {"type": "response.create", "response": {"tool_choice": {"type": "function", "name": "f"}}},
            "invalid_value",
            "response.tool_choice",
        ),
        (
            {"type": "response.create", "response": {"max_output_tokens": 0}},
            "invalid_value",
            "response.max_output_tokens",
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else None,
)
async def test_bad_event(server: Server, event: Any, code: str, param: str | None) -> None:
    async with talking(server) as talker:
        named: Any = {**event, "event_id": "mine"}
        await talker.connection.send(named)
        error = await talker.error()
        await talker.write("Hello.")
        await talker.wait("conversation.item.done")

    assert (error.code, error.param, error.event_id) == (code, param, "mine")
    assert not talker.of("response.created")


async def test_truncation_beyond_the_end(server: Server) -> None:
    async with talking(server) as talker:
        await talker.write("Hello.")
        await talker.respond(max_output_tokens=8)
        (item,) = (await talker.done()).output or []
        await talker.connection.conversation.item.truncate(
            item_id=item.id or "", content_index=0, audio_end_ms=3_600_000
        )
        error = await talker.error()
        await talker.connection.conversation.item.truncate(item_id=item.id or "", content_index=1, audio_end_ms=0)
        index_error = await talker.error(2)
        kept = await talker.retrieved(item.id or "")

    assert (error.code, error.param) == ("invalid_value", "audio_end_ms")
    assert index_error.param == "content_index"
    assert kept.content[0].transcript == item.content[0].transcript  # type: ignore[union-attr]


@pytest.mark.parametrize("truncation", ["auto", "disabled"])
async def test_overlong_text(server: Server, truncation: str) -> None:
    async with talking(server) as talker:
        shown = await talker.updated(truncation=truncation)
        await talker.write("word " * 10_000)
        await talker.respond()
        failed = await talker.done(1)
        await talker.connection.conversation.item.delete(item_id=talker.of("item.added")[0].item.id)
        await talker.write("Hello.")
        await talker.respond(max_output_tokens=4)
        replied = await talker.done(2)

    assert shown.truncation == truncation
    assert _failure(failed) == "context_length_exceeded"
    assert talker.audio(replied)


async def test_emoji(server: Server) -> None:
    async with talking(server) as talker:
        await talker.write("😀🎉🐈")
        await talker.respond(max_output_tokens=8)
        response = await talker.done()

    assert response.status in ("completed", "incomplete")


async def test_client_that_vanishes_in_the_middle_of_a_reply(server: Server) -> None:
    await idle(server)
    url = f"{server.realtime_url}/realtime"
    async with connect(url) as connection:
        await _ask_for_a_story(connection)
        while json.loads(await connection.recv())["type"] != "response.output_audio.delta":
            pass
        await until(lambda: _slots(server) == {"listen": 1, "think": 1, "speak": 1})
        raw: socket.socket = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.transport.abort()
        await idle(server)


async def test_client_that_asks_for_audio_and_never_reads(guarded_server: Server) -> None:
    await idle(guarded_server, KEY)
    gateway = guarded_server.part("gateway")
    before = gateway.memory_info().rss
    async with _guest(guarded_server) as neighbour, _deaf(guarded_server) as deaf:
        await _ask_for_a_story(deaf)
        await until(lambda: metric(guarded_server, "millstream_sessions", KEY) == 2)
        await until(lambda: metric(guarded_server, "millstream_sessions", KEY) == 1, CUT_OFF_S)
        await assert_replies(neighbour)
        assert gateway.memory_info().rss - before < 64 * MIB
    await idle(guarded_server, KEY)


async def test_server_full(guarded_server: Server) -> None:
    await idle(guarded_server, KEY)
    async with _guest(guarded_server) as first, _guest(guarded_server) as second:
        url = f"{guarded_server.realtime_url}/realtime"
        async with connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}) as third:
            refusal = json.loads(await third.recv())
            with pytest.raises(ConnectionClosed) as caught:
                await third.recv()
        await first.respond(conversation="none", input=[message("Hello.")])
        failed = await first.done()
        await second.respond(input=[message("Hello.")], max_output_tokens=4)
        replied = await second.done()

    assert refusal["error"]["code"] == "server_full"
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1013
    assert _failure(failed) == "server_full"
    assert second.audio(replied)


def _failure(response: Any) -> str | None:
    """Why it failed."""
    return response.status_details.error.code if response.status == "failed" else None


def _slots(server: Server) -> dict[str, int]:
    return {
        service: round(metric(server, "millstream_slots", state="used", service=service))
        for service in ("listen", "think", "speak")
    }


@asynccontextmanager
async def _guest(server: Server) -> AsyncIterator[Talker]:
    async with talking(server, KEY) as talker:
        yield talker


async def _ask_for_a_story(connection: ClientConnection) -> None:
    await connection.send(json.dumps({"type": "response.create", "response": {"input": [message(LONG_WINDED)]}}))


@asynccontextmanager
async def _deaf(server: Server) -> AsyncIterator[ClientConnection]:
    """A client that reads nothing. Its segments are small, and so are the server's buffers for it."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    narrow.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    narrow.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    headers = {"Authorization": f"Bearer {KEY}"}
    url = f"{server.realtime_url}/realtime"
    async with connect(url, sock=narrow, additional_headers=headers, max_queue=1, compression=None) as connection:
        try:
            yield connection
        finally:
            connection.transport.abort()
