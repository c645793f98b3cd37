"""Live video on a real server with the model that ships: deadlines kept, time to a picture, and who is refused.

Two cores, `threads` 2. Sessions send 2 pictures a second each; at last ever more of them send 15.
"""

import asyncio
import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

import millstream
from benchmarks.report import arguments, configuration, percentile, report
from millstream import Restyled, Restyling
from tests.e2e.metrics import metric
from tests.server import Server, running_server

PROMPTS = ("comic book ink", "starry night by van gogh", "japanese woodblock print", "a stained glass mosaic")
WORKERS: dict[str, Any] = {"MILLSTREAM_WORKERS": '{"restyle": 1}', "MILLSTREAM_THREADS": "2", "MILLSTREAM_SLOTS": "32"}
SIDE = 256
SLOW_FPS, FAST_FPS = 2, 15
TICKS_PER_S = 90_000
MOST_SESSIONS = 32


async def main() -> None:
    """Print every figure."""
    quick = arguments(__doc__ or "").quick
    seconds = 4 if quick else 20
    configuration(size=SIDE, fps=SLOW_FPS, seconds=seconds, workers=WORKERS)
    with tempfile.TemporaryDirectory() as directory, running_server(Path(directory), **WORKERS) as server:
        await _watched(server, 1, FAST_FPS, seconds)
        for sessions in (1, 2, 4):
            misses, sent = _misses(server), sessions * SLOW_FPS * seconds
            latencies = await _watched(server, sessions, SLOW_FPS, seconds)
            report(
                "live.slack_misses",
                (_misses(server) - misses) / sent,
                "share",
                sessions=sessions,
                pictures=sent,
                latency_p50_ms=round(1e3 * median(latencies)),
                latency_p95_ms=round(1e3 * percentile(latencies, 95)),
            )
        if not quick:
            await _fill(server)


async def _watched(server: Server, sessions: int, fps: float, seconds: float) -> list[float]:
    """Seconds from each picture to what it became."""
    ran = [_session(server, PROMPTS[n % len(PROMPTS)], fps, seconds) for n in range(sessions)]
    return [latency for latencies in await asyncio.gather(*ran) for latency in latencies]


async def _session(server: Server, prompt: str, fps: float, seconds: float) -> list[float]:
    async with millstream.restyle(prompt, server.url) as restyling:
        return await _stream(restyling, fps, seconds)


async def _stream(restyling: Restyling, fps: float, seconds: float) -> list[float]:
    sent: dict[int, float] = {}

    async def listen() -> list[float]:
        return [time.monotonic() - sent[event.pts] async for event in restyling if isinstance(event, Restyled)]

    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen())
        for number, picture in enumerate(_pictures(round(fps * seconds))):
            pts = round(number * TICKS_PER_S / fps)
            sent[pts] = time.monotonic()
            await restyling.send(picture, pts)
            await asyncio.sleep(1 / fps)
        await restyling.finish()
    return listening.result()


async def _fill(server: Server) -> None:
    """Fast sessions until one is refused, or as many as there are slots."""
    async with AsyncExitStack() as sessions:
        running: list[asyncio.Task[list[float]]] = []
        while len(running) < MOST_SESSIONS and not any(task.done() for task in running):
            restyling = await sessions.enter_async_context(millstream.restyle(PROMPTS[0], server.url))
            running.append(asyncio.create_task(_stream(restyling, FAST_FPS, 600)))
            await asyncio.sleep(3)
        refused = sum(task.done() for task in running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    report("live.admitted", len(running) - refused, "sessions", fps=FAST_FPS, refused=refused)


def _pictures(count: int) -> Iterator[bytes]:
    """A square that moves over a gradient."""
    for number in range(count):
        pixels = np.mgrid[:SIDE, :SIDE].sum(0)[..., None].repeat(3, -1) / 2
        left = number * 7 % (SIDE - 64)
        pixels[96:160, left : left + 64] = (200, 40, 90)
        file = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG")
        yield file.getvalue()


def _misses(server: Server) -> float:
    return metric(server, "millstream_slack_misses_total", model="streamdiffusion")


if __name__ == "__main__":
    asyncio.run(main())
