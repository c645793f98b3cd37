"""Clients that misbehave: they are told so, and nobody else suffers."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.metrics import idle, sessions, slots_used, until
from tests.e2e.raw import Caller, calling
from tests.e2e.speech import REFERENCE, clip, said, silence
from tests.server import Server, running_server

KEY = "right-key"
"""Of the guarded server."""
MIB = 2**20
PACED = 1.0


@pytest.fixture(scope="module")
def hasty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(
        tmp_path_factory.mktemp("hasty"), MILLSTREAM_IDLE_TIMEOUT_S="1.5", MILLSTREAM_SESSION_MAX_S="4"
    ) as started:
        yield started


async def assert_transcribes(caller: Caller, name: str = "sense_0930", count: int = 1) -> None:
    await caller.say(clip(name) + silence(1))
    assert said(await caller.transcript(count), REFERENCE[name]) <= 0.15


# --- messages ---


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("\x00\ud7ff", "invalid_json", None),
        (b"\xff\xfe\x00binary", "invalid_json", None),
        ("[" * 5_000, "invalid_event", None),
        ("[]", "invalid_event", None),
        ("{}", "missing_required_parameter", "type"),
        ('{"type": "make.coffee"}', "unknown_event", "type"),
        (json.dumps({"type": "x" * MIB, "y" * MIB: None}), "unknown_event", "type"),
        (json.dumps({"type": "input_audio_buffer.clear", "y" * MIB: None}), "invalid_value", "y" * 1_024),
        (json.dumps({"type": "input_audio_buffer.clear", "event_id": "y" * MIB}), "invalid_value", "event_id"),
        ('{"type": "transcription_session.update", "session": {}}', "beta_event", "type"),
        ('{"type": "response.create"}', "unsupported_event", "type"),
        ('{"type": "input_audio_buffer.append"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": 7}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "*"}', "invalid_audio", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "AAA="}', None, None),
        ('{"type": "input_audio_buffer.append", "audio": "AA=="}', "invalid_audio", "audio"),
        ('{"type": "session.update", "session": {"type": "realtime"}}', "invalid_value", "session.type"),
        (
            '{"type": "session.update", "session": {"type": "transcription", "turn_detection": null}}',
            "invalid_value",
            "session.turn_detection",
        ),
    ],
)
async def test_bad_message(server: Server, message: str | bytes, code: str | None, param: str | None) -> None:
    async with calling(server) as caller:
        await caller.heard.wait("session.created")
        await caller.connection.send(message)
        await caller.send("input_audio_buffer.clear")
        await caller.heard.wait("cleared")
        errors = [event["error"] for event in caller.heard.of("error")]

    assert [(error["code"], error["param"]) for error in errors] == ([(code, param)] if code else [])
    assert all(0 < len(error["message"]) <= 1_024 for error in errors)


async def test_error_names_the_event(server: Server) -> None:
    async with calling(server) as caller:
        await caller.send("make.coffee", event_id="mine")
        assert (await caller.error())["event_id"] == "mine"


async def test_session_survives_bad_messages(server: Server) -> None:
    async with calling(server) as caller:
        for garbage in ("{", b"\x00", '{"type": "make.coffee"}', '{"type": "input_audio_buffer.append", "audio": "*"}'):
            await caller.connection.send(garbage)
        assert (await caller.error(4))["code"] == "invalid_audio"
        await assert_transcribes(caller)


async def test_append_too_large(server: Server) -> None:
    async with calling(server) as caller:
        await caller.append(bytes(12 * MIB))
        error = await caller.error()
        await assert_transcribes(caller)

    assert (error["code"], error["param"]) == ("invalid_audio", "audio")
    assert str(15 * MIB) in error["message"]


async def test_message_too_large(server: Server) -> None:
    async with calling(server) as caller:
        with suppress(ConnectionClosed):
            await caller.connection.send("x" * 30 * MIB)
        over = await caller.heard.end()

    assert isinstance(over, ConnectionClosed)
    assert over.rcvd is not None
    assert over.rcvd.code == 1009
    await idle(server)


async def test_large_append(server: Server) -> None:
    """Eleven minutes of silence, then words: nothing is lost, and nothing takes long."""
    async with calling(server) as caller:
        await caller.append(bytes(11 * MIB))
        await assert_transcribes(caller, "sense_0920")

    assert not caller.heard.of("error")


# --- too much, too fast ---


async def test_ten_thousand_events(guarded_server: Server) -> None:
    async with calling(guarded_server, KEY) as caller:
        for _ in range(10_000):
            await caller.send("input_audio_buffer.clear")
        await caller.heard.wait("cleared", 10_000)
        errors = {event["error"]["code"] for event in caller.heard.of("error")}
        await assert_transcribes(caller)

    assert errors == {"rate_limit_exceeded"}


async def test_flood_does_not_starve_a_neighbour(server: Server) -> None:
    """What is said at real-time pace beside a flood is heard and answered while the flood goes on."""
    async with calling(server) as flooder:
        flooding = asyncio.create_task(_flood(flooder))
        await flooder.heard.wait("delta")
        async with calling(server) as neighbour:
            await neighbour.heard.wait("session.created")
            await neighbour.say(clip("sense_0930") + silence(0.7), PACED)
            await neighbour.heard.wait("delta")
            assert said(await neighbour.transcript(), REFERENCE["sense_0930"]) <= 0.15
        assert not flooding.done()
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        flooder.connection.transport.abort()
    await idle(server)


async def _flood(caller: Caller) -> None:
    audio = clip("sense_0870") * 10
    while True:
        await caller.append(audio)


# --- leaving without a word ---


async def test_client_that_vanishes_in_the_middle_of_a_word(server: Server) -> None:
    await idle(server)
    async with calling(server) as caller:
        await caller.say(clip("sense_0870")[:96_000])
        await caller.heard.wait("speech_started")
        assert sessions(server) == 1
        await until(lambda: slots_used(server) == 1)
        _reset(caller.connection)
        await idle(server)


def _reset(connection: ClientConnection) -> None:
    """Drop the connection with a TCP reset."""
    raw: socket.socket = connection.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


async def test_client_that_never_reads(guarded_server: Server) -> None:
    await idle(guarded_server, KEY)
    async with calling(guarded_server, KEY) as neighbour, _deaf(guarded_server, KEY):
        await neighbour.heard.wait("session.created")
        await until(lambda: sessions(guarded_server, KEY) == 2)
        await until(lambda: sessions(guarded_server, KEY) == 1, timeout_s=30)
        await assert_transcribes(neighbour)
    await idle(guarded_server, KEY)


async def test_time_runs_out_for_a_client_that_never_reads(hasty_server: Server) -> None:
    gateway = hasty_server.part("gateway")
    async with _deaf(hasty_server):
        await asyncio.sleep(1)
        before = gateway.memory_info().rss
        await asyncio.sleep(4)
        assert gateway.memory_info().rss - before < 64 * MIB
    await idle(hasty_server)


@asynccontextmanager
async def _deaf(server: Server, key: str | None = None) -> AsyncIterator[None]:
    """A client that makes the server answer with megabytes and reads none of it."""
    narrow = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    url = f"{server.realtime_url}/realtime?intent=transcription"
    headers = {"Authorization": f"Bearer {key}"} if key else None
    async with connect(url, sock=narrow, additional_headers=headers, max_queue=1, compression=None) as connection:
        provoking = asyncio.create_task(_provoke(connection))
        try:
            yield
        finally:
            provoking.cancel()
            await asyncio.gather(provoking, return_exceptions=True)
            connection.transport.abort()


async def _provoke(connection: ClientConnection) -> None:
    """Events that are answered at length."""
    transcription = {"keywords": ["x" * 100] * 256}
    session = {"type": "transcription", "audio": {"input": {"transcription": transcription}}}
    event = json.dumps({"type": "session.update", "session": session})
    with suppress(ConnectionClosed):
        while True:
            await connection.send(event)


# --- limits ---


async def test_server_full(guarded_server: Server) -> None:
    await idle(guarded_server, KEY)
    async with calling(guarded_server, KEY) as first, calling(guarded_server, KEY) as second:
        await first.heard.wait("session.created")
        await second.heard.wait("session.created")
        async with calling(guarded_server, KEY) as third:
            error = await third.error()
            over = await third.heard.end()
        await assert_transcribes(first)
    await idle(guarded_server, KEY)
    async with calling(guarded_server, KEY) as fourth:
        await assert_transcribes(fourth)

    assert error["code"] == "server_full"
    assert isinstance(over, ConnectionClosed)
    assert over.rcvd is not None
    assert over.rcvd.code == 1013
    assert "slot" in over.rcvd.reason
    assert "session.created" not in third.heard.kinds


async def test_idle_client(hasty_server: Server) -> None:
    async with calling(hasty_server) as caller:
        await caller.heard.wait("session.created")
        error, over = await caller.error(), await caller.heard.end()

    assert error["code"] == "idle_timeout"
    assert _close_code(over) == 1000


async def test_longest_session(hasty_server: Server) -> None:
    async with calling(hasty_server) as caller:
        with suppress(ConnectionClosed):
            await caller.say(silence(30), PACED)
        error, over = await caller.error(), await caller.heard.end()

    assert error["code"] == "session_expired"
    assert _close_code(over) == 1000
    await idle(hasty_server)


def _close_code(over: BaseException) -> int | None:
    assert isinstance(over, ConnectionClosed)
    return over.rcvd.code if over.rcvd else None
