"""From a client's sending a packet to its audio being handed on, with packets lost on the way.

The peer is aiortc's own receiver: its jitter buffer and decoder threads, in the same run over the same losses.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import is_rtcp

from app.rtc.arrivals import Packet
from app.rtc.audio import AudioIn, take_packets
from benchmarks.report import percentile, report
from benchmarks.webrtc.callers import FRAME, Recorded, recorded

LOSSES_PERCENT = (0, 2, 5)
PAIRS = 2
CERTAIN = 50
"""The first packets are neither lost nor counted."""
PEER = "aiortc's jitter buffer and decoder"


class Way:
    """Packets of one call: when each was sent, and when its audio was handed on."""

    def __init__(self, loss: float, seed: int) -> None:
        self._loss = loss
        self._chance = random.Random(seed)
        self._first: int | None = None
        self._sent: dict[int, float] = {}
        self.handed: dict[int, float] = {}

    def lose(self, transport: Any) -> None:
        """Drop what the transport sends, by chance."""
        send: Callable[[bytes], Any] = transport._send_rtp

        async def lossy(data: bytes) -> None:
            if not is_rtcp(data):
                timestamp = int.from_bytes(data[4:8], "big")
                self._first = timestamp if self._first is None else self._first
                number = ((timestamp - self._first) & 0xFFFFFFFF) // FRAME
                if number >= CERTAIN and self._chance.random() < self._loss:
                    return
                self._sent[number] = time.monotonic()
            await send(data)

        transport._send_rtp = lossy

    def hand(self, timestamp: int) -> None:
        """The audio of a packet was handed on."""
        assert self._first is not None
        number = ((timestamp - self._first) & 0xFFFFFFFF) // FRAME
        self.handed.setdefault(number, time.monotonic())

    async def play(self, track: MediaStreamTrack) -> None:
        """Take frames of aiortc's own receiver."""
        with suppress(MediaStreamError):
            while True:
                frame: Any = await track.recv()
                self.handed.setdefault(frame.pts // FRAME, time.monotonic())

    @property
    def delays_ms(self) -> list[float]:
        """Of packets that were not lost."""
        numbers = [number for number in self._sent.keys() & self.handed.keys() if number >= CERTAIN]
        return [(self.handed[number] - self._sent[number]) * 1e3 for number in numbers]


class Noted(AudioIn):
    """Tells when it has handed a packet on."""

    def __init__(self, way: Way) -> None:
        super().__init__(lambda pcm: None)
        self._way = way

    def _hear(self, packets: list[Packet]) -> None:
        super()._hear(packets)
        for packet in packets:
            self._way.hand(packet.timestamp)


async def measure(*, quick: bool) -> None:
    """Both receivers under each loss."""
    seconds, packets = (1.5, recorded()) if quick else (30.0, recorded())
    for loss in LOSSES_PERCENT:
        ways: dict[str, list[Way]] = {"ours": [], "peer": []}
        async with asyncio.TaskGroup() as tasks:
            for seed in range(PAIRS):
                for name, kind in ways.items():
                    kind.append(Way(loss / 100, seed))
                    tasks.create_task(_run(kind[-1], packets, seconds, ours=name == "ours"))
        ours, peer = ([delay for way in kind for delay in way.delays_ms] for kind in ways.values())
        report(
            "webrtc.delay_ms",
            percentile(ours, 50),
            "ms",
            p95=round(percentile(ours, 95), 1),
            loss_percent=loss,
            packets=len(ours),
            peer=PEER,
            peer_value=round(percentile(peer, 50), 1),
            peer_p95=round(percentile(peer, 95), 1),
        )


async def _run(way: Way, packets: list[bytes], seconds: float, *, ours: bool) -> None:
    async with _pair(Recorded(packets)) as (sender, receiver):
        if ours:
            heard = Noted(way)
            take_packets(receiver.getTransceivers()[0].receiver, heard)
            playing = asyncio.create_task(heard.watch())
        else:
            playing = asyncio.create_task(way.play(receiver.getReceivers()[0].track))
        way.lose(sender.getSenders()[0].transport)
        await asyncio.sleep(seconds + 1)
        playing.cancel()


@asynccontextmanager
async def _pair(track: MediaStreamTrack) -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection]]:
    """Two ends of a connection that is about to stand."""
    sender, receiver = RTCPeerConnection(RTCConfiguration([])), RTCPeerConnection(RTCConfiguration([]))
    sender.addTransceiver(track, "sendonly")
    await sender.setLocalDescription(await sender.createOffer())
    await receiver.setRemoteDescription(sender.localDescription)
    await receiver.setLocalDescription(await receiver.createAnswer())
    await sender.setRemoteDescription(receiver.localDescription)
    try:
        yield sender, receiver
    finally:
        await sender.close()
        await receiver.close()
