"""`python -m benchmarks.webrtc [--quick]`: print every figure of calls by WebRTC.

The callers and the benchmark itself run on one core, the process that is measured on the other.
"""

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import arguments, configuration
from benchmarks.webrtc import barge_in, capacity, delay, gateway_cpu
from benchmarks.webrtc.callers import CALLER_CORE, SERVER_CORE
from tests.server import running_server

WORKERS: dict[str, Any] = {"MILLSTREAM_WORKERS": '{"listen": 1, "think": 1, "speak": 1, "restyle": 1}'}


async def main() -> None:
    """Print every figure."""
    quick = arguments(__doc__ or "").quick
    configuration(load=round(os.getloadavg()[0], 1), caller_core=CALLER_CORE, server_core=SERVER_CORE, client="aiortc")
    with tempfile.TemporaryDirectory() as directory:
        with running_server(Path(directory), **WORKERS) as server:
            psutil.Process().cpu_affinity([CALLER_CORE])
            server.part("gateway").cpu_affinity([SERVER_CORE])
            await barge_in.measure(server, quick=quick)
            await gateway_cpu.measure(server, quick=quick)
        await delay.measure(quick=quick)
        await capacity.measure(Path(directory), quick=quick)


if __name__ == "__main__":
    asyncio.run(main())
