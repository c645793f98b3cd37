"""Live video by the tracks of a call, with a painter that knows nothing."""

import asyncio
import json

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.e2e.streaming import SDP, Pictures
from tests.server import Server

RESTYLE = {"type": "restyle", "prompt": "a cat", "denoising": {"t_indices": [35], "guidance": "none"}}


async def test_a_picture_in_a_message_is_refused_and_the_video_goes_on(painter: Server) -> None:
    client, told = RTCPeerConnection(RTCConfiguration([])), asyncio.Queue[str]()
    client.addTransceiver(Pictures())
    channel = client.createDataChannel("live")
    channel.on("message", told.put_nowait)
    channel.on("open", lambda: channel.send(json.dumps(RESTYLE)))
    await client.setLocalDescription(await client.createOffer())
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{painter.url}/v1/realtime/calls", content=client.localDescription.sdp, headers=SDP)
    await client.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
    assert json.loads(await told.get()) == {"type": "ready"}
    assert json.loads(await told.get())["type"] == "restyled"
    channel.send((2**40).to_bytes(8, "big") + b"a picture")
    kinds = [json.loads(await told.get())["type"] for _ in range(10)]
    assert kinds.count("error") == 1
    assert kinds[-1] == "restyled"
    await client.close()
