"""Calls that come to nothing, on a gateway without workers: whatever happens, nothing is left of them."""

import asyncio
import gc
import json
import os
import random
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aioice.ice
import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from app.settings import IceServer
from tests.app.rest.gateway import alone
from tests.e2e.caller_rtc import CALLS, SDP, caller
from tests.e2e.hearing import HUNG_S

NO_WORKER_S = 60.0
"""Sessions wait for workers that do not come; until then the call stands."""


def left_behind() -> list[str]:
    """Tasks, threads and sockets of calls in this process."""
    gc.collect()
    coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
    places = [coroutine.cr_code.co_filename for coroutine in coroutines]
    tasks = [place for place in places if any(name in place for name in ("aiortc", "aioice", "app/rtc"))]
    threads = [thread.name for thread in threading.enumerate() if thread.name.endswith("-decoder")]
    sockets = [str(socket) for socket in psutil.Process().net_connections("udp")]
    return tasks + threads + sockets


@asynccontextmanager
async def lone_gateway(redis_url: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """At the end no session may be in progress, and nothing of its call left."""
    async with alone(redis_url, **{"claim_timeout_s": NO_WORKER_S, "ice_timeout_s": HUNG_S, **settings}) as client:
        yield client
        async with asyncio.timeout(HUNG_S):
            while await sessions(client) or left_behind():  # noqa: ASYNC110 (there is no event to await)
                await asyncio.sleep(0.05)


async def sessions(client: httpx.AsyncClient) -> float:
    """Sessions in progress."""
    return await total(client, "millstream_sessions")


async def total(client: httpx.AsyncClient, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    samples = (sample for family in families for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


async def dead_offer() -> str:
    """The offer of a client that has gone."""
    async with caller() as call:
        return await call.offer()


async def test_a_client_that_never_connects_is_forgotten(redis_url: str) -> None:
    async with lone_gateway(redis_url, ice_timeout_s=0.3) as client:
        answer = await client.post(CALLS, content=await dead_offer(), headers=SDP)
        assert answer.status_code == 201
        assert await sessions(client) == 1
        while not await total(client, "millstream_calls_ended_total", outcome="unconnected"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_call_can_be_hung_up_before_it_stands(redis_url: str) -> None:
    async with lone_gateway(redis_url) as client:
        answer = await client.post(CALLS, content=await dead_offer(), headers=SDP)
        assert (await client.delete(answer.headers["location"])).status_code == 200


async def test_a_client_whose_certificate_is_another_is_hung_up_on(redis_url: str) -> None:
    async with lone_gateway(redis_url) as client, caller() as call:
        lines = (await call.offer()).splitlines()
        forged = [line[:-2] + "00" if line.startswith("a=fingerprint") else line for line in lines]
        answer = await client.post(CALLS, content="\r\n".join([*forged, ""]), headers=SDP)
        await call.accept(answer.text)
        while await sessions(client):  # noqa: ASYNC110 (there is no event to await)
            await asyncio.sleep(0.05)


async def test_a_gateway_that_is_full_says_so(redis_url: str) -> None:
    async with lone_gateway(redis_url, max_sessions=1) as client:
        first, second = [await client.post(CALLS, content=await dead_offer(), headers=SDP) for _ in range(2)]
        await client.delete(first.headers["location"])
    assert (first.status_code, second.status_code) == (201, 503)
    assert second.json()["error"]["code"] == "server_full"
    assert int(second.headers["retry-after"]) > 0


async def test_a_gateway_that_stops_hangs_up(redis_url: str) -> None:
    async with caller() as call:
        async with alone(redis_url, claim_timeout_s=NO_WORKER_S) as client:
            answer = await client.post(CALLS, content=await call.offer(), headers=SDP)
            await call.accept(answer.text)
            await call.connected()
        await call.ended()
    assert not left_behind()


async def test_a_client_that_dies_is_missed(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By consent (RFC 7675), which takes half a minute in earnest."""
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.1)
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 2)
    async with lone_gateway(redis_url) as client:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.e2e.vanishing_caller"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        offer = json.loads(await process.stdout.readline())
        answer = await client.post(CALLS, content=offer, headers=SDP)
        process.stdin.write(json.dumps(answer.text).encode() + b"\n")
        assert await process.stdout.readline() == b"connected\n"
        assert await sessions(client) == 1
        process.kill()
        await process.wait()
        process.stdin.close()
        while not await total(client, "millstream_calls_ended_total", outcome="lost"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert await total(client, "millstream_rtp_packets_total", kind="received") > 0


async def test_damaged_offers_are_answered_or_refused(redis_url: str) -> None:
    chance, offer = random.Random(5), await dead_offer()
    statuses = set()
    async with lone_gateway(redis_url) as client:
        for _ in range(200):
            answer = await client.post(CALLS, content=damaged(offer, chance), headers=SDP)
            statuses.add(answer.status_code)
            if answer.status_code == 201:
                await client.delete(answer.headers["location"])
            else:
                assert answer.json()["error"]["param"] == "sdp", answer.text
    assert {201, 400} <= statuses <= {201, 400, 406}


def damaged(sdp: str, chance: random.Random) -> str:
    """Some lines go, come twice, lose their ends, or stand elsewhere."""
    lines = sdp.splitlines()
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        line = lines.pop(at)
        match chance.randrange(4):
            case 0:
                lines[at:at] = [line, line]
            case 1:
                lines.insert(at, line[: chance.randrange(len(line) + 1)])
            case 2:
                lines.insert(chance.randrange(len(lines)), line)
    return "\r\n".join([*lines, ""])


async def test_clients_are_told_of_ice_servers(redis_url: str) -> None:
    servers = [
        IceServer(urls=["stun:127.0.0.1:9"]),
        IceServer(urls=["turn:127.0.0.1:9"], username="me", credential=SecretStr("secret")),
    ]
    async with alone(redis_url, ice_servers=servers) as client:
        answer = await client.options(CALLS)
    assert answer.status_code == 204
    assert answer.headers["accept-post"] == "application/sdp"
    assert answer.headers.get_list("link") == [
        '<stun:127.0.0.1:9>; rel="ice-server"',
        '<turn:127.0.0.1:9>; rel="ice-server"; username="me"; credential="secret"; credential-type="password"',
    ]
