"""One publisher, many viewers: what WHIP takes in goes through a pipeline and out by WHEP."""

import asyncio
import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from aiortc import MediaStreamTrack
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket
from aiortc.utils import uint32_gt

from app.live.runner import LiveRunner
from app.live.session import LiveSession
from app.rtc.arrivals import CLOCK_HZ
from app.rtc.audio import take_packets
from app.rtc.call import Call
from app.rtc.carry import only_opus
from app.rtc.offer import Offer
from app.rtc.video import ENCODED, TracksConnection, VideoOut, bound_decoding, each_frame

if TYPE_CHECKING:
    from app.gateway import Gateway

MAX_WAITING_PACKETS = 250
"""Of audio, for a viewer that takes none: five seconds."""
_TIME_BASE = Fraction(1, CLOCK_HZ)


class RelayedAudio(MediaStreamTrack):
    """Opus packets as the publisher sent them."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._packets: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(MAX_WAITING_PACKETS)

    def put(self, timestamp: int, payload: bytes) -> None:
        """Send a packet; if too many wait, the oldest is not sent."""
        if self._packets.full():
            self._packets.get_nowait()
        self._packets.put_nowait((timestamp, payload))

    async def recv(self) -> "av.Packet[av.stream.Stream]":
        """The next packet."""
        timestamp, payload = await self._packets.get()
        packet = av.Packet(payload)
        packet.pts, packet.time_base = timestamp, _TIME_BASE
        return packet


class Broadcast:
    """A stream that is published. Its sound waits for as long as its pictures are in the making, so that lips and words
    agree.
    """

    def __init__(self) -> None:
        self._viewers: dict[Call, tuple[VideoOut, RelayedAudio]] = {}
        self._restyling: TracksConnection | None = None
        self._heard: int | None = None
        self._sound_due = 0.0

    def publish(self, call: Call, offer: Offer, options: dict[str, Any] | None, gateway: "Gateway") -> None:
        """Take what a client sends. Its video is restyled, unless `options` is None."""
        for kind in offer.kinds:
            transceiver = call.connection.addTransceiver(kind, "recvonly")
            receiver = transceiver.receiver
            if kind == "audio":
                only_opus(transceiver)
                take_packets(receiver, self)
                continue
            bound_decoding(receiver)
            if options is None:
                call.carry(each_frame(receiver, self._show))
            else:
                session = LiveSession()
                self._restyling = TracksConnection(session, self._show, call.hang_up, expected=False)
                self._restyling.say(json.dumps({"type": "restyle", **options}))
                call.carry(LiveRunner(session, self._restyling, gateway).run(), self._restyling.watch(receiver))

    def play(self, call: Call, offer: Offer) -> None:
        """Send what there is to a viewer."""
        pictures, sound = VideoOut(), RelayedAudio()
        for kind in offer.kinds:
            transceiver = call.connection.addTransceiver(sound if kind == "audio" else pictures, "sendonly")
            if kind == "audio":
                only_opus(transceiver)
        self._viewers[call] = pictures, sound
        call.on_end(lambda: self._viewers.__delitem__(call))

    def end(self) -> None:
        """Nothing more comes."""
        for viewer in self._viewers:
            viewer.hang_up()

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet of sound; one that comes after a later one is not sent."""
        if self._heard is None or uint32_gt(packet.timestamp, self._heard):
            self._heard = packet.timestamp
            loop, delay_s = asyncio.get_running_loop(), self._restyling.delay_s if self._restyling else 0.0
            self._sound_due = max(self._sound_due, loop.time() + delay_s)
            loop.call_at(self._sound_due, self._sound, packet.timestamp, packet._data)  # type: ignore[attr-defined]
        return False, None

    def _sound(self, timestamp: int, payload: bytes) -> None:
        for _, sound in self._viewers.values():
            sound.put(timestamp, payload)

    def _show(self, frame: av.VideoFrame) -> None:
        if frame.format.name != ENCODED:
            frame = frame.reformat(format=ENCODED)
        for pictures, _ in self._viewers.values():
            pictures.show(frame)
