"""The delay of the first partial and of the final transcript, for recorded speech in real time.

Half a second of silence comes before each clip and two seconds after it.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from openai.resources.realtime.realtime import AsyncRealtimeConnection

from benchmarks.report import percentile, report
from benchmarks.voice.speaker import CLIPS, PREFIX_PADDING_MS, SERVER_VAD, SILENCE_MS, connected, pcm_of, silence, speak
from tests.server import Server

LEAD_S, TAIL_S = 0.5, 2.0


@dataclass
class Turn:
    """When things happened, in seconds after the first sample was sent; `*_at` are media times."""

    onset_at: float = 0.0
    stop_at: float = 0.0
    stopped: float = 0.0
    final: float = 0.0
    deltas: list[float] = field(default_factory=list)
    text: str = ""

    @property
    def first_partial_s(self) -> float:
        """From the onset of speech to the first text."""
        return self.deltas[0] - self.onset_at

    @property
    def speech_end_at(self) -> float:
        """The last sample of speech."""
        return self.stop_at - SILENCE_MS / 1e3

    @property
    def final_s(self) -> float:
        """From the last sample of speech to the final text."""
        return self.final - self.speech_end_at


async def measure(server: Server, *, quick: bool) -> None:
    """One speaker after another, then two at once."""
    clips = CLIPS[1:2] if quick else CLIPS * 2
    if not quick:
        await _session(server, CLIPS[1])
    _report([await _session(server, clip) for clip in clips], "voice")
    if quick:
        return
    together: list[Turn] = []
    for one, other in zip(clips, clips[1:] + clips[:1], strict=True):
        together += await asyncio.gather(_session(server, one), _session(server, other, start_after_s=0.7))
    _report(together, "voice.two")


def _report(turns: list[Turn], prefix: str) -> None:
    first = [turn.first_partial_s for turn in turns]
    final = [turn.final_s for turn in turns]
    report(f"{prefix}.first_partial_s", median(first), "s", worst=round(max(first), 3), turns=len(turns))
    report(
        f"{prefix}.final_s",
        median(final),
        "s",
        p95=round(percentile(final, 95), 3),
        stages={
            "silence": SILENCE_MS / 1e3,
            "speech_stopped": round(median(turn.stopped - turn.stop_at for turn in turns), 3),
            "recognition": round(median(turn.final - turn.stopped for turn in turns), 3),
        },
    )
    report(f"{prefix}.partials_per_s", median(len(t.deltas) / (t.speech_end_at - t.onset_at) for t in turns), "1/s")


async def _session(server: Server, clip: Path, start_after_s: float = 0.0) -> Turn:
    """Speak one clip and listen until its final transcript."""
    await asyncio.sleep(start_after_s)
    async with connected(server, intent="transcription") as connection:
        session: Any = {"type": "transcription", "audio": {"input": {"turn_detection": SERVER_VAD}}}
        await connection.session.update(session=session)
        started = time.monotonic()
        pcm = silence(LEAD_S) + pcm_of(clip) + silence(TAIL_S)
        speaking = asyncio.create_task(speak(connection, pcm, started))
        turn = await _listen(connection, started)
        speaking.cancel()
        return turn


async def _listen(connection: AsyncRealtimeConnection, started: float) -> Turn:
    turn = Turn()
    async for event in connection:
        now = time.monotonic() - started
        match event.type:
            case "input_audio_buffer.speech_started":
                turn.onset_at = (event.audio_start_ms + PREFIX_PADDING_MS) / 1e3
            case "input_audio_buffer.speech_stopped":
                turn.stop_at, turn.stopped = event.audio_end_ms / 1e3, now
            case "conversation.item.input_audio_transcription.delta":
                turn.deltas.append(now)
            case "conversation.item.input_audio_transcription.completed":
                turn.final, turn.text = now, event.transcript
                return turn
    raise RuntimeError("the server closed the session")
