import asyncio

import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection

from app.rtc.channel import MAX_WAITING, ChannelConnection, Flooded


async def test_a_client_that_sends_far_more_than_is_read_is_given_up() -> None:
    """What came before it went too far is still read."""
    ours, theirs = RTCPeerConnection(RTCConfiguration([])), RTCPeerConnection(RTCConfiguration([]))
    connection, arrived = ChannelConnection(lambda: None, expected=True), asyncio.Event()
    sending = theirs.createDataChannel("oai-events")

    @ours.on("datachannel")
    def attach(channel: RTCDataChannel) -> None:
        connection.attach(channel)
        channel.on("message", lambda message: arrived.set() if message == "last" else None)

    @sending.on("open")
    def flood() -> None:
        for number in range(MAX_WAITING + 1):
            sending.send(str(number))
        sending.send("last")

    await theirs.setLocalDescription(await theirs.createOffer())
    await ours.setRemoteDescription(theirs.localDescription)
    await ours.setLocalDescription(await ours.createAnswer())
    await theirs.setRemoteDescription(ours.localDescription)
    await arrived.wait()
    assert [await connection.receive() for _ in range(MAX_WAITING)] == [str(number) for number in range(MAX_WAITING)]
    with pytest.raises(Flooded):
        await connection.receive()
    await asyncio.gather(ours.close(), theirs.close())
