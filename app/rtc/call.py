"""One client's WebRTC connection, from its offer to its end."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from uuid import uuid4

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection
from aiortc.rtcicetransport import candidate_to_aioice
from aiortc.stats import RTCRemoteInboundRtpStreamStats

from app.rtc.channel import ChannelConnection
from app.rtc.ice import RestartableIce
from app.rtc.offer import Offer
from app.rtc.sdpfrag import Fragment, write_fragment
from workers.lifetime import run_together

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0


class Call:
    """What it carries is added before it is answered."""

    def __init__(self, ice_servers: list[RTCIceServer], ice_timeout_s: float, *, loopback: bool) -> None:
        """With `loopback` clients on this machine reach it by its loopback address, too."""
        self.id = f"rtc_{uuid4().hex[:16]}"
        self._ice_timeout_s = ice_timeout_s
        self._ice_servers = ice_servers
        self._loopback = loopback
        self._ice: RestartableIce | None = None
        self._restarts = 0
        self.connection = RTCPeerConnection(RTCConfiguration(ice_servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.connection.on("connectionstatechange", self._on_state)
        self.connection.on("datachannel", self._on_channel)
        self._connected = asyncio.Event()
        self._over = asyncio.Event()
        self._channels: dict[str, ChannelConnection] = {}
        self._parts: list[Coroutine[None, None, None]] = []
        self._end_callbacks: list[Callable[[], None]] = []
        self.outcome = "completed"
        """Or `unconnected`, or `lost` when the client could not be reached any more."""
        self.round_trip_s: float | None = None
        """Averaged, where it was measured."""

    def carry(self, *parts: Coroutine[None, None, None]) -> None:
        """Run these once the client is connected. The call ends when the first of them does."""
        self._parts += parts

    def expect(self, label: str, channel: ChannelConnection) -> None:
        """Use the data channel of that name that the client will open."""
        self._channels[label] = channel

    async def answer(self, offer: Offer) -> str:
        """The SDP answer, with all our candidates. Raises ValueError if the offer cannot be met."""
        await self.connection.setRemoteDescription(offer.description)
        transport = self.connection.getTransceivers()[0].receiver.transport.transport
        self._ice = RestartableIce(transport, self._ice_servers, loopback=self._loopback)
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return self.connection.localDescription.sdp

    @property
    def etag(self) -> str:
        """The ICE session in use (RFC 9725 section 4.3)."""
        return f'"{self.id}-{self._restarts}"'

    async def trickle(self, fragment: Fragment) -> bytes | None:
        """Take candidates; with new credentials restart ICE. Then returns our own fragment."""
        assert self._ice is not None
        candidates = [candidate_to_aioice(candidate) for candidate in fragment.candidates]
        if not self._ice.is_restart(fragment):
            await self._ice.trickle(candidates, complete=fragment.complete)
            return None
        assert fragment.username is not None
        assert fragment.password is not None
        self._restarts += 1
        ours = await self._ice.restart(fragment.username, fragment.password)
        await self._ice.trickle(candidates, complete=fragment.complete)
        return write_fragment(ours, self.connection.getTransceivers()[0].mid or "0")

    async def run(self) -> None:
        """Serve the client once it is connected, until one side hangs up or the connection is lost."""
        try:
            async with asyncio.timeout(self._ice_timeout_s):
                await self._connected.wait()
            await run_together(self._over_soon(), *self._parts)
        except TimeoutError:
            self.outcome = "unconnected"
            log.info("call %s: no connection", self.id)
        finally:
            if self._ice is not None and self._ice.is_lost:
                self.outcome = "lost"
            self.round_trip_s = await self._round_trip()
            await self.close()

    def hang_up(self) -> None:
        """End the call."""
        self._over.set()
        self._connected.set()

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call something when the call has ended, however far it came."""
        self._end_callbacks.append(callback)

    async def close(self) -> None:
        """Free everything."""
        while self._end_callbacks:
            self._end_callbacks.pop()()
        for part in self._parts:
            part.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.connection.close()
        except TimeoutError:
            log.warning("call %s: the connection did not close", self.id)

    async def _round_trip(self) -> float | None:
        for sender in self.connection.getSenders():
            for stats in (await sender.getStats()).values():
                if isinstance(stats, RTCRemoteInboundRtpStreamStats) and stats.roundTripTime is not None:
                    return float(stats.roundTripTime)
        return None

    async def _over_soon(self) -> None:
        await self._over.wait()

    def _on_state(self) -> None:
        state = self.connection.connectionState
        if state == "connected":
            self._connected.set()
        elif state in {"failed", "closed"}:
            if not self._connected.is_set():
                self.outcome = "unconnected"
            self.hang_up()

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label in self._channels:
            self._channels[channel.label].attach(channel)
        else:
            log.info("call %s: no use for a data channel %r", self.id, channel.label[:64])
            channel.close()
