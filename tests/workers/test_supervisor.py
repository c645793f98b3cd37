import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis

from tests.workers.child import child, pids, stopped
from tests.workers.harness import HUNG_S, ROOT, eventually, running
from workers import embedded_valkey
from workers import supervisor as supervisor_module
from workers.broker.connection import connect
from workers.supervisor import MAX_QUICK_DEATHS, ProcessFailed, Supervisor

PYTHONPATH = {"PYTHONPATH": str(ROOT)}


@pytest.fixture(autouse=True)
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(supervisor_module, "LONGEST_BACKOFF_S", 0.02)


def supervised(directory: Path, *how: str) -> Supervisor:
    return Supervisor([child(each, directory) for each in how], PYTHONPATH)


async def up(directory: Path, count: int) -> None:
    """Wait until `count` children have come up."""

    async def are_up() -> bool:
        return len(pids(directory)) >= count

    await eventually(are_up)


@asynccontextmanager
async def python_m(*arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments, env={**os.environ, **PYTHONPATH})
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_stopping_stops_every_child(tmp_path: Path) -> None:
    async with running(supervised(tmp_path, "stay", "stay").run()):
        await up(tmp_path, 2)
        assert all(psutil.pid_exists(pid) for pid in pids(tmp_path))
    assert stopped(tmp_path) == pids(tmp_path)
    assert not any(psutil.pid_exists(pid) for pid in pids(tmp_path))


async def test_children_stop_in_reverse_order(tmp_path: Path) -> None:
    places = [tmp_path / str(place) for place in range(4)]
    for place in places:
        place.mkdir()
    async with running(Supervisor([child("stay", place) for place in places], PYTHONPATH).run()):
        for place in places:
            await up(place, 1)
    ends = [next(place.glob("*.stopped")).stat().st_mtime_ns for place in places]
    assert ends == sorted(ends, reverse=True)


async def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    async with running(supervised(tmp_path, "die_once").run()):
        await up(tmp_path, 2)
    assert len(stopped(tmp_path)) == 1


async def test_a_child_that_is_killed_is_started_again_and_its_sibling_left_alone(tmp_path: Path) -> None:
    async with running(supervised(tmp_path, "stay", "stay").run()):
        await up(tmp_path, 2)
        killed, sibling = pids(tmp_path)
        os.kill(killed, signal.SIGKILL)
        await up(tmp_path, 3)
        assert psutil.pid_exists(sibling)
    assert set(pids(tmp_path)) - set(stopped(tmp_path)) == {killed}


async def test_a_child_that_keeps_dying_is_given_up_and_the_others_stopped(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match=f"die died {MAX_QUICK_DEATHS} times in a row.* exit code 3"):
        await asyncio.wait_for(supervised(tmp_path, "die", "stay").run(), HUNG_S)
    assert len(pids(tmp_path)) - len(stopped(tmp_path)) == MAX_QUICK_DEATHS
    assert not any(psutil.pid_exists(pid) for pid in pids(tmp_path))


async def test_deaths_of_a_stable_child_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "STABLE_AFTER_S", 0.0)
    async with running(supervised(tmp_path, "die").run()) as supervising:
        await up(tmp_path, MAX_QUICK_DEATHS + 2)
        assert not supervising.done()


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "STOP_TIMEOUT_S", 0.1)
    async with running(supervised(tmp_path, "stubborn").run()):
        await up(tmp_path, 1)
    (pid,) = pids(tmp_path)
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_children_do_not_outlive_their_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    async with python_m("tests.workers.child", "supervise", str(tmp_path)) as process:
        await up(tmp_path, 2)
        process.send_signal(number)

        async def all_stopped() -> bool:
            return stopped(tmp_path) == pids(tmp_path)

        await eventually(all_stopped)
        assert await asyncio.wait_for(process.wait(), HUNG_S) == (-number if number == signal.SIGKILL else 0)


@asynccontextmanager
async def valkey_here(path: Path) -> AsyncIterator[tuple[asyncio.Task[None], int]]:
    """`serve` on the test's event loop, and the process that it started."""
    serving = asyncio.create_task(embedded_valkey.serve(path))
    await asyncio.sleep(0)
    redis = connect(f"unix://{path}")
    yield serving, (await redis.info("server"))["process_id"]
    await redis.aclose()


@asynccontextmanager
async def valkey_process(path: Path) -> AsyncIterator[tuple[Process, Redis]]:
    redis = connect(f"unix://{path}")

    async with python_m("workers.embedded_valkey", str(path)) as process:
        while not path.exists():  # noqa: ASYNC110, ASYNC240 (it is another process's)
            await asyncio.sleep(0.01)
        yield process, redis
    await redis.aclose()


async def test_embedded_valkey_serves_and_stops_cleanly(tmp_path: Path) -> None:
    async with valkey_process(tmp_path / "s") as (process, redis):
        await redis.set("a", 1)
        assert await redis.get("a") == b"1"
        assert (await redis.config_get("save"))["save"] == ""
        pid = (await redis.info("server"))["process_id"]
        process.terminate()
        assert await asyncio.wait_for(process.wait(), HUNG_S) == 0
        assert not psutil.pid_exists(pid)


async def test_embedded_valkey_fails_when_its_server_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_valkey, "CHECK_S", 0.01)
    async with valkey_here(tmp_path / "s") as (serving, pid):
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="the embedded Valkey died"):
            await asyncio.wait_for(serving, HUNG_S)


async def test_embedded_valkey_stops_its_server_when_cancelled(tmp_path: Path) -> None:
    async with valkey_here(tmp_path / "s") as (serving, pid):
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not psutil.pid_exists(pid)


async def test_embedded_valkey_takes_the_place_of_one_that_was_left_behind(tmp_path: Path) -> None:
    async with valkey_process(tmp_path / "s") as (process, redis):
        await redis.set("left", "behind")
        process.kill()
        await process.wait()
    async with valkey_here(tmp_path / "s") as (serving, pid):
        redis = connect(f"unix://{tmp_path / 's'}")
        assert await redis.get("left") is None
        await redis.aclose()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not psutil.pid_exists(pid)
