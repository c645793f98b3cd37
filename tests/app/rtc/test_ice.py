"""Restarts of ICE between two ends on the loopback address."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aioice.ice
import psutil
import pytest
from aioice import Candidate, Connection
from aioice.ice import ConnectionClosed

from app.rtc.ice import LOOPBACK, RestartableIce

HUNG_S = 60.0
CANDIDATE = Candidate.from_sdp("1 1 udp 1 127.0.0.1 9 typ host")
STRANGER = ("abcd", "abcdefghijklmnopqrstuv")


@pytest.fixture(autouse=True)
async def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [LOOPBACK])
    async with asyncio.timeout(HUNG_S):
        yield
    assert not psutil.Process().net_connections("udp")


def transport() -> Any:
    """As much of aiortc's as is replaced."""
    connection = Connection(ice_controlling=False)
    gatherer = SimpleNamespace(_connection=connection)
    return SimpleNamespace(_connection=connection, iceGatherer=gatherer, _recv=connection.recv, _send=connection.send)


async def connected() -> tuple[RestartableIce, Connection]:
    """Our end and the client's."""
    ours, theirs = RestartableIce(transport(), []), Connection(ice_controlling=True)
    await asyncio.gather(ours.gather_candidates(), theirs.gather_candidates())
    ours.remote_username, ours.remote_password = theirs.local_username, theirs.local_password
    theirs.remote_username, theirs.remote_password = ours.local_username, ours.local_password
    await ours.trickle(theirs.local_candidates, complete=True)
    await meet(theirs, ours)
    await asyncio.gather(ours._current.connect(), theirs.connect())
    return ours, theirs


async def meet(theirs: Connection, ours: Any) -> None:
    """Tell the client of our candidates."""
    for candidate in ours.local_candidates:
        await theirs.add_remote_candidate(candidate)
    await theirs.add_remote_candidate(None)


async def restarted(ours: RestartableIce) -> Connection:
    """Another end of the client's, to which a path was found."""
    theirs = Connection(ice_controlling=True)
    await theirs.gather_candidates()
    begun = await ours.restart(theirs.local_username, theirs.local_password)
    theirs.remote_username, theirs.remote_password = begun.local_username, begun.local_password
    await ours.trickle(theirs.local_candidates, complete=True)
    await meet(theirs, begun)
    await theirs.connect()
    return theirs


async def test_what_is_waited_for_comes_by_the_new_path() -> None:
    ours, old = await connected()
    receiving, watching = asyncio.create_task(ours.recv()), asyncio.create_task(ours.get_event())
    new = await restarted(ours)
    await new.send(b"hello")
    assert await receiving == b"hello"
    await ours.send(b"and you")
    assert await new.recv() == b"and you"
    assert not watching.done()
    await asyncio.gather(old.close(), new.close(), ours.close())
    assert isinstance(await watching, ConnectionClosed)
    assert isinstance(await ours.get_event(), ConnectionClosed)
    assert not ours.is_lost


async def test_the_old_path_serves_while_there_is_no_new_one() -> None:
    ours, theirs = await connected()
    await ours.restart(*STRANGER)
    await theirs.send(b"still here")
    assert await ours.recv() == b"still here"
    await asyncio.gather(theirs.close(), ours.close())


async def test_of_many_restarts_the_last_counts() -> None:
    ours, theirs = await connected()
    await asyncio.gather(*(ours.restart(f"user{number}", STRANGER[1]) for number in range(5)))
    new = await restarted(ours)
    await new.send(b"hello")
    assert await ours.recv() == b"hello"
    await asyncio.gather(theirs.close(), new.close(), ours.close())


@pytest.mark.parametrize("steps", range(6))
async def test_whoever_closes_during_a_restart_leaves_nothing(steps: int) -> None:
    ours, theirs = await connected()
    restarting = asyncio.create_task(ours.restart(*STRANGER))
    for _ in range(steps):
        await asyncio.sleep(0)
    await ours.close()
    await asyncio.gather(restarting, theirs.close(), return_exceptions=True)


async def test_a_path_that_is_lost_is_told() -> None:
    ours, theirs = await connected()
    receiving, watching = asyncio.create_task(ours.recv()), asyncio.create_task(ours.get_event())
    await asyncio.sleep(0)
    await ours._current.close()
    with pytest.raises(ConnectionError):
        await receiving
    assert isinstance(await watching, ConnectionClosed)
    assert ours.is_lost
    await asyncio.gather(theirs.close(), ours.close())


async def test_candidates_after_the_last_one_are_ignored() -> None:
    ours, theirs = await connected()
    before = ours.remote_candidates
    await ours.trickle([CANDIDATE], complete=True)
    assert ours.remote_candidates == before
    await asyncio.gather(theirs.close(), ours.close())


@pytest.mark.parametrize(("loopback", "addresses"), [(False, set()), (True, {LOOPBACK})])
async def test_clients_on_this_machine_need_no_network(
    monkeypatch: pytest.MonkeyPatch, loopback: bool, addresses: set[str]
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [])
    ours = RestartableIce(transport(), [], loopback=loopback)
    await ours.gather_candidates()
    begun = await ours.restart(*STRANGER)
    for connection in (ours, begun):
        assert {candidate.host for candidate in connection.local_candidates} == addresses
    await ours.close()
