"""The audio tracks of a call."""

import asyncio
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

import av
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

from app.realtime.playout import FRAME_BYTES, FRAME_S
from app.rtc.arrivals import CLOCK_HZ, Arrivals, Counts, MediaTime, Packet
from app.rtc.opus import SILENCE, OpusDecoder, OpusEncoder

_FRAME_SAMPLES = int(CLOCK_HZ * FRAME_S)
_TIME_BASE = Fraction(1, CLOCK_HZ)
_TAIL_FRAMES = 25
"""Silence that follows speech at full rate, so that no receiver waits for the end of it."""
_IDLE_FRAMES = 20
"""In silence one packet of so many is sent (discontinuous transmission, RFC 7587 section 3.1.3)."""
_SILENT_FRAME = bytes(FRAME_BYTES)
"""One is encoded after speech: the encoder holds the last 6.5 ms back."""
_LATE_S = 0.2
"""After such a delay the pace starts anew, rather than catching up."""
BUFFER = "_RTCRtpReceiver__jitter_buffer"


class PacketTaker(Protocol):
    """Takes a receiver's packets."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet. Returns whether a key frame is needed, and what the receiver shall decode."""


def take_packets(receiver: RTCRtpReceiver, taker: PacketTaker) -> None:
    """Hand a receiver's packets to `taker` in place of its jitter buffer, which waits 320 ms for a lost packet of audio
    and hands every frame through two threads.
    """
    assert hasattr(receiver, BUFFER), "aiortc keeps its jitter buffer elsewhere now"
    setattr(receiver, BUFFER, taker)


class AudioIn:
    """A client's audio as 16 kHz mono int16, packet by packet; a `PacketTaker`."""

    def __init__(self, on_audio: Callable[[bytes], None]) -> None:
        self._on_audio = on_audio
        self._arrivals = Arrivals()
        self._time = MediaTime()
        self._decoder = OpusDecoder()

    @property
    def counts(self) -> Counts:
        """Packets that came, that were lost, and that came too late."""
        return self._arrivals.counts

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet; no frame comes back."""
        data: bytes = packet._data  # type: ignore[attr-defined]
        self._hear(self._arrivals.add(packet.ssrc, packet.sequence_number, packet.timestamp, data))
        return False, None

    async def watch(self) -> None:
        """Count the silence of a sender that sends nothing."""
        while True:
            await asyncio.sleep(FRAME_S * 5)
            if self._time.is_absent(time.monotonic()):
                self._hear(self._arrivals.release())
                self._silence(self._time.absence(time.monotonic()))

    def _hear(self, packets: list[Packet]) -> None:
        for packet in packets:
            self._silence(self._time.before(packet, time.monotonic()))
            samples, pcm = self._decoder.decode(packet.payload)
            self._time.played(samples)
            if pcm:
                self._on_audio(pcm)

    def _silence(self, samples: int) -> None:
        if samples and (pcm := self._decoder.silence(samples)):
            self._on_audio(pcm)


class AudioOut(MediaStreamTrack):
    """Plays 20 ms after 20 ms of what `next_frame` gives, 24 kHz mono int16, or silence where it is None."""

    kind = "audio"

    def __init__(self, next_frame: Callable[[], bytes | None]) -> None:
        super().__init__()
        self._next_frame = next_frame
        self._encoder = OpusEncoder()
        self._started: float | None = None
        self._frames = 0
        self._silent = 0

    async def recv(self) -> "av.Packet[av.stream.Stream]":
        """The next packet, when it is time."""
        while True:
            await self._pace()
            pcm = self._next_frame()
            self._silent = 0 if pcm is not None else self._silent + 1
            if self._silent <= _TAIL_FRAMES or self._silent % _IDLE_FRAMES == 0:
                return self._packet(SILENCE if self._silent > 1 else self._encoder.encode(pcm or _SILENT_FRAME))

    async def _pace(self) -> None:
        now = time.monotonic()
        if self._started is None:
            self._started = now
        self._frames += 1
        due = self._started + self._frames * FRAME_S
        if now > due + _LATE_S:
            self._started += now - due
        await asyncio.sleep(due - now)

    def _packet(self, payload: bytes) -> "av.Packet[av.stream.Stream]":
        packet = av.Packet(payload)
        packet.pts, packet.time_base = self._frames * _FRAME_SAMPLES, _TIME_BASE
        return packet
