"""The official OpenAI client has texts spoken."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any, Literal

import httpx
import openai
import pytest
from openai import OpenAI
from redis.asyncio import Redis

from app.rest.audio_file import decode
from app.rest.speech import AHEAD_CHARS, TEXT_CHARS
from app.settings import Settings
from models.tts.clauses import MAX_CLAUSE_CHARS
from models.tts.kokoro import MAX_SILENT_CHARS
from tests.app.rest.gateway import alone
from tests.app.rest.murmur import SAMPLES_PER_CHAR, Murmur, speak
from tests.e2e.metrics import idle, metric, sessions
from tests.e2e.speech import said, seconds
from tests.server import Server
from tests.workers.harness import running
from workers.worker import Worker

SENTENCE = "The kettle is on the table."
LONG = "We walked along the river until the sun went down, and then we went home. " * 40
"""Takes longer to synthesise than `idle` waits."""
BEGINNING_S = 20.0
MODEL = "kokoro"
RATE_HZ = 24_000


@pytest.fixture
def client(server: Server) -> OpenAI:
    return OpenAI(api_key="unused", base_url=f"{server.url}/v1", max_retries=0)


@pytest.fixture(scope="module")
def pcm(server: Server) -> bytes:
    """The sentence in the default voice."""
    return httpx.post(f"{server.url}/v1/audio/speech", json=body(response_format="pcm")).content


def body(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": SENTENCE, "voice": "af_heart", **fields}


def decoded(data: bytes) -> bytes:
    return b"".join(decode(BytesIO(data), RATE_HZ))


def spoken(client: OpenAI, **fields: Any) -> bytes:
    return client.audio.speech.create(**{**body(), "response_format": "pcm", **fields}).content


# --- answers ---


def test_it_says_what_it_is_told(client: OpenAI) -> None:
    speech = client.audio.speech.create(model="tts-1", voice="alloy", input=SENTENCE, response_format="wav")
    heard = client.audio.transcriptions.create(file=("speech.wav", speech.content), model="whisper-1")
    assert said(heard.text, SENTENCE) == 0
    assert 1.0 < seconds(decoded(speech.content)) < 4.0


@pytest.mark.parametrize(
    ("kind", "media_type", "head"),
    [
        ("mp3", "audio/mpeg", b"\xff"),
        ("opus", "audio/ogg", b"OggS"),
        ("aac", "audio/aac", b"\xff\xf1"),
        ("flac", "audio/flac", b"fLaC"),
        ("wav", "audio/wav", b"RIFF"),
    ],
)
def test_format(
    client: OpenAI, pcm: bytes, kind: Literal["mp3", "opus", "aac", "flac", "wav"], media_type: str, head: bytes
) -> None:
    answer = client.audio.speech.create(model=MODEL, voice="af_heart", input=SENTENCE, response_format=kind)
    assert answer.response.headers["content-type"] == media_type
    assert answer.content.startswith(head)
    assert seconds(decoded(answer.content)) == pytest.approx(seconds(pcm), abs=0.15)


def test_mp3_unless_told_otherwise(client: OpenAI) -> None:
    answer = client.audio.speech.create(model=MODEL, voice="af_heart", input="Yes.")
    assert answer.response.headers["content-type"] == "audio/mpeg"


def test_voice_and_speed(client: OpenAI, pcm: bytes) -> None:
    assert spoken(client, voice="marin") == pcm
    assert spoken(client, voice={"id": "marin"}) == pcm
    assert spoken(client, voice="onyx") != pcm
    assert seconds(spoken(client, speed=2.0)) == pytest.approx(seconds(pcm) / 2, rel=0.25)


def test_options_of_stock_clients(client: OpenAI) -> None:
    answer = client.audio.speech.create(
        model="gpt-4o-mini-tts", voice="coral", input="Yes.", instructions="Sound glad.", response_format="opus"
    )
    assert 0.2 < seconds(decoded(answer.content)) < 2


def test_server_sent_events(client: OpenAI, pcm: bytes) -> None:
    with client.audio.speech.with_streaming_response.create(
        model=MODEL, voice="af_heart", input=SENTENCE, response_format="pcm", stream_format="sse"
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    *deltas, done = events
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == pcm
    assert done["type"] == "speech.audio.done"


async def test_audio_comes_while_the_rest_is_made(server: Server) -> None:
    """And when the listener leaves, nothing more is made."""
    await idle(server)
    waited = metric(server, "millstream_rest_first_output_seconds_count", service="speak")
    async with _speaking(server, LONG) as (answer, pieces):
        first = await anext(pieces)
        second = await anext(pieces)
        assert sessions(server) == 1
    assert answer.headers["content-type"] == "audio/ogg"
    assert seconds(decoded(first + second)) < BEGINNING_S
    await idle(server)
    assert metric(server, "millstream_rest_first_output_seconds_count", service="speak") == waited + 1


async def test_no_more_text_is_pushed_than_is_spoken(redis: Redis, redis_url: str) -> None:
    model, text = Murmur(), "ä" * 20_050
    async with running(Worker(speak(model), redis).run()), alone(redis_url) as gateway:
        answer = await gateway.post("/v1/audio/speech", json=body(input=text, response_format="pcm"))
    assert len(answer.content) == len(text) * SAMPLES_PER_CHAR * 2
    assert model.most_waiting <= AHEAD_CHARS + TEXT_CHARS


def test_text_that_is_held_back_is_no_standstill(client: OpenAI) -> None:
    assert AHEAD_CHARS > MAX_SILENT_CHARS + MAX_CLAUSE_CHARS
    assert seconds(spoken(client, input="😀" * 10_000 + " Hello.")) < 3


async def test_two_at_once(server: Server) -> None:
    async with _speaking(server, LONG) as (_, first), _speaking(server, LONG) as (_, second):
        for _ in range(2):
            assert await anext(first)
            assert await anext(second)
    await idle(server)


@asynccontextmanager
async def _speaking(server: Server, text: str) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[bytes]]]:
    """A listener who leaves in the end."""
    wanted = body(input=text, response_format="opus")
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", f"{server.url}/v1/audio/speech", json=wanted) as answer,
    ):
        yield answer, answer.aiter_raw()


# --- refusals ---


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "no-such-model"}, 404, "model"),
        ({"voice": "nobody"}, 400, "voice"),
        ({"voice": {"id": "nobody"}}, 400, "voice"),
        ({"voice": 3}, 400, "voice"),
        ({"response_format": "midi"}, 400, "response_format"),
        ({"speed": 0.2}, 400, "speed"),
        ({"speed": 4.1}, 400, "speed"),
        ({"speed": "fast"}, 400, "speed"),
        ({"stream_format": "smoke"}, 400, "stream_format"),
        ({"input": ""}, 400, "input"),
        ({"input": "x" * 50_001}, 400, "input"),
        ({"input": " \n "}, 400, "input"),
        ({"input": "😀🎉 👍"}, 400, "input"),
        ({"input": None}, 400, "input"),
        ({"extra_body": {"colour": "red"}}, 400, "colour"),
    ],
)
def test_bad_field(client: OpenAI, fields: dict[str, Any], status: int, param: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        spoken(client, **fields)
    assert caught.value.status_code == status
    assert caught.value.param == param
    assert caught.value.code
    assert param in caught.value.message


def test_missing_fields(server: Server) -> None:
    for name in ("model", "input"):
        wanted = {key: value for key, value in body().items() if key != name}
        answer = httpx.post(f"{server.url}/v1/audio/speech", json=wanted)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b'{"input": ' + b"[" * 100_000])
def test_body_that_is_no_object(server: Server, content: bytes) -> None:
    answer = httpx.post(f"{server.url}/v1/audio/speech", content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_body_too_large(server: Server) -> None:
    limit = Settings().max_json_bytes

    def pieces() -> Iterator[bytes]:
        yield from [bytes(2**16)] * (limit // 2**16 + 1)

    answer = httpx.post(f"{server.url}/v1/audio/speech", content=pieces())
    assert answer.status_code == 413
    assert str(limit) in answer.json()["error"]["message"]


async def test_speech_that_takes_too_long(guarded_server: Server) -> None:
    """What was sent is not taken for whole."""
    headers = {"authorization": "Bearer right-key"}
    async with httpx.AsyncClient(headers=headers, timeout=30) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(f"{guarded_server.url}/v1/audio/speech", json=body(input=LONG))
    await idle(guarded_server, "right-key")


def test_key(guarded_server: Server) -> None:
    answer = httpx.post(f"{guarded_server.url}/v1/audio/speech", json=body())
    assert answer.status_code == 401


async def test_no_worker(redis_url: str) -> None:
    async with alone(redis_url, claim_timeout_s=0.1) as gateway:
        answer = await gateway.post("/v1/audio/speech", json=body())
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "server_full"
    assert int(answer.headers["retry-after"]) > 0


async def test_too_many_sessions(redis_url: str) -> None:
    async with alone(redis_url, claim_timeout_s=0.5, max_sessions=1) as gateway:
        answers = await asyncio.gather(*(gateway.post("/v1/audio/speech", json=body()) for _ in range(2)))
        told = [answer.json()["error"]["message"] for answer in answers]
        again = await gateway.post("/v1/audio/speech", json=body())
    assert [answer.status_code for answer in answers] == [503, 503]
    assert sum("1 sessions" in message for message in told) == 1
    assert "free slot" in again.json()["error"]["message"]
