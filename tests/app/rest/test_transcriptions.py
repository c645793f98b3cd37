"""The official OpenAI client transcribes files."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import httpx
import openai
import pytest
from openai import OpenAI
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from tests.e2e.metrics import idle
from tests.e2e.speech import DATA, REFERENCE, clip, file, in_a_row, said, seconds, silence, words
from tests.server import Server

MODEL = "whisper-base"
NAME = "sense_0870"
DURATION_S = 7.1
MIB = 2**20


@pytest.fixture
def client(server: Server) -> OpenAI:
    return OpenAI(api_key="unused", base_url=f"{server.url}/v1", max_retries=0)


def recorded(name: str = NAME) -> tuple[str, bytes]:
    path = DATA / f"{name}.wav"
    return path.name, path.read_bytes()


def refused(client: OpenAI, status: int, **form: Any) -> dict[str, Any]:
    """The error that answers a form."""
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(**{"file": recorded(), "model": MODEL, **form})
    assert caught.value.status_code == status
    body: Any = caught.value.body
    assert all(body[name] for name in ("message", "type", "code"))
    return dict(body)


# --- answers ---


def test_json(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(file=recorded(), model=MODEL)
    assert said(answer.text, REFERENCE[NAME]) <= 0.1
    assert answer.logprobs is None
    assert answer.usage is not None
    assert answer.usage.type == "duration"
    assert answer.usage.seconds == pytest.approx(DURATION_S, abs=0.02)


def test_text(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(file=recorded(), model=MODEL, response_format="text")
    assert said(answer, REFERENCE[NAME]) <= 0.1


def test_words_and_segments(client: OpenAI) -> None:
    names = ["sense_0890", "sense_0930", "sense_0920"]
    audio = in_a_row(names, 1.0)
    answer = client.audio.transcriptions.create(
        file=("speech.wav", file(audio, "wav", "pcm_s16le")),
        model=MODEL,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert answer.duration == pytest.approx(seconds(audio), abs=0.02)
    assert answer.language == "en"
    assert said(answer.text, words(names)) <= 0.15
    assert answer.words
    assert answer.segments
    assert said(" ".join(word.word for word in answer.words), answer.text) == 0
    assert " ".join(segment.text.strip() for segment in answer.segments) == answer.text
    for timed in (answer.words, answer.segments):
        edges = [edge for item in timed for edge in (item.start, item.end)]
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert edges[-1] <= answer.duration
    said_at = {re.sub(r"\W", "", word.word.lower()): word.start for word in answer.words}
    assert said_at["unless"] < 0.8
    assert said_at["even"] == pytest.approx(5.3 + 1 + 0.6, abs=0.5)
    assert said_at["married"] == pytest.approx(5.3 + 1 + 3.3 + 1 + 0.6, abs=0.6)


def test_only_the_granularity_that_was_asked_for(client: OpenAI) -> None:
    form: Any = {"file": recorded(), "model": MODEL, "response_format": "verbose_json"}
    plain = client.audio.transcriptions.create(**form)
    by_word = client.audio.transcriptions.create(**form, timestamp_granularities=["word"])
    assert (bool(plain.segments), bool(plain.words)) == (True, False)
    assert (bool(by_word.segments), bool(by_word.words)) == (False, True)


@pytest.mark.parametrize(("kind", "head", "clock"), [("srt", "1\n", "0:00:00,000"), ("vtt", "WEBVTT\n\n", "00:00.000")])
def test_subtitles(client: OpenAI, kind: Literal["srt", "vtt"], head: str, clock: str) -> None:
    audio = file(in_a_row(["sense_0870", "sense_0890", "sense_0920"], 1.0), "wav", "pcm_s16le")
    answer = client.audio.transcriptions.create(file=("a.wav", audio), model=MODEL, response_format=kind)
    assert answer.startswith(head)
    cues = re.findall(r"^(\S+) --> (\S+)$", answer, re.MULTILINE)
    assert len(cues) >= 2
    assert cues[0][0].endswith(clock)
    edges = [edge for cue in cues for edge in cue]
    assert edges == sorted(edges)
    spoken = re.sub(r"^(WEBVTT|\d+|.* --> .*)$", "", answer, flags=re.MULTILINE)
    assert said(spoken, words(["sense_0870", "sense_0890", "sense_0920"])) <= 0.15


def test_stream(client: OpenAI) -> None:
    names = ["sense_0870", "sense_0890", "sense_0920"]
    audio = file(in_a_row(names, 1.0), "wav", "pcm_s16le")
    events = list(client.audio.transcriptions.create(file=("a.wav", audio), model=MODEL, stream=True))
    *deltas, done = events
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert len(deltas) >= 2
    text = "".join(delta.delta for delta in deltas if isinstance(delta, TranscriptionTextDeltaEvent))
    assert text == done.text
    assert said(text, words(names)) <= 0.15


def test_logprobs(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(file=recorded(), model=MODEL, include=["logprobs"])
    assert answer.logprobs
    assert "".join(token.token or "" for token in answer.logprobs).strip() == answer.text
    assert all(token.logprob is not None and token.logprob <= 0 for token in answer.logprobs)


def test_stream_with_logprobs(client: OpenAI) -> None:
    *_, done = client.audio.transcriptions.create(file=recorded(), model=MODEL, stream=True, include=["logprobs"])
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert done.logprobs
    assert "".join(token.token or "" for token in done.logprobs).strip() == done.text


def test_options_of_stock_clients(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        file=recorded(),
        model="gpt-4o-transcribe",
        language="en",
        prompt="From Sense and Sensibility.",
        extra_body={"keywords": ["Dashwood", "Elinor"]},
        temperature=0,
        chunking_strategy="auto",
    )
    assert said(answer.text, REFERENCE[NAME]) <= 0.1


# --- audio ---


@pytest.mark.parametrize(
    ("container", "codec", "rate", "channels"),
    [
        ("mp3", "libmp3lame", 24_000, 1),
        ("ogg", "libopus", 48_000, 1),
        ("webm", "libopus", 48_000, 2),
        ("flac", "flac", 24_000, 1),
        ("mp4", "aac", 44_100, 2),
        ("wav", "pcm_s16le", 44_100, 2),
        ("wav", "pcm_mulaw", 8_000, 1),
    ],
)
def test_encoding(client: OpenAI, container: str, codec: str, rate: int, channels: Literal[1, 2]) -> None:
    audio = file(clip("sense_0890"), container, codec, rate, channels)
    answer = client.audio.transcriptions.create(file=(f"a.{container}", audio), model=MODEL)
    assert said(answer.text, REFERENCE["sense_0890"]) <= 0.2


def test_video(client: OpenAI) -> None:
    video = file(clip("sense_0890"), "mp4", "aac", 44_100, video=True)
    answer = client.audio.transcriptions.create(file=("a.mp4", video), model=MODEL)
    assert said(answer.text, REFERENCE["sense_0890"]) <= 0.2


def test_silence(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        file=("a.wav", file(silence(5), "wav", "pcm_s16le")), model=MODEL, response_format="verbose_json"
    )
    assert answer.text == ""
    assert answer.segments == []
    assert answer.duration == pytest.approx(5, abs=0.02)


def test_header_without_audio(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(file=("a.wav", recorded()[1][:44]), model=MODEL)
    assert answer.text == ""


def test_truncated_file(client: OpenAI) -> None:
    name, data = recorded()
    answer = client.audio.transcriptions.create(file=(name, data[: len(data) // 2]), model=MODEL)
    heard = len(answer.text.split())
    assert 5 <= heard <= 12
    assert said(answer.text, " ".join(REFERENCE[NAME].split()[:heard])) <= 0.3


def test_ten_minutes(server: Server, client: OpenAI) -> None:
    names = [name for name in REFERENCE if name.startswith("sense_")] * 5
    audio = b"".join(clip(name) + silence(24 - seconds(clip(name))) for name in names)
    assert seconds(audio) == 600
    upload = file(audio, "flac", "flac", 48_000, 2)
    decoded = seconds(audio) * 48_000 * 2 * 2
    with peak_memory(server) as grown:
        answer = client.audio.transcriptions.create(
            file=("a.flac", upload), model=MODEL, response_format="verbose_json"
        )
    assert answer.duration == pytest.approx(600, abs=0.1)
    assert said(answer.text, words(names)) <= 0.15
    assert grown[-1] < decoded / 2


@contextmanager
def peak_memory(server: Server) -> Iterator[list[int]]:
    """Watch by how many bytes the gateway grows at most; the last element tells."""
    gateway = server.part("gateway")
    before = gateway.memory_info().rss
    grown = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            grown.append(max(grown[-1], gateway.memory_info().rss - before))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield grown
    finally:
        done.set()
        watching.join()


# --- refusals ---


@pytest.mark.parametrize(
    "data", [b"", b"This is not audio. " * 100, bytes(range(256)) * 64], ids=["0", "text", "noise"]
)
def test_no_audio(client: OpenAI, data: bytes) -> None:
    error = refused(client, 400, file=("a.wav", data))
    assert (error["code"], error["param"]) == ("invalid_audio", "file")
    assert error["message"].startswith("file: ")


def test_picture_without_sound(client: OpenAI) -> None:
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c02"
        "0000000b4944415478da6364f80f00010501012718e3660000000049454e44ae426082"
    )
    assert refused(client, 400, file=("a.png", png))["param"] == "file"


@pytest.mark.parametrize(
    ("form", "status", "param"),
    [
        ({"model": "no-such-model"}, 404, "model"),
        ({"response_format": "docx"}, 400, "response_format"),
        ({"language": "klingon"}, 400, "language"),
        ({"temperature": 3}, 400, "temperature"),
        ({"timestamp_granularities": ["syllable"]}, 400, "timestamp_granularities"),
        ({"prompt": "x" * 5_000}, 400, "prompt"),
        ({"extra_body": {"colour": "red"}}, 400, "colour"),
    ],
)
def test_bad_field(client: OpenAI, form: dict[str, Any], status: int, param: str) -> None:
    error = refused(client, status, **form)
    assert error["param"].startswith(param)
    assert param in error["message"]


def test_missing_fields(server: Server) -> None:
    url = f"{server.url}/v1/audio/transcriptions"
    no_file = httpx.post(url, files={"model": (None, MODEL)})
    no_model = httpx.post(url, files={"file": recorded()})
    no_form = httpx.post(url, json={"model": MODEL})
    text_as_file = httpx.post(url, files={"model": (None, MODEL), "file": (None, "speech.wav")})
    for answer, param in [(no_file, "file"), (no_model, "model"), (text_as_file, "file")]:
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
    assert no_form.status_code == 400


def test_broken_form(server: Server) -> None:
    url = f"{server.url}/v1/audio/transcriptions"
    for kind in ("multipart/form-data", "multipart/form-data; boundary=here"):
        answer = httpx.post(url, headers={"content-type": kind}, content=b"garbage")
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]


def test_upload_too_large(guarded_server: Server) -> None:
    client = OpenAI(api_key="right-key", base_url=f"{guarded_server.url}/v1", max_retries=0)
    error = refused(client, 413, file=("a.wav", bytes(1_200_000)))
    assert (error["code"], error["param"]) == ("file_too_large", "file")
    assert said(client.audio.transcriptions.create(file=recorded(), model=MODEL).text, REFERENCE[NAME]) <= 0.1


@pytest.mark.parametrize("stream", [False, True])
async def test_file_that_takes_too_long(guarded_server: Server, stream: bool) -> None:
    client = OpenAI(api_key="right-key", base_url=f"{guarded_server.url}/v1", max_retries=0)
    audio = file(clip(NAME) * 30, "mp3", "libmp3lame")
    with pytest.raises(openai.APIError) as caught:
        list(client.audio.transcriptions.create(file=("a.mp3", audio), model=MODEL, stream=stream))
    assert caught.value.code == "timeout"
    assert "3 s" in caught.value.message
    await idle(guarded_server, "right-key", timeout_s=5)


async def test_client_that_does_not_wait(server: Server) -> None:
    await idle(server)
    with pytest.raises(httpx.ReadTimeout):
        await _post_long(server, stream=False)
    await idle(server)


async def test_client_that_leaves_a_stream(server: Server) -> None:
    await idle(server)
    await _post_long(server, stream=True)
    await idle(server)


async def _post_long(server: Server, stream: bool) -> None:
    """Upload what takes longer to transcribe than `idle` waits. Read the beginning of an answer within a second."""
    audio = file(clip(NAME) * 40, "flac", "flac")
    form: Any = {"model": (None, MODEL), "stream": (None, str(stream).lower()), "file": ("a.flac", audio)}
    async with (
        httpx.AsyncClient(timeout=httpx.Timeout(30, read=None if stream else 1)) as client,
        client.stream("POST", f"{server.url}/v1/audio/transcriptions", files=form) as answer,
    ):
        assert (await anext(answer.aiter_lines())).startswith("data: ")
