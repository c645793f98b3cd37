"""ICE restarts (RFC 8445 section 9), which aiortc lacks: media goes on when the client's network changes."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from aioice import Candidate, Connection
from aioice.ice import ConnectionClosed, ConnectionEvent
from aiortc import RTCIceServer, RTCIceTransport
from aiortc.rtcicetransport import connection_kwargs

from app.errors import ApiError
from app.rtc.sdpfrag import Fragment

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
RESTART_TIMEOUT_S = 20.0
"""A restart that has found no path by then is given up; the old path stays in use."""


class RestartableIce:
    """Takes the place of a transport's ICE connection. Once a restart has found a path, that replaces the old one."""

    def __init__(self, transport: RTCIceTransport, servers: list[RTCIceServer], *, loopback: bool = False) -> None:
        """With `loopback` clients on this machine reach it by its loopback address, too."""
        self._current: Connection = transport._connection
        self._next: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._restarting = asyncio.Lock()
        self._closed = self._lost = False
        self._servers = servers
        self._loopback = loopback
        for owner, name, part in (
            (transport.iceGatherer, "_connection", self),
            (transport, "_connection", self),
            (transport, "_recv", self.recv),
            (transport, "_send", self.send),
        ):
            setattr(owner, name, part)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current, name)

    def __setattr__(self, name: str, value: Any) -> None:
        own = name.startswith("_")
        object.__setattr__(self if own else self._current, name, value)

    @property
    def is_lost(self) -> bool:
        """Whether the client has not answered for so long that its path was given up (RFC 7675)."""
        return self._lost

    # --- what the transport uses ---

    async def gather_candidates(self) -> None:
        """Find our candidates."""
        await self._gather(self._current)

    async def recv(self) -> bytes:
        """The next datagram."""
        while True:
            current = self._current
            try:
                return await current.recv()
            except ConnectionError:
                if current is self._current:
                    self._lost = not self._closed
                    raise

    async def send(self, data: bytes) -> None:
        """Send a datagram."""
        await self._current.send(data)

    async def get_event(self) -> ConnectionEvent:
        """What happens to the path in use."""
        while True:
            current = self._current
            event = await current.get_event()
            if current is self._current:
                return event or ConnectionClosed()

    async def close(self) -> None:
        """Give up every path."""
        self._closed = True
        await self._abandon()
        await self._current.close()

    # --- what the client asks for ---

    def is_restart(self, fragment: Fragment) -> bool:
        """Whether a client's credentials are new."""
        latest = self._next or self._current
        return fragment.username is not None and fragment.username != latest.remote_username

    async def trickle(self, candidates: Iterable[Candidate], *, complete: bool = False) -> None:
        """Take more of the client's candidates, which may be the last. After those, others are ignored (RFC 8838
        section 14).
        """
        latest = self._next or self._current
        try:
            await asyncio.gather(*map(latest.add_remote_candidate, candidates))
            if complete:
                await latest.add_remote_candidate(None)
        except ValueError as error:
            log.info("candidates are ignored: %s", error)

    async def restart(self, username: str, password: str) -> Connection:
        """Look for a path to a client with new credentials. Returns the connection, whose candidates are ours. Raises
        ApiError if the call is over.
        """
        async with self._restarting:
            await self._abandon()
            old = self._current
            begun = self._next = Connection(old.ice_controlling, **connection_kwargs(self._servers))
            begun.remote_is_lite = old.remote_is_lite
            begun.remote_username, begun.remote_password = username, password
            await self._gather(begun)
            if self._closed:
                await begun.close()
                raise ApiError(404, "call_not_found", "the call has ended", "call")
            self._connecting = asyncio.create_task(self._connect(begun))
            return begun

    async def _abandon(self) -> None:
        """A restart that has not found a path is of no use any more."""
        abandoned, self._next = self._next, None
        if abandoned is not None:
            await abandoned.close()
        if self._connecting is not None:
            await asyncio.wait([self._connecting])

    async def _connect(self, begun: Connection) -> None:
        try:
            async with asyncio.timeout(RESTART_TIMEOUT_S):
                await begun.connect()
        except (ConnectionError, TimeoutError) as error:
            log.info("no path after an ICE restart: %r", error)
            await begun.close()
            self._next = None if begun is self._next else self._next
            return
        if begun is self._next:
            old, self._current, self._next = self._current, begun, None
            await old.close()

    async def _gather(self, connection: Connection) -> None:
        if self._loopback:
            gather = connection.get_component_candidates

            def from_loopback(component: int, addresses: list[str]) -> Any:
                return gather(component, [LOOPBACK, *addresses])

            connection.get_component_candidates = from_loopback  # type: ignore[method-assign, assignment]
        await connection.gather_candidates()
