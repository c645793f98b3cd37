"""A WebRTC client that speaks and listens, as a browser would; everything stays on the loopback address."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import aioice.ice
import av
import httpx
import numpy as np
import soxr
from aioice import Connection
from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from app.rtc.ice import RestartableIce
from tests.e2e.conversing import SERVER_EVENT
from tests.e2e.hearing import HUNG_S, Heard, hearing
from tests.e2e.speech import RATE_HZ

Event = dict[str, Any]

LOOPBACK = "127.0.0.1"
CALLS = "/v1/realtime/calls"
SDP = {"content-type": "application/sdp"}
WIRE_HZ = 48_000
FRAME = WIRE_HZ // 50
LOUD = 200
"""Samples of speech reach this, those of silence do not."""

aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [LOOPBACK]


class Microphone(MediaStreamTrack):
    """Speaks what it is given, in real time, and is silent otherwise."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._unsaid = np.empty(0, np.int16)
        self._started = 0.0
        self._sent = 0

    def say(self, pcm: bytes) -> float:
        """Speak 24 kHz mono int16 audio, after what was to be said before. Returns how long that takes, in seconds."""
        speech = soxr.resample(np.frombuffer(pcm, np.int16), RATE_HZ, WIRE_HZ).astype(np.int16)
        self._unsaid = np.concatenate([self._unsaid, speech])
        return len(self._unsaid) / WIRE_HZ

    async def recv(self) -> av.AudioFrame:
        self._started = self._started or time.monotonic()
        await asyncio.sleep(self._started + self._sent / WIRE_HZ - time.monotonic())
        samples, self._unsaid = self._unsaid[:FRAME], self._unsaid[FRAME:]
        frame = av.AudioFrame.from_ndarray(np.pad(samples, (0, FRAME - len(samples)))[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = WIRE_HZ, self._sent, Fraction(1, WIRE_HZ)
        self._sent += FRAME
        return frame


class Speaker:
    """What was received: 24 kHz mono int16."""

    def __init__(self) -> None:
        self.samples = np.empty(0, np.int16)

    async def play(self, track: MediaStreamTrack) -> None:
        """Take all of a track."""
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                left = frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)]
                self.samples = np.concatenate([self.samples, left[::2]])
        except MediaStreamError:
            pass

    @property
    def pcm(self) -> bytes:
        return self.samples.tobytes()

    def loud(self) -> NDArray[np.int64]:
        """Which samples are louder than silence."""
        return np.flatnonzero(np.abs(self.samples.astype(np.int32)) > LOUD)


class Caller:
    """One end of a call."""

    def __init__(
        self,
        connection: RTCPeerConnection,
        heard: Heard[Event],
        channel: RTCDataChannel,
        microphone: Microphone | None = None,
    ) -> None:
        self.connection = connection
        self.heard = heard
        self.channel = channel
        self.microphone = microphone or Microphone()
        self.speaker = Speaker()
        self.answer = httpx.Response(0)
        self._ice: RestartableIce | None = None
        self._playing: list[asyncio.Task[None]] = []
        self._connected = asyncio.Event()
        self.over = asyncio.Event()
        connection.addTransceiver(self.microphone)
        connection.on("track", self._play)
        connection.on("connectionstatechange", self._changed)
        channel.on("open", self._connected.set)

    async def offer(self) -> str:
        """An offer with all its candidates."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        self._ice = RestartableIce(self.connection.getTransceivers()[0].receiver.transport.transport, [])
        return self.connection.localDescription.sdp

    async def call(self, url: str, headers: dict[str, str], session: Event | None = None) -> None:
        """Send an offer, with a session object if there is one, and wait until the call stands."""
        offer = await self.offer()
        async with httpx.AsyncClient() as http:
            if session is None:
                self.answer = await http.post(url, content=offer, headers=SDP | headers)
            else:
                form: Any = {"sdp": (None, offer, SDP["content-type"]), "session": (None, json.dumps(session))}
                self.answer = await http.post(url, files=form, headers=headers)
        assert self.answer.status_code == httpx.codes.CREATED, self.answer.text
        await self.accept(self.answer.text)
        await self.connected()

    async def accept(self, sdp: str) -> None:
        """Take the answer."""
        await self.connection.setRemoteDescription(RTCSessionDescription(from_loopback(sdp), "answer"))

    async def move(self, path: Connection) -> None:
        """Use another path once it is found."""
        assert self._ice is not None
        self._ice._next = path
        await self._ice._connect(path)

    async def connected(self) -> None:
        """Wait until events can be sent."""
        async with asyncio.timeout(HUNG_S):
            await self._connected.wait()

    async def ended(self) -> None:
        """Wait until the other side has hung up."""
        async with asyncio.timeout(HUNG_S):
            await self.over.wait()

    def send(self, kind: str, **fields: Any) -> None:
        self.channel.send(json.dumps({"type": kind, **fields}))

    async def wait(self, kind: str, count: int = 1) -> Event:
        """The `count`-th event of a type."""
        return await self.heard.wait(kind, count)

    async def updated(self, **fields: Any) -> Event:
        """Change the session. Returns it as it is then."""
        count = len(self.heard.of("session.updated"))
        self.send("session.update", session={"type": "realtime", **fields})
        return dict((await self.wait("session.updated", count + 1))["session"])

    async def ask(self, text: str) -> None:
        """Add a message to the conversation, and want a reply."""
        content = [{"type": "input_text", "text": text}]
        self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        self.send("response.create")

    async def retrieved(self, item: str) -> Event:
        """The item as the server knows it."""
        count = len(self.heard.of("item.retrieved"))
        self.send("conversation.item.retrieve", item_id=item)
        return dict((await self.wait("item.retrieved", count + 1))["item"])

    async def close(self) -> None:
        await self.connection.close()
        await asyncio.gather(*self._playing)

    def _play(self, track: MediaStreamTrack) -> None:
        self._playing.append(asyncio.create_task(self.speaker.play(track)))

    def _changed(self) -> None:
        if self.connection.connectionState in {"failed", "closed"}:
            self.over.set()


def from_loopback(sdp: str) -> str:
    """A description without the other candidates."""
    lines = sdp.splitlines()
    kept = [line for line in lines if not line.startswith("a=candidate:") or line.split()[4] == LOOPBACK]
    return "\r\n".join([*kept, ""])


@asynccontextmanager
async def caller(microphone: Microphone | None = None) -> AsyncIterator[Caller]:
    """A client that has not called yet. At the end every event must be what the official types say."""
    connection = RTCPeerConnection(RTCConfiguration([]))
    channel = connection.createDataChannel("oai-events")
    messages: asyncio.Queue[str | None] = asyncio.Queue()
    channel.on("message", messages.put_nowait)
    channel.on("close", lambda: messages.put_nowait(None))
    async with hearing(_events(messages), lambda event: str(event["type"])) as heard:
        calling = Caller(connection, heard, channel, microphone)
        try:
            yield calling
        finally:
            await calling.close()
    for event in heard.events:
        SERVER_EVENT.validate_python(event)


@asynccontextmanager
async def calling(url: str, key: str | None = None, session: Event | None = None) -> AsyncIterator[Caller]:
    """Call the server at `url` with an offer, and a session object if there is one."""
    async with caller() as calling:
        await calling.call(url + CALLS, {"authorization": f"Bearer {key}"} if key else {}, session)
        yield calling


async def _events(messages: "asyncio.Queue[str | None]") -> AsyncIterator[Event]:
    while (message := await messages.get()) is not None:
        yield json.loads(message)
