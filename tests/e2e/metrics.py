"""What a server says of itself, as Prometheus would read it."""

import asyncio
from collections.abc import Callable

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.server import Server

SOON_S = 10.0


def families(server: Server, key: str | None = None) -> dict[str, Metric]:
    """Every family of metrics, by name."""
    answer = httpx.get(f"{server.url}/metrics", headers={"authorization": f"Bearer {key}"} if key else None)
    answer.raise_for_status()
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def metric(server: Server, name: str, key: str | None = None, **labels: str) -> float:
    """The sum of the samples of that name that have these labels."""
    return sum(
        sample.value
        for family in families(server, key).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def slots_used(server: Server, key: str | None = None) -> int:
    """Slots that streams occupy on all workers."""
    return round(metric(server, "millstream_slots", key, state="used"))


def sessions(server: Server, key: str | None = None) -> int:
    """Sessions in progress on the gateway, at every door."""
    return round(metric(server, "millstream_sessions", key))


async def until(holds: Callable[[], bool], timeout_s: float = SOON_S) -> None:
    """Wait until the condition, which may block, holds."""
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 (it is true elsewhere: there is no event to await)
            await asyncio.sleep(0.1)


async def idle(server: Server, key: str | None = None, timeout_s: float = SOON_S) -> None:
    """Wait until no session and no slot is in use."""
    await until(lambda: not sessions(server, key) and not slots_used(server, key), timeout_s)
