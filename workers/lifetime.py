"""How long a process runs: until a signal, an error, or the death of the supervisor that started it."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress

SUPERVISOR_PID = "MILLSTREAM_SUPERVISOR_PID"
"""Environment variable by which a supervisor tells its children who they belong to."""
_ORPHAN_CHECK_S = 1.0


async def until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run `work` until it ends or the process should stop; then cancel it and wait for its clean-up."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    orphaned = loop.create_task(_cancel_when_orphaned(task))
    with suppress(asyncio.CancelledError):
        await task
    orphaned.cancel()


async def _cancel_when_orphaned(task: asyncio.Task[None]) -> None:
    supervisor = os.environ.get(SUPERVISOR_PID)
    while supervisor is not None:
        if os.getppid() != int(supervisor):
            task.cancel()
            return
        await asyncio.sleep(_ORPHAN_CHECK_S)
