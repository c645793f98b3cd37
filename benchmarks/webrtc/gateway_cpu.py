"""What calls cost the gateway of a real server: percent of a core, above what it uses when idle."""

import asyncio
from contextlib import AsyncExitStack

from benchmarks.report import report
from benchmarks.webrtc.callers import FPS, SIDE, Camera, Recorded, calling, recorded, used
from tests.e2e.caller_rtc import CALLS
from tests.server import Server

AUDIO_SESSIONS = 4
SETTLE_S = 0.5
TRANSCRIPTION = {"type": "transcription"}
RESTYLE = {"type": "restyle", "prompt": "starry night by van gogh"}


async def measure(server: Server, *, quick: bool) -> None:
    """Callers that speak, then one that shows pictures."""
    gateway, seconds = server.part("gateway"), 2.5 if quick else 20.0
    url, packets = server.url + CALLS, recorded()
    idle = await used(gateway, seconds)
    async with AsyncExitStack() as calls:
        for _ in range(AUDIO_SESSIONS):
            await calls.enter_async_context(calling(url, Recorded(packets), TRANSCRIPTION))
        await asyncio.sleep(SETTLE_S)
        busy = await used(gateway, seconds)
    share = (busy - idle) / AUDIO_SESSIONS
    report("webrtc.gateway_cpu_audio", 100 * share, "% of a core", sessions=AUDIO_SESSIONS, idle=round(100 * idle, 2))
    camera = Camera()
    async with calling(url, camera, first=RESTYLE) as sink:
        await asyncio.sleep(SETTLE_S)
        sent, restyled = camera.sent, sink.restyled
        busy = await used(gateway, seconds)
        sent_per_s, restyled_per_s = (camera.sent - sent) / seconds, (sink.restyled - restyled) / seconds
    report(
        "webrtc.gateway_cpu_video",
        100 * (busy - idle),
        "% of a core",
        size=SIDE,
        fps=FPS,
        sent_per_s=round(sent_per_s, 1),
        restyled_per_s=round(restyled_per_s, 1),
    )
