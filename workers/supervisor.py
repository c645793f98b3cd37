"""Starts the processes of one machine, restarts those that die, and stops them all cleanly."""

import asyncio
import logging
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.lifetime import SUPERVISOR_PID, run_together

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 10.0
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 10.0
STABLE_AFTER_S = 30.0
"""A process that lived so long starts again with the first back-off."""
MAX_QUICK_DEATHS = 5
"""A process that dies so often in a row without becoming stable is given up."""


class ProcessFailed(Exception):
    """A process died again and again."""


@dataclass(frozen=True)
class ProcessSpec:
    """A process to keep alive: its name in logs, and `python -m` arguments."""

    name: str
    arguments: Sequence[str]


class Supervisor:
    """Keeps processes alive. `environment` is added to the supervisor's own.

    Processes are given in the order of dependence and stopped in reverse, so that none loses what it needs to stop.
    """

    def __init__(self, specs: Sequence[ProcessSpec], environment: Mapping[str, str]) -> None:
        self._specs = specs
        self._running: dict[int, Process] = {}
        self._environment = {**os.environ, **environment, SUPERVISOR_PID: str(os.getpid())}

    async def run(self) -> None:
        """Run every process until cancelled. Raises ProcessFailed when one cannot be kept alive."""
        try:
            await run_together(*(self._keep_alive(place, spec) for place, spec in enumerate(self._specs)))
        finally:
            for place, spec in reversed(list(enumerate(self._specs))):
                if place in self._running:
                    await _stop(self._running[place], spec.name)

    async def _keep_alive(self, place: int, spec: ProcessSpec) -> None:
        loop = asyncio.get_running_loop()
        backoff_s, deaths = FIRST_BACKOFF_S, 0
        while True:
            started = loop.time()
            self._running[place] = process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *spec.arguments, env=self._environment, start_new_session=True
            )
            code = await process.wait()
            if loop.time() - started > STABLE_AFTER_S:
                backoff_s, deaths = FIRST_BACKOFF_S, 0
            deaths += 1
            if deaths >= MAX_QUICK_DEATHS:
                raise ProcessFailed(f"{spec.name} died {deaths} times in a row, the last time with exit code {code}")
            log.warning("%s ended with exit code %s; starting it again in %g s", spec.name, code, backoff_s)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)


async def _stop(process: Process, name: str) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        log.warning("%s did not stop within %g s and is killed", name, STOP_TIMEOUT_S)
        process.kill()
        await process.wait()
