"""Servers whose calls are counted: `python -m benchmarks.webrtc.server PORT ours|echo`.

`ours` hears as a gateway does, pushes what it hears to a worker through the broker, and speaks all the time. `echo` is
aiortc's example: it decodes what comes and sends it back, encoded anew.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aioice.ice
import uvicorn
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.realtime.playout import FRAME_BYTES
from app.rtc.audio import AudioIn, AudioOut, take_packets
from app.rtc.call import Call
from app.rtc.carry import only_opus
from app.rtc.channel import ChannelConnection
from app.rtc.offer import read_offer
from benchmarks.voice.speaker import CLIPS, pcm_of
from workers.broker.client import StreamClient
from workers.broker.connection import connect

CHUNK_S = 0.02
SLACK_S = 60.0
_KEPT: set[object] = set()
"""Calls run until the process ends."""


async def ours(request: Request) -> Response:
    """Hear, push, and speak."""
    offer = await _offer(request)
    streams: StreamClient = request.state.streams
    stream = await streams.open("noop", {}, lambda envelope: None)
    call = Call([], 20.0, loopback=False)
    call.expect("oai-events", ChannelConnection(call.hang_up, expected=True))
    transceiver = call.connection.addTransceiver(AudioOut(_speech()))
    only_opus(transceiver)
    heard = AudioIn(lambda pcm: stream.push("audio", data=pcm, slack_s=SLACK_S))
    take_packets(transceiver.receiver, heard)
    call.carry(heard.watch())
    answer = await call.answer(read_offer(offer.encode()))
    _KEPT.add(asyncio.create_task(call.run()))
    return PlainTextResponse(answer, 201)


async def echo(request: Request) -> Response:
    """Send back what comes."""
    connection = RTCPeerConnection(RTCConfiguration([]))
    _KEPT.add(connection)

    @connection.on("track")
    def on_track(track: MediaStreamTrack) -> None:
        connection.addTrack(track)

    await connection.setRemoteDescription(RTCSessionDescription(await _offer(request), "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    return PlainTextResponse(connection.localDescription.sdp, 201)


async def _offer(request: Request) -> str:
    async with request.form() as form:
        return str(form["sdp"])


def _speech() -> Callable[[], bytes]:
    pcm, place = pcm_of(CLIPS[0]), 0

    def frame() -> bytes:
        nonlocal place
        place = (place + FRAME_BYTES) % (len(pcm) - FRAME_BYTES)
        return pcm[place : place + FRAME_BYTES]

    return frame


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[dict[str, StreamClient]]:
    redis = connect(os.environ["MILLSTREAM_REDIS_URL"])
    streams = StreamClient(redis, "bench", claim_timeout_s=20)
    running = asyncio.create_task(streams.run())
    yield {"streams": streams}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await redis.aclose()


if __name__ == "__main__":
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    routes = [Route("/ours", ours, methods=["POST"]), Route("/echo", echo, methods=["POST"])]
    uvicorn.run(Starlette(routes=routes, lifespan=_lifespan), port=int(sys.argv[1]), loop="uvloop", log_level="warning")
