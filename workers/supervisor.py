"""Starts the processes of one machine, restarts those that die, and stops them all cleanly."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.lifetime import SUPERVISOR_PID

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
    """Keeps processes alive. `environment` is added to the supervisor's own."""

    def __init__(self, specs: Sequence[ProcessSpec], environment: Mapping[str, str]) -> None:
        self._specs = specs
        self._environment = {**os.environ, **environment, SUPERVISOR_PID: str(os.getpid())}

    async def run(self) -> None:
        """Run every process until cancelled. Raises ProcessFailed when one cannot be kept alive."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for spec in self._specs:
                    tasks.create_task(self._keep_alive(spec))
        except* ProcessFailed as group:
            raise group.exceptions[0] from None

    async def _keep_alive(self, spec: ProcessSpec) -> None:
        loop = asyncio.get_running_loop()
        backoff_s, deaths = FIRST_BACKOFF_S, 0
        while True:
            started = loop.time()
            code = await self._run_once(spec)
            if loop.time() - started > STABLE_AFTER_S:
                backoff_s, deaths = FIRST_BACKOFF_S, 0
            deaths += 1
            if deaths >= MAX_QUICK_DEATHS:
                raise ProcessFailed(f"{spec.name} died {deaths} times in a row, the last time with exit code {code}")
            log.warning("%s ended with exit code %s; starting it again in %g s", spec.name, code, backoff_s)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)

    async def _run_once(self, spec: ProcessSpec) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *spec.arguments, env=self._environment, start_new_session=True
        )
        try:
            return await process.wait()
        finally:
            await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
