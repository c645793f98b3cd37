"""A relay of UDP packets that a page's call is led through, and that can be made to lose all of them."""

import asyncio
import re
from functools import partial
from typing import Any

from playwright.async_api import Page, Route

_CANDIDATE = re.compile(rb"a=candidate:[^\r]*\r\n")
_HOST = re.compile(r"a=candidate:(\S+) 1 udp (\d+) (127\.0\.0\.1) (\d+) typ host")
Address = tuple[str, int]


class _Side(asyncio.DatagramProtocol):
    """One socket. What it gets is sent by the other one, to whoever that got something from last."""

    def __init__(self, detour: "Detour") -> None:
        self._detour = detour
        self.peer: Address | None = None
        self.other: _Side
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.peer = address
        if self.other.peer is not None and not self._detour.blocked:
            self.other.transport.sendto(data, self.other.peer)


class Detour:
    """The way of a call's packets; calls that restart ICE leave it."""

    def __init__(self) -> None:
        self.blocked = False
        self._near, self._far = _Side(self), _Side(self)
        self._near.other, self._far.other = self._far, self._near

    async def lead(self, page: Page) -> None:
        """Lead the calls of a page this way. The server does not learn where the page is."""
        loop = asyncio.get_running_loop()
        for side in (self._near, self._far):
            await loop.create_datagram_endpoint(partial(_itself, side), local_addr=("127.0.0.1", 0))
        await page.route("**/v1/realtime/calls", self._answer)

    def close(self) -> None:
        for side in (self._near, self._far):
            side.transport.close()

    async def _answer(self, route: Route) -> None:
        if route.request.method != "POST":
            await route.continue_()
            return
        offer = route.request.post_data_buffer
        assert offer is not None
        response = await route.fetch(post_data=_CANDIDATE.sub(b"", offer))
        answer = await response.text()
        host = _HOST.search(answer)
        if host is not None:
            self._far.peer = (host[3], int(host[4]))
            port = self._near.transport.get_extra_info("sockname")[1]
            here = f"a=candidate:{host[1]} 1 udp {host[2]} {host[3]} {port} typ host\r\n"
            first, *rest = _CANDIDATE.sub(b"\0", answer.encode()).decode().split("\0")
            answer = first + here + "".join(rest)
        await route.fulfill(response=response, body=answer)


def _itself(side: _Side) -> _Side:
    return side
