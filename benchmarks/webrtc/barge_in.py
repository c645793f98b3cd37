"""Barge-in: from the first sample of speech that a microphone takes to the last packet with sound that arrives."""

import asyncio
import time
from pathlib import Path

import av
import numpy as np
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

from app.rtc.audio import take_packets
from app.rtc.opus import OpusDecoder
from benchmarks.report import percentile, report
from benchmarks.voice.speaker import CLIPS, SERVER_VAD, pcm_of, silence, speech_span
from tests.e2e.caller_rtc import CALLS, LOUD, WIRE_HZ, Caller, Microphone, caller
from tests.server import Server

QUESTION = "Tell me a very long story about a sailor, his ship, the storm and the island."
LEAD_S = 0.4
AFTER_S = 0.5


class Tap:
    """Notes when packets with sound arrive, before any jitter buffer; a `PacketTaker`."""

    def __init__(self) -> None:
        self.last = 0.0
        self._decoder = OpusDecoder()

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet."""
        _, pcm = self._decoder.decode(packet._data)  # type: ignore[attr-defined]
        if np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)).max(initial=0) > LOUD:
            self.last = time.monotonic()
        return False, None


class Clocked(Microphone):
    """Sends a frame when its last sample has been spoken."""

    async def recv(self) -> av.AudioFrame:
        frame = await super().recv()
        await asyncio.sleep(self._spoken_at() - time.monotonic())
        return frame

    def say_at(self, pcm: bytes) -> float:
        """Speak after silence. Returns when the first sample is spoken."""
        self.say(silence(LEAD_S) + pcm)
        return self._spoken_at() + LEAD_S

    def _spoken_at(self) -> float:
        """When the next frame's first sample is spoken."""
        return self._started + self._sent / WIRE_HZ


async def measure(server: Server, *, quick: bool) -> None:
    """Interrupt an answer with recorded human speech."""
    measured = [await _interrupt(server, clip) for clip in (CLIPS[1:2] if quick else CLIPS * 2)]
    delays = [last for _, last in measured]
    report(
        "webrtc.barge_in_s",
        percentile(delays, 50),
        "s",
        p95=round(percentile(delays, 95), 3),
        noticed_p50=round(percentile([noticed for noticed, _ in measured], 50), 3),
        interruptions=len(delays),
        network="loopback; the client's jitter buffer is not in it",
    )


async def _interrupt(server: Server, clip: Path) -> tuple[float, float]:
    """Seconds from the onset until `speech_started` comes, and until the last sound (0: before)."""
    async with caller(Clocked()) as call:
        tap = Tap()
        take_packets(call.connection.getTransceivers()[0].receiver, tap)
        await call.call(server.url + CALLS, {})
        await call.updated(audio={"input": {"turn_detection": SERVER_VAD | {"create_response": False}}})
        await call.ask(QUESTION)
        await call.wait("output_audio_buffer.started")
        return await _from_onset(call, tap, pcm_of(clip))


async def _from_onset(call: Caller, tap: Tap, speech: bytes) -> tuple[float, float]:
    assert isinstance(call.microphone, Clocked)
    onset = call.microphone.say_at(speech) + speech_span(speech)[0]
    await call.wait("speech_started")
    noticed = time.monotonic()
    await call.wait("output_audio_buffer.cleared")
    await asyncio.sleep(AFTER_S)
    return noticed - onset, max(0.0, tap.last - onset)
