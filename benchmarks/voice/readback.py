"""Are answers spoken as they are written? Each spoken reply is transcribed again by the final-pass model.

The speech is synthetic; DNSMOS (arXiv:2110.01763) is reported where `speechmos` is installed (`make bench` does that).
"""

import base64
import io
import wave
from collections.abc import Callable
from importlib.util import find_spec
from statistics import mean
from typing import Any

import jiwer
import numpy as np
import soxr
from openai import AsyncOpenAI
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from benchmarks.report import report
from benchmarks.voice.speaker import RATE_HZ, connected, conversation
from tests.server import Server

INSTRUCTIONS = "You are a friendly voice assistant. Answer in one or two short sentences."
TOPICS = [
    "the sea",
    "a cat",
    "breakfast",
    "the moon",
    "music",
    "trees",
    "the city of Paris",
    "a long walk",
    "books",
    "winter",
    "a garden",
    "trains",
    "tea",
    "the night sky",
    "friendship",
    "rivers",
    "a bicycle",
    "bread",
    "mountains",
    "a rainy day",
    "the sun",
    "horses",
    "a good teacher",
    "coffee",
    "birds",
]
QUESTIONS = [f"Tell me something about {topic}." for topic in TOPICS] + [f"What do you like about {t}?" for t in TOPICS]
MOS_RATE_HZ = 16_000


async def measure(server: Server, *, quick: bool) -> None:
    """Ask in text, hear the answer, transcribe it."""
    client = AsyncOpenAI(api_key="none", base_url=f"{server.url}/v1")
    normal: Callable[[str], str] = EnglishTextNormalizer({})  # type: ignore[no-untyped-call]
    written: list[str] = []
    heard: list[str] = []
    scores: list[float] = []
    for question in QUESTIONS[:1] if quick else QUESTIONS:
        text, pcm = await _answer(server, question)
        if not text.strip():
            continue
        file = ("answer.wav", _wav(pcm))
        transcript = await client.audio.transcriptions.create(model="whisper-1", file=file, language="en")
        written.append(normal(text))
        heard.append(normal(transcript.text))
        scores += _quality(pcm)
    report(
        "voice.readback_wer", jiwer.wer(written, heard), "", replies=len(written), words=len(" ".join(written).split())
    )
    if scores:
        report("voice.dnsmos_ovrl", mean(scores), "MOS", replies=len(scores))


async def _answer(server: Server, question: str) -> tuple[str, bytes]:
    async with connected(server) as connection:
        await connection.session.update(session=conversation(None, INSTRUCTIONS))
        item: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": question}]}
        await connection.conversation.item.create(item=item)
        await connection.response.create(response={"max_output_tokens": 60})
        pcm, text = bytearray(), ""
        async for event in connection:
            match event.type:
                case "response.output_audio.delta":
                    pcm += base64.b64decode(event.delta)
                case "response.output_audio_transcript.done":
                    text = event.transcript
                case "response.done":
                    return text, bytes(pcm)
                case "error":
                    raise RuntimeError(event.error.message)
    raise RuntimeError("the server closed the session")


def _wav(pcm: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(RATE_HZ)
        wav.writeframes(pcm)
    return buffer.getvalue()


def _quality(pcm: bytes) -> list[float]:
    if find_spec("speechmos") is None:
        return []
    from speechmos import dnsmos

    audio = soxr.resample(np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768, RATE_HZ, MOS_RATE_HZ)
    return [float(dnsmos.run(np.clip(audio, -1, 1), sr=MOS_RATE_HZ)["ovrl_mos"])]
