"""How long a process runs: until a signal, an error, or the death of the supervisor that started it."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress

log = logging.getLogger(__name__)

SUPERVISOR_PID = "MILLSTREAM_SUPERVISOR_PID"
"""Environment variable by which a supervisor tells its children who they belong to."""
_ORPHAN_CHECK_S = 1.0
_CANCEL_TIMEOUT_S = 5.0


async def run_together(*parts: Coroutine[None, None, None]) -> None:
    """Run until the first part ends, then cancel the others. Raises the error of the first.

    A part that does not heed its cancellation is left behind after some seconds, so that no failure hangs its owner.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        _, stuck = await asyncio.wait(tasks, timeout=_CANCEL_TIMEOUT_S)
        for task in stuck:
            log.error("%s did not heed its cancellation", task)


async def until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run `work` until it ends or the process should stop; then cancel it and wait for its clean-up."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)

    def stop(reason: str) -> None:
        log.info("stopping: %s", reason)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number.name)
    orphaned = loop.create_task(_watch_supervisor(stop))
    with suppress(asyncio.CancelledError):
        await task
    orphaned.cancel()


async def _watch_supervisor(stop: Callable[[str], None]) -> None:
    supervisor = os.environ.get(SUPERVISOR_PID)
    while supervisor is not None:
        if os.getppid() != int(supervisor):
            stop("the supervisor is gone")
            return
        await asyncio.sleep(_ORPHAN_CHECK_S)
