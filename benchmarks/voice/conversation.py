"""From the last sample of a question to the first sample of the answer, and whether the answer keeps up with its
playback.
"""

import asyncio
import base64
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.report import percentile, report
from benchmarks.voice.speaker import (
    CLIPS,
    DATA,
    SERVER_VAD,
    connected,
    conversation,
    pcm_of,
    seconds,
    silence,
    speak,
    speech_span,
)
from tests.server import Server

INSTRUCTIONS = "You are a friendly voice assistant. Answer in one or two short sentences."
ANSWER_TIMEOUT_S = 40.0
LISTEN_S = 12.0
STAGES = ("listening", "thinking", "speaking", "waiting")


@dataclass
class Answer:
    """Times in seconds after the first sample of the question; `arrivals` of audio with its duration."""

    speech_end: float
    arrivals: list[tuple[float, float]] = field(default_factory=list)

    @property
    def turn_s(self) -> float:
        """From the last sample of speech to the first audio."""
        return self.arrivals[0][0] - self.speech_end

    @property
    def underruns(self) -> int:
        """How often a client that plays from the first piece on has nothing to play before the answer is over."""
        count, playing_until = 0, self.arrivals[0][0]
        for at, duration in self.arrivals:
            if at > playing_until:
                count += 1
            playing_until = max(playing_until, at) + duration
        return count


async def measure(server: Server, *, quick: bool) -> None:
    """One conversation after another, then two at once."""
    questions = [DATA / "question.wav", *CLIPS]
    await _ask(server, questions[0])
    before = _stage_seconds(server)
    alone = [await _ask(server, clip) for clip in (questions[:1] if quick else questions * 3)]
    stages = _stage_seconds(server)
    turns = [answer.turn_s for answer in alone]
    shares = {name: round((stages[name] - before[name]) / len(alone), 3) for name in STAGES}
    report(
        "voice.turn_p50_s",
        median(turns),
        "s",
        p95=round(percentile(turns, 95), 3),
        turns=len(turns),
        mean_stages=shares,
    )
    together: list[Answer] = []
    pairs = list(zip(questions, questions[1:] + questions[:1], strict=True))
    for one, other in pairs[:1] if quick else pairs:
        together += await asyncio.gather(_ask(server, one), _ask(server, other, start_after_s=0.4))
    report(
        "voice.underruns",
        sum(answer.underruns for answer in alone + together),
        "count",
        answers=len(alone + together),
        two_at_once=sum(answer.underruns for answer in together),
        two_turn_p50_s=round(median(answer.turn_s for answer in together), 3),
    )


async def _ask(server: Server, clip: Path, start_after_s: float = 0.0) -> Answer:
    await asyncio.sleep(start_after_s)
    question = pcm_of(clip)
    async with connected(server) as connection:
        await connection.session.update(session=conversation(SERVER_VAD, INSTRUCTIONS))
        answer = Answer(speech_span(question)[1])
        started = time.monotonic()
        speaking = asyncio.create_task(speak(connection, question + silence(LISTEN_S), started))
        async with asyncio.timeout(seconds(question) + ANSWER_TIMEOUT_S):
            await _listen(connection, answer, started)
        speaking.cancel()
    return answer


async def _listen(connection: AsyncRealtimeConnection, answer: Answer, started: float) -> None:
    async for event in connection:
        match event.type:
            case "response.output_audio.delta":
                answer.arrivals.append((time.monotonic() - started, seconds(base64.b64decode(event.delta))))
            case "response.done" if answer.arrivals and event.response.status != "cancelled":
                return
            case "error":
                raise RuntimeError(event.error.message)


def _stage_seconds(server: Server) -> dict[str, float]:
    """Seconds spent in each stage of all turns so far, from /metrics."""
    sums = dict.fromkeys(STAGES, 0.0)
    for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text):
        for sample in family.samples:
            if sample.name == "millstream_turn_stage_seconds_sum":
                sums[sample.labels["stage"]] = sample.value
    return sums
