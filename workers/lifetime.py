"""How long a process runs: until a signal, an error, or the death of the supervisor that started it."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress

log = logging.getLogger(__name__)

SUPERVISOR_PID = "MILLSTREAM_SUPERVISOR_PID"
"""Environment variable by which a supervisor tells its children who they belong to."""
_ORPHAN_CHECK_S = 1.0
_CANCEL_ATTEMPTS = 50
_CANCEL_INTERVAL_S = 0.1
"""Before Python 3.12 `asyncio.wait_for`, through which redis-py writes, can swallow a cancellation (gh-86296)."""


async def run_together(*parts: Coroutine[None, None, None]) -> None:
    """Run until the first part ends, then cancel the others. Raises the error of the first; further ones are logged.

    A part that does not heed its cancellation is cancelled again, and left behind after some seconds, so that no
    failure hangs its owner.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    raised: Exception | None = None
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except Exception as error:
        raised = error
        raise
    finally:
        for task in await _cancel(tasks):
            log.error("%s did not heed its cancellation", task)
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() not in (None, raised):
                log.error("%s failed: %r", task.get_coro(), task.exception())


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Cancel tasks until they have ended. Returns those that have not."""
    running = set(tasks)
    for _ in range(_CANCEL_ATTEMPTS):
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_CANCEL_INTERVAL_S)
        if not running:
            break
    return running


def settle_memory() -> None:
    """Call once everything is loaded: it stays, so collections need not pause the process to look at it again."""
    gc.collect()
    gc.freeze()


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
