"""The video tracks of a call: a live session's pictures come by one and go by the other."""

import asyncio
import io
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import NamedTuple

import av
import msgspec
import numpy as np
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket
from PIL import Image

from app.live.session import PTS_BYTES, LiveSession, Picture, error_event
from app.rtc.audio import BUFFER, take_packets
from app.rtc.channel import ChannelConnection
from pipelines.restyle import TICKS_PER_S

MAX_SIDE = 512
"""Pixels; no worker paints larger ones in real time."""
JPEG_QUALITY = 90
MAX_UNDER_WAY = 6
"""Pictures in work, those held by the stages of denoising included; with more the latest one waits."""
ENCODED = "yuv420p"
"""What encoders take as it is. They run in several threads, and no two may convert one frame."""
MAX_UNDECODED = 10
_DECODER_QUEUE = "_RTCRtpReceiver__decoder_queue"
_TIME_BASE = Fraction(1, TICKS_PER_S)


class VideoOut(MediaStreamTrack):
    """Sends the latest picture it was shown."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._latest: asyncio.Queue[av.VideoFrame] = asyncio.Queue(maxsize=1)

    def show(self, frame: av.VideoFrame) -> None:
        """Send a frame next; one that still waits is not sent."""
        with suppress(asyncio.QueueEmpty):
            self._latest.get_nowait()
        self._latest.put_nowait(frame)

    async def recv(self) -> av.VideoFrame:
        """The next frame."""
        return await self._latest.get()


class _Encoded(NamedTuple):
    """A picture of the track, as live sessions take it."""

    data: bytes


class TracksConnection(ChannelConnection):
    """The connection of a live session whose pictures come and go by tracks, its messages by a data channel."""

    def __init__(
        self,
        session: LiveSession,
        show: Callable[[av.VideoFrame], None],
        hang_up: Callable[[], None],
        *,
        expected: bool,
    ) -> None:
        """`show` takes the restyled pictures."""
        super().__init__(hang_up, expected=expected)
        self._session = session
        self._show = show
        self._latest: av.VideoFrame | None = None
        self.delay_s = 0.0
        """Between a picture and what became of it, lately."""
        self._shown_at: dict[int, float] = {}
        self._changed = asyncio.Event()

    async def watch(self, receiver: RTCRtpReceiver) -> None:
        """Keep the latest picture of the client's track, until it ends."""
        await each_frame(receiver, self._keep)

    async def receive(self) -> str | bytes | None:
        """The next message, or else the latest picture if the session takes one. Pictures come by the track alone."""
        while isinstance(message := await self._next(), bytes):
            told = error_event("unsupported_message", "pictures come by the call's track", "picture")
            await self.send(msgspec.json.encode(told))
        return message.data if isinstance(message, _Encoded) else message

    async def _next(self) -> "str | bytes | _Encoded | None":
        while self._messages.empty():
            if self._latest is not None and self._session.takes_pictures(MAX_UNDER_WAY):
                frame, self._latest = self._latest, None
                assert frame.pts is not None
                self._shown_at[frame.pts] = time.monotonic()
                return _Encoded(await asyncio.to_thread(_message, frame))
            self._changed.clear()
            await self._changed.wait()
        return await super().receive()

    async def send(self, message: bytes) -> None:
        self._changed.set()
        await super().send(message)

    async def show(self, picture: Picture) -> None:
        """Send a picture, and tell of it."""
        self._changed.set()
        self._show(await asyncio.to_thread(_frame, picture))
        self.delay_s = delay_s = time.monotonic() - self._shown_at[picture.pts]
        self._shown_at = {pts: at for pts, at in self._shown_at.items() if pts > picture.pts}
        told = {"type": "restyled", "pts": picture.pts, "dropped": picture.dropped, "delay_ms": round(delay_s * 1_000)}
        await self.send(msgspec.json.encode(told))

    def _keep(self, frame: av.VideoFrame) -> None:
        self._latest = frame
        self._changed.set()

    def _take(self, message: str | bytes) -> None:
        super()._take(message)
        self._changed.set()


class _BoundedDecoding:
    """A receiver's jitter buffer; what its decoder is too slow for is left out, and a key frame asked for."""

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self._buffer: JitterBuffer = getattr(receiver, BUFFER)
        self._undecoded: queue.Queue[object] = getattr(receiver, _DECODER_QUEUE)

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        key_frame_needed, frame = self._buffer.add(packet)
        if frame is not None and self._undecoded.qsize() >= MAX_UNDECODED:
            return True, None
        return key_frame_needed, frame


def bound_decoding(receiver: RTCRtpReceiver) -> None:
    """Keep a receiver from holding more and more frames that wait for its decoder."""
    take_packets(receiver, _BoundedDecoding(receiver))


async def each_frame(receiver: RTCRtpReceiver, take: Callable[[av.VideoFrame], None]) -> None:
    """Hand on every picture of a track, until it ends."""
    with suppress(MediaStreamError):
        while True:
            frame = await receiver.track.recv()
            assert isinstance(frame, av.VideoFrame)
            take(frame)


def _message(frame: av.VideoFrame) -> bytes:
    """A picture as live sessions take it."""
    scale = min(1.0, MAX_SIDE / max(frame.width, frame.height))
    width, height = round(frame.width * scale), round(frame.height * scale)
    file = io.BytesIO()
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    assert frame.pts is not None
    return frame.pts.to_bytes(PTS_BYTES, "big") + file.getvalue()


def _frame(picture: Picture) -> av.VideoFrame:
    pixels = np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB"))
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=ENCODED)
    frame.pts, frame.time_base = picture.pts, _TIME_BASE
    return frame
