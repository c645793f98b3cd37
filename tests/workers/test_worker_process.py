import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.workers.harness import HUNG_S, ROOT, SLACK_S, Heard, eventually, gateway
from workers.broker import presence
from workers.broker.client import Stream

ECHO = "tests.workers.echo:service"


@asynccontextmanager
async def python_m_workers(
    directory: Path, *arguments: str, redis_url: str | None = "redis://nobody"
) -> AsyncIterator[Process]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("MILLSTREAM_REDIS_URL", None)
    if redis_url is not None:
        environment["MILLSTREAM_REDIS_URL"] = redis_url
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers", *arguments, cwd=directory, env=environment, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def worker(service: str, redis: Redis, directory: Path, redis_url: str) -> AsyncIterator[Process]:
    """A worker process that has come up."""
    count = len(await presence.alive(redis))

    async def up() -> bool:
        assert process.returncode is None
        return len(await presence.alive(redis)) > count

    async with python_m_workers(directory, service, redis_url=redis_url) as process:
        await eventually(up)
        yield process


async def ended(process: Process) -> tuple[int | None, str]:
    """Exit code and log of a process that ends by itself."""
    async with asyncio.timeout(HUNG_S):
        _, log = await process.communicate()
    return process.returncode, log.decode()


async def echo(stream: Stream, heard: Heard, data: bytes) -> bytes:
    stream.push("text", data=data, slack_s=SLACK_S)
    return (await heard.next()).data


async def test_a_killed_worker_loses_its_streams_and_another_takes_new_ones(
    redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    async with (
        gateway(redis) as client,
        worker(ECHO, redis, tmp_path, redis_url) as first,
    ):
        heard = Heard()
        stream = await client.open("echo", {}, heard)
        assert await echo(stream, heard, b"a") == b"A"
        async with worker(ECHO, redis, tmp_path, redis_url):
            stream.push("text", data=b"b", slack_s=SLACK_S)
            first.kill()
            kinds = [(await heard.next()).kind]
            if kinds == ["echo"]:
                kinds.append((await heard.next()).kind)
            assert kinds[-1] == "lost"
            again = await client.open("echo", {}, heard)
            assert again.worker != stream.worker
            assert await echo(again, heard, b"c") == b"C"


async def test_sigterm_ends_a_worker_cleanly(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    async with gateway(redis) as client, worker(ECHO, redis, tmp_path, redis_url) as process:
        heard = Heard()
        await client.open("echo", {}, heard)
        process.send_signal(signal.SIGTERM)
        code, log = await ended(process)
        assert code == 0
        assert "Traceback" not in log
        assert (await heard.next()).meta["code"] == "worker_stopped"
        assert await presence.alive(redis) == []


@pytest.mark.parametrize(
    ("arguments", "redis_url", "message"),
    [
        (
            ["nope"],
            "redis://nobody",
            "no service 'nope': choose one of listen, think, speak, restyle or give package.module:function",
        ),
        ([ECHO], None, "MILLSTREAM_REDIS_URL is not set: which Redis should this worker serve?"),
        ([], "redis://nobody", "usage: python -m workers NAME"),
    ],
    ids=["unknown service", "no redis", "no name"],
)
async def test_says_what_is_wrong_and_exits(
    tmp_path: Path, arguments: list[str], redis_url: str | None, message: str
) -> None:
    async with python_m_workers(tmp_path, *arguments, redis_url=redis_url) as process:
        assert await ended(process) == (1, f"{message}\n")
