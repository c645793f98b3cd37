"""Callers that cost as little as they can: they send packets that were encoded beforehand, and decode none."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import av
import httpx
import numpy as np
import psutil
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

from app.realtime.playout import FRAME_BYTES
from app.rtc.audio import take_packets
from app.rtc.opus import OpusEncoder
from benchmarks.voice.speaker import CLIPS, pcm_of
from tests.e2e.caller_rtc import from_loopback

CORES = psutil.Process().cpu_affinity() or [0]
SERVER_CORE, CALLER_CORE = CORES[0], CORES[-1]
FRAME_S = 0.02
WIRE_HZ = 48_000
FRAME = int(WIRE_HZ * FRAME_S)
FPS = 15
SIDE = 256


class Recorded(MediaStreamTrack):
    """Opus packets, over and over, every 20 ms."""

    kind = "audio"

    def __init__(self, packets: list[bytes]) -> None:
        super().__init__()
        self._packets = packets
        self._started = 0.0
        self.sent = 0

    async def recv(self) -> "av.Packet[av.stream.Stream]":
        self._started = self._started or time.monotonic()
        await asyncio.sleep(self._started + self.sent * FRAME_S - time.monotonic())
        packet = av.Packet(self._packets[self.sent % len(self._packets)])
        packet.pts, packet.time_base = self.sent * FRAME, Fraction(1, WIRE_HZ)
        self.sent += 1
        return packet


class Camera(MediaStreamTrack):
    """A square that moves over a gradient, 256x256 at 15 pictures a second."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._ground = (np.mgrid[:SIDE, :SIDE].sum(0)[..., None].repeat(3, -1) / 2).astype(np.uint8)
        self._started = 0.0
        self.sent = 0

    async def recv(self) -> av.VideoFrame:
        self._started = self._started or time.monotonic()
        await asyncio.sleep(self._started + self.sent / FPS - time.monotonic())
        pixels, left = self._ground.copy(), self.sent * 7 % (SIDE - 64)
        pixels[96:160, left : left + 64] = (200, 40, 90)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = self.sent * 90_000 // FPS, Fraction(1, 90_000)
        self.sent += 1
        return frame


class Sink:
    """Counts packets; a `PacketTaker`."""

    def __init__(self) -> None:
        self.packets = 0
        self.restyled = 0
        """Pictures that the channel `live` told of."""

    def hear(self, message: str) -> None:
        """Take a message."""
        self.restyled += json.loads(message)["type"] == "restyled"

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet."""
        self.packets += 1
        return False, None


def recorded() -> list[bytes]:
    """The clips as packets."""
    encoder = OpusEncoder()
    pcm = b"".join(map(pcm_of, CLIPS))
    whole = len(pcm) // FRAME_BYTES * FRAME_BYTES
    return [encoder.encode(pcm[start : start + FRAME_BYTES]) for start in range(0, whole, FRAME_BYTES)]


@asynccontextmanager
async def calling(
    url: str, track: MediaStreamTrack, session: dict[str, Any] | None = None, first: dict[str, Any] | None = None
) -> AsyncIterator[Sink]:
    """Send a track to `url`, beside it a session object, or a message by the channel `live`."""
    connection, sink = RTCPeerConnection(RTCConfiguration([])), Sink()
    opened = asyncio.Event()
    channel = connection.createDataChannel("live" if first else "oai-events")
    channel.on("open", opened.set)
    channel.on("message", sink.hear)
    take_packets(connection.addTransceiver(track).receiver, sink)
    await connection.setLocalDescription(await connection.createOffer())
    form: Any = {"sdp": (None, connection.localDescription.sdp)}
    form |= {"session": (None, json.dumps(session))} if session else {}
    async with httpx.AsyncClient() as http:
        answer = (await http.post(url, files=form)).raise_for_status()
    await connection.setRemoteDescription(RTCSessionDescription(from_loopback(answer.text), "answer"))
    try:
        async with asyncio.timeout(20):
            await opened.wait()
        if first:
            channel.send(json.dumps(first))
        yield sink
    finally:
        await connection.close()


async def used(process: psutil.Process, seconds: float) -> float:
    """The share of a core that a process uses."""
    before, started = process.cpu_times(), time.monotonic()
    await asyncio.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (time.monotonic() - started)
