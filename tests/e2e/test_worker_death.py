"""Processes die, and sessions outlive it."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed

from tests.e2e.conversing import talking
from tests.e2e.metrics import idle, slots_used, until
from tests.e2e.raw import calling
from tests.e2e.speech import DATA, REFERENCE, clip, file, said, silence
from tests.server import Server, running_server

NAME = "sense_0870"
GOING_AWAY = 1012
RECOVERY_S = 60.0
"""A restart of the worker, which loads its models."""


@pytest.fixture(scope="module")
def mortal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("mortal")) as started:
        yield started


async def test_session_outlives_its_worker(mortal_server: Server) -> None:
    audio = clip(NAME)
    async with calling(mortal_server) as caller:
        await caller.say(audio + silence(1))
        assert said(await caller.transcript(), REFERENCE[NAME]) <= 0.1
        await caller.say(audio[: len(audio) // 2])
        await caller.heard.wait("speech_started", 2)
        mortal_server.part("listen").kill()
        await caller.say(audio[len(audio) // 2 :], speed=2)
        failed = await caller.heard.wait("failed", timeout_s=RECOVERY_S)
        await caller.say(silence(1) + audio + silence(1))
        assert said(await caller.transcript(2), REFERENCE[NAME]) <= 0.1

    started = [event["item_id"] for event in caller.heard.of("speech_started")]
    committed = [event["item_id"] for event in caller.heard.of("committed")]
    completed = [event["item_id"] for event in caller.heard.of("transcription.completed")]
    assert failed["item_id"] == started[1] == committed[1]
    assert failed["error"]["code"] == "worker_lost"
    assert completed == [started[0], started[-1]]
    assert not caller.heard.of("error")
    times = [event["audio_start_ms"] for event in caller.heard.of("speech_started")]
    assert times == sorted(times)


async def test_conversation_outlives_its_language_model(mortal_server: Server) -> None:
    async with talking(mortal_server) as talker:
        await talker.updated(output_modalities=["text"])
        await talker.write("Tell me a very long story about a cat, a dog and a horse, with every detail.")
        await talker.respond()
        await talker.wait("output_text.delta")
        mortal_server.part("think").kill()
        failed: Any = await talker.done()
        await talker.respond(max_output_tokens=4, output_modalities=["audio"])
        replied = await talker.done(2)

    assert failed.status == "failed"
    assert failed.status_details.error.code == "worker_lost"
    assert failed.output[0].status == "incomplete"
    assert failed.output[0].content[0].text == talker.text(failed)
    assert talker.audio(replied)


async def test_session_outlives_the_broker(mortal_server: Server) -> None:
    family = psutil.Process(mortal_server.process.pid).children(recursive=True)
    (valkey,) = (process for process in family if process.name() == "valkey-server")
    async with calling(mortal_server) as caller:
        await caller.say(clip(NAME)[:96_000])
        await caller.heard.wait("speech_started")
        valkey.kill()
        await caller.heard.wait("failed", timeout_s=RECOVERY_S)
        await caller.say(silence(1) + clip(NAME) + silence(1))
        assert said(await caller.transcript(), REFERENCE[NAME]) <= 0.1

    assert not caller.heard.of("error")


async def test_worker_dies_with_a_file(mortal_server: Server) -> None:
    await idle(mortal_server)
    client = AsyncOpenAI(api_key="unused", base_url=f"{mortal_server.url}/v1", max_retries=0)
    audio = file(clip(NAME) * 30, "flac", "flac")
    request = asyncio.create_task(client.audio.transcriptions.create(file=("a.flac", audio), model="whisper-1"))
    await until(lambda: slots_used(mortal_server) == 1)
    mortal_server.part("listen").kill()
    with pytest.raises(openai.InternalServerError) as caught:
        await request
    assert caught.value.status_code == 503
    assert int(caught.value.response.headers["retry-after"]) > 0
    await until(lambda: _ready(mortal_server), RECOVERY_S)
    answer = await client.audio.transcriptions.create(file=DATA / f"{NAME}.wav", model="whisper-1")
    assert said(answer.text, REFERENCE[NAME]) <= 0.1


async def test_gateway_dies(mortal_server: Server) -> None:
    await idle(mortal_server)
    async with calling(mortal_server) as caller:
        await caller.say(clip(NAME)[:96_000])
        await caller.heard.wait("speech_started")
        await until(lambda: slots_used(mortal_server) == 1)
        mortal_server.part("gateway").kill()
        assert isinstance(await caller.heard.end(timeout_s=2), ConnectionClosed)

    await until(lambda: _ready(mortal_server), RECOVERY_S)
    await idle(mortal_server)
    async with calling(mortal_server) as caller:
        await caller.say(clip(NAME) + silence(1))
        assert said(await caller.transcript(), REFERENCE[NAME]) <= 0.1


def _ready(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/readyz").is_success
    except httpx.TransportError:
        return False


async def test_ctrl_c(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        family = psutil.Process(server.process.pid).children(recursive=True)
        async with calling(server) as caller:
            await caller.say(clip(NAME)[:96_000])
            await caller.heard.wait("speech_started")
            server.process.send_signal(signal.SIGINT)
            over = await caller.heard.end()
            code = await asyncio.to_thread(server.process.wait, RECOVERY_S)

    assert {process.name() for process in family if process.is_running()} == set()
    assert isinstance(over, ConnectionClosed)
    assert over.rcvd is not None
    assert over.rcvd.code == GOING_AWAY
    assert code == 0
    assert "did not stop" not in server.log.read_text()
    assert "Traceback" not in server.log.read_text()
