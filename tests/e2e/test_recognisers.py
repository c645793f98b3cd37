"""A streaming recogniser alone and with another for the final text, in real servers. Its weights are random: what it
says has no sense, but must come in time, grow, and survive whatever is sent.
"""

import asyncio
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import openai
import pytest
from openai import OpenAI

import millstream
from millstream import Event, Final, Partial, TranscriptFailed
from tests.e2e.speech import REFERENCE, clip, file, said, silence, spoken
from tests.models.asr.fastconformer.talkative import catalogue, checkpoint, talkative
from tests.server import Server, running_server

NAME = "sense_0870"
ONLY_LISTEN: dict[str, Any] = {"MILLSTREAM_WORKERS": '{"listen": 1}', "MILLSTREAM_ASR_MODEL": "tiny"}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("checkpoints")
    tiny = checkpoint(talkative(clip("sense_0880", 16_000)), directory / "tiny")
    return str(catalogue(directory / "catalog.toml", tiny=tiny))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, catalog: str) -> Iterator[Server]:
    """A FastConformer for partial texts and Whisper for final ones."""
    with running_server(tmp_path_factory.mktemp("pair"), MILLSTREAM_CATALOG=catalog, **ONLY_LISTEN) as server:
        yield server


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, catalog: str) -> Iterator[Server]:
    """A FastConformer for everything."""
    environment: dict[str, Any] = {"MILLSTREAM_CATALOG": catalog, "MILLSTREAM_ASR_FINAL_MODEL": "", **ONLY_LISTEN}
    with running_server(tmp_path_factory.mktemp("alone"), **environment) as server:
        yield server


async def heard(server: Server, pcm: bytes, speed: float = 2.0, **options: Any) -> list[Event]:
    """What a live transcription of the audio tells."""
    async with millstream.transcribe(server.url, **options) as transcription:
        async for piece in spoken(pcm, speed):
            await transcription.send(piece)
        await transcription.finish()
        return [event async for event in transcription]


def of(kind: Any, events: list[Event]) -> list[Any]:
    """Events of one kind; finals without words are left out."""
    return [event for event in events if isinstance(event, kind) and getattr(event, "text", True)]


@pytest.mark.parametrize("lookahead_ms", [0, 80, 480, 1_040])
async def test_words_form_in_one_and_are_final_in_the_other(pair: Server, lookahead_ms: int) -> None:
    events = await heard(pair, clip(NAME) + silence(1), lookahead_ms=lookahead_ms, phrases=["lazy dog"])
    (final,) = of(Final, events)
    partials = of(Partial, events)
    assert said(final.text, REFERENCE[NAME]) <= 0.1
    assert len(partials) >= 4
    assert {partial.item for partial in partials} == {final.item}


async def test_one_recogniser_for_everything(alone: Server) -> None:
    """Its final text goes on where the partial texts end."""
    events = await heard(alone, clip(NAME) + silence(1))
    (final,) = of(Final, events)
    assert final.text == "".join(partial.delta for partial in of(Partial, events))
    assert len(of(Partial, events)) >= 10


async def test_the_same_sound_has_the_same_text_in_company(alone: Server) -> None:
    expected = of(Final, await heard(alone, clip(NAME) + silence(1)))[0].text
    company = [heard(alone, silence(0.13 * number) + clip(NAME) + silence(1), speed=1) for number in range(6)]
    texts = [final.text for events in await asyncio.gather(*company) for final in of(Final, events)]
    assert len(texts) == 6
    assert texts[0] == expected


async def test_a_language_it_does_not_know_fails_and_the_session_goes_on(alone: Server) -> None:
    events = await heard(alone, clip("sense_0880") + silence(1), language="de")
    (failed,) = of(TranscriptFailed, events)
    assert "language must be one of these ISO-639-1 codes: en" in failed.message
    assert of(Partial, events) == []


async def test_without_a_streaming_recogniser_for_it_another_one_hears_a_language(pair: Server) -> None:
    events = await heard(pair, clip(NAME) + silence(1), speed=1, language="de")
    assert of(Partial, events)
    assert of(Final, events)[0].text


def float_wav(samples: np.ndarray[Any, Any], rate: int = 16_000) -> bytes:
    """A WAV file of 32-bit floats."""
    data = samples.astype("<f4").tobytes()
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, rate, 4 * rate, 4, 32)
    body = b"WAVE" + header + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def loud() -> np.ndarray[Any, Any]:
    """Speech twenty times too loud, as floats."""
    return np.frombuffer(clip(NAME, 16_000), "<i2").astype(np.float32) / 32_768 * 20


SOUNDS: dict[str, Callable[[], bytes]] = {
    "no samples": lambda: float_wav(np.zeros(0)),
    "two samples": lambda: file(bytes(4), "wav", "pcm_s16le"),
    "clipping": lambda: float_wav(loud()),
    "telephone": lambda: file(clip(NAME), "wav", "pcm_mulaw", 8_000),
    "stereo": lambda: file(clip(NAME), "wav", "pcm_s16le", 44_100, 2),
    "not a number": lambda: float_wav(np.full(48_000, np.nan)),
    "some not numbers": lambda: float_wav(np.where(np.arange(len(loud())) % 1_000, loud() / 20, np.nan)),
    "infinite": lambda: float_wav(np.full(48_000, np.inf)),
    "silence": lambda: file(silence(120), "flac", "flac"),
}


@pytest.mark.parametrize("sound", SOUNDS)
def test_a_file_of_any_sound_is_transcribed(alone: Server, sound: str) -> None:
    worker = alone.part("listen").pid
    client = OpenAI(api_key="none", base_url=f"{alone.url}/v1", max_retries=0)
    name = "a.flac" if sound == "silence" else "a.wav"
    answer = client.audio.transcriptions.create(
        file=(name, SOUNDS[sound]()), model="whisper-1", response_format="verbose_json"
    )
    assert bool(answer.text) == (sound in {"clipping", "telephone", "stereo", "some not numbers"})
    assert alone.part("listen").pid == worker


def test_what_is_not_audio_is_refused(alone: Server) -> None:
    client = OpenAI(api_key="none", base_url=f"{alone.url}/v1", max_retries=0)
    with pytest.raises(openai.BadRequestError, match="file: "):
        client.audio.transcriptions.create(file=("a.wav", b"This is not audio. " * 99), model="whisper-1")
    assert client.audio.transcriptions.create(
        file=("a.wav", file(clip(NAME), "wav", "pcm_s16le")), model="whisper-1"
    ).text


def test_words_of_a_file_have_times(alone: Server) -> None:
    client = OpenAI(api_key="none", base_url=f"{alone.url}/v1", max_retries=0)
    answer = client.audio.transcriptions.create(
        file=("a.wav", file(clip(NAME), "wav", "pcm_s16le")),
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        extra_body={"keywords": ["lazy dog"]},
    )
    assert answer.words
    assert answer.segments
    assert [word.start for word in answer.words] == sorted(word.start for word in answer.words)
    assert all(word.start <= word.end <= answer.duration for word in answer.words)
    assert {segment.no_speech_prob for segment in answer.segments} == {0.0}


async def test_sounds_of_a_session_that_are_no_speech(alone: Server) -> None:
    noise = np.random.default_rng(0).normal(0, 3_000, 120_000).clip(-32_768, 32_767).astype("<i2").tobytes()
    square = np.tile(np.repeat([32_767, -32_768], 60), 1_000).astype("<i2").tobytes()
    events = await heard(alone, noise + square + silence(60), speed=10)
    assert of(TranscriptFailed, events) == []
    assert of(Final, await heard(alone, clip(NAME) + silence(1)))[0].text
