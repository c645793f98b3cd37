"""Barge-in: from the first sample of speech to the moment at which a stock client stops playing, and to the last
sample of the answer that was sent after it.
"""

import asyncio
import time
from typing import Any

from openai.resources.realtime.realtime import AsyncRealtimeConnection

from benchmarks.report import percentile, report
from benchmarks.voice.speaker import (
    CLIPS,
    SEMANTIC_VAD,
    SERVER_VAD,
    connected,
    conversation,
    pcm_of,
    silence,
    speak,
    speech_span,
)
from tests.server import Server

INSTRUCTIONS = "You tell long stories with many sentences."
QUESTION = "Tell me a very long story about a sailor, his ship, the storm and the island."
TIMEOUT_S = 60.0
LEAD_S = 0.3


async def measure(server: Server, *, quick: bool) -> None:
    """Interrupt an answer with recorded human speech, under each kind of turn detection."""
    for name, detection in (("server_vad", SERVER_VAD), ("semantic_vad", SEMANTIC_VAD)):
        stops, lasts = [], []
        for clip in CLIPS[1:2] if quick else CLIPS * 2:
            stop, last = await _interrupt(server, detection, pcm_of(clip))
            stops.append(stop)
            lasts.append(last)
        p50, p95 = (round(percentile(lasts, percent), 3) for percent in (50, 95))
        report(
            f"voice.barge_in_{name}_p50_s",
            percentile(stops, 50),
            "s",
            p95=round(percentile(stops, 95), 3),
            last_sample_p50_s=p50,
            last_sample_p95_s=p95,
            interruptions=len(stops),
        )


async def _interrupt(server: Server, detection: dict[str, Any], speech: bytes) -> tuple[float, float]:
    """Seconds from the onset of speech until `speech_started`, and until the last audio of the answer (0: before)."""
    async with connected(server) as connection:
        await connection.session.update(session=conversation(detection, INSTRUCTIONS))
        item: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]}
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        async with asyncio.timeout(TIMEOUT_S):
            await _until(connection, "response.output_audio.delta")
            started = time.monotonic()
            speaking = asyncio.create_task(speak(connection, silence(LEAD_S) + speech + silence(1.0), started))
            stopped, last = await _until_stopped(connection)
        speaking.cancel()
    onset = started + LEAD_S + speech_span(speech)[0]
    return stopped - onset, max(0.0, last - onset)


async def _until(connection: AsyncRealtimeConnection, kind: str) -> None:
    async for event in connection:
        if event.type == kind:
            return


async def _until_stopped(connection: AsyncRealtimeConnection) -> tuple[float, float]:
    """When speech was noticed, and when the last audio came."""
    last, stopped, over = 0.0, 0.0, False
    async for event in connection:
        match event.type:
            case "response.output_audio.delta":
                last = time.monotonic()
            case "input_audio_buffer.speech_started":
                stopped = time.monotonic()
            case "response.done":
                over = True
        if stopped and over:
            return stopped, last
    raise RuntimeError("the server closed the session")
