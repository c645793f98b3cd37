"""Someone who speaks in real time through the official client. Times count from the first sample sent."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from app.rest.audio_file import decode
from tests.server import Server

RATE_HZ = 24_000
PIECE_S = 0.02
SILENCE_MS = 500
PREFIX_PADDING_MS = 300
QUIET = 0.03
"""Speech has ended where the level stays below this share of its loudest 20 ms."""
DATA = Path(__file__).parents[2] / "tests" / "data"
CLIPS = sorted(DATA.glob("sense_*.wav"))
"""Recorded human speech, LibriVox."""
SERVER_VAD = {"type": "server_vad", "prefix_padding_ms": PREFIX_PADDING_MS, "silence_duration_ms": SILENCE_MS}
SEMANTIC_VAD = {"type": "semantic_vad"}


def pcm_of(clip: Path) -> bytes:
    """A clip as 24 kHz mono int16."""
    with clip.open("rb") as source:
        return b"".join(decode(source, RATE_HZ))


def silence(seconds: float) -> bytes:
    """Digital silence."""
    return bytes(int(seconds * RATE_HZ) * 2)


def seconds(pcm: bytes) -> float:
    """Duration of 24 kHz mono int16."""
    return len(pcm) / 2 / RATE_HZ


def speech_span(pcm: bytes) -> tuple[float, float]:
    """Where speech begins and ends in a clip, in seconds, by its level."""
    size = int(RATE_HZ * PIECE_S)
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    levels = np.sqrt(np.square(samples[: len(samples) // size * size].reshape(-1, size)).mean(1))
    loud = np.flatnonzero(levels > QUIET * levels.max())
    return float(loud[0] * PIECE_S), float((loud[-1] + 1) * PIECE_S)


@asynccontextmanager
async def connected(server: Server, **query: str) -> AsyncIterator[AsyncRealtimeConnection]:
    """A session of the official client."""
    client = AsyncOpenAI(api_key="none", base_url=f"{server.url}/v1", websocket_base_url=server.realtime_url)
    async with client.realtime.connect(extra_query=dict(query)) as connection:
        yield connection


async def speak(connection: AsyncRealtimeConnection, pcm: bytes, started: float) -> None:
    """Send audio whose first sample is spoken at `started`; a piece is sent when its last sample has been spoken."""
    size = int(RATE_HZ * PIECE_S) * 2
    for index, start in enumerate(range(0, len(pcm), size), 1):
        await asyncio.sleep(max(0.0, started + index * PIECE_S - time.monotonic()))
        await append(connection, pcm[start : start + size])


async def append(connection: AsyncRealtimeConnection, pcm: bytes) -> None:
    """Send a piece of audio."""
    await connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())


def conversation(detection: dict[str, Any] | None, instructions: str) -> Any:
    """The session object of a conversation with transcripts."""
    audio = {"input": {"turn_detection": detection, "transcription": {"model": "whisper-1"}}}
    return {"type": "realtime", "audio": audio, "instructions": instructions}
