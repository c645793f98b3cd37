"""Processes for a supervisor to keep: `python -m tests.workers.child HOW DIRECTORY`.

Each leaves a file named by its process id once it is up, and one named `<id>.stopped` when it ends as it was told to.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.lifetime import until_stopped
from workers.supervisor import ProcessSpec, Supervisor

LONGEST_LIFE_S = 100
"""Whatever a test does, no child outlives it for long."""


def child(how: str, directory: Path) -> ProcessSpec:
    """A child that behaves as `how` says: die, die_once, stay, stubborn or supervise."""
    return ProcessSpec(how, ["tests.workers.child", how, str(directory)])


def pids(directory: Path) -> list[int]:
    """Process ids of the children that came up, dead ones included."""
    return sorted(int(path.name) for path in directory.iterdir() if not path.suffix)


def stopped(directory: Path) -> list[int]:
    """Process ids of the children that ended as they were told to."""
    return sorted(int(path.stem) for path in directory.glob("*.stopped"))


@contextmanager
def marked(mark: Path) -> Iterator[None]:
    mark.touch()
    try:
        yield
    finally:
        mark.with_suffix(".stopped").touch()


async def stay(mark: Path) -> None:
    with marked(mark):
        await asyncio.Event().wait()


def main() -> None:
    how, directory = sys.argv[1], Path(sys.argv[2])
    signal.alarm(LONGEST_LIFE_S)
    mark = directory / str(os.getpid())
    first = not pids(directory)
    if how == "die" or (how == "die_once" and first):
        mark.touch()
        raise SystemExit(3)
    if how == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        mark.touch()
        time.sleep(LONGEST_LIFE_S)
    elif how == "supervise":
        asyncio.run(until_stopped(Supervisor([child("stay", directory)] * 2, {}).run()))
    else:
        asyncio.run(until_stopped(stay(mark)))


if __name__ == "__main__":
    main()
