"""Publishers and viewers of video over WebRTC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import httpx
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

FPS = 15
SDP = {"content-type": "application/sdp"}


class Pictures(MediaStreamTrack):
    """A grey that changes, 80 by 48 pixels."""

    kind = "video"
    shown = 0

    async def recv(self) -> av.VideoFrame:
        await asyncio.sleep(1 / FPS)
        self.shown += 1
        frame = av.VideoFrame.from_ndarray(np.full((48, 80, 3), 5 * self.shown % 256, np.uint8), format="rgb24")
        frame.pts, frame.time_base = self.shown * 90_000 // FPS, Fraction(1, 90_000)
        return frame


class Tone(MediaStreamTrack):
    """440 Hz."""

    kind = "audio"
    sent = 0

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(0.02)
        wave = 8_000 * np.sin(2 * np.pi * 440 * np.arange(self.sent, self.sent + 960) / 48_000)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self.sent, Fraction(1, 48_000)
        self.sent += 960
        return frame


@dataclass
class Peer:
    """One end of a call."""

    connection: RTCPeerConnection
    answer: httpx.Response
    frames: dict[str, asyncio.Queue[Any]] = field(default_factory=dict)

    async def get(self, kind: str, count: int) -> list[np.ndarray]:
        """The next frames of a track."""
        return [(await self.frames[kind].get()).to_ndarray() for _ in range(count)]


@asynccontextmanager
async def calling(url: str, *tracks: MediaStreamTrack | str) -> AsyncIterator[Peer]:
    """Send tracks to `url`, or receive those named by their kind."""
    connection = RTCPeerConnection(RTCConfiguration([]))
    frames: dict[str, asyncio.Queue[Any]] = {}
    reading = []
    for track in tracks:
        connection.addTransceiver(track, "recvonly" if isinstance(track, str) else "sendonly")

    @connection.on("track")
    def on_track(track: MediaStreamTrack) -> None:
        frames[track.kind] = asyncio.Queue()
        reading.append(asyncio.create_task(_read(track, frames[track.kind])))

    await connection.setLocalDescription(await connection.createOffer())
    async with httpx.AsyncClient() as client:
        answer = await client.post(url, content=connection.localDescription.sdp, headers=SDP)
    if answer.status_code == httpx.codes.CREATED:
        await connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
    try:
        yield Peer(connection, answer, frames)
    finally:
        await connection.close()
        await asyncio.gather(*reading)


async def _read(track: MediaStreamTrack, frames: "asyncio.Queue[Any]") -> None:
    try:
        while True:
            frames.put_nowait(await track.recv())
    except MediaStreamError:
        pass
