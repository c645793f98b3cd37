"""`millstream serve`: the processes of one machine under a supervisor, and a word on what they serve."""

import asyncio
import tempfile
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from app.settings import Settings
from workers.broker import presence
from workers.broker.presence import WorkerStatus
from workers.lifetime import until_stopped
from workers.supervisor import ProcessFailed, ProcessSpec, Supervisor

POLL_S = 0.2


async def serve_locally(settings: Settings, console: Console) -> int:
    """Run Valkey (unless a Redis is configured), the gateway and the workers until stopped. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="millstream-") as directory:
        socket = Path(directory) / "valkey.sock"
        redis_url = settings.redis_url or f"unix://{socket}"
        specs = [] if settings.redis_url else [ProcessSpec("valkey", ["workers.embedded_valkey", str(socket)])]
        specs += [
            ProcessSpec(f"{name} worker", ["workers", name])
            for name, count in settings.workers.items()
            for _ in range(count)
        ]
        specs.append(ProcessSpec("gateway", ["app", *_gateway_options(settings)]))
        supervisor = Supervisor(specs, {"MILLSTREAM_REDIS_URL": redis_url})
        telling = asyncio.create_task(_tell_when_ready(settings, redis_url, console))
        try:
            await until_stopped(supervisor.run())
        except ProcessFailed as error:
            console.print(f"[red]{error}; see the log above[/red]", highlight=False)
            return 1
        finally:
            telling.cancel()
    return 0


def _gateway_options(settings: Settings) -> list[str]:
    """Options of `serve` that its gateway must be given again."""
    options = ["gateway", "--host", settings.host, "--port", str(settings.port)]
    if settings.tls_certificate and settings.tls_key:
        options += ["--tls-certificate", str(settings.tls_certificate), "--tls-key", str(settings.tls_key)]
    return options


async def _tell_when_ready(settings: Settings, redis_url: str, console: Console) -> None:
    scheme = "https" if settings.tls_certificate else "http"
    url = f"{scheme}://{settings.host}:{settings.port}"
    console.print("starting; checkpoints that are not in the cache are fetched first")
    alive = await _all_alive(settings, redis_url)
    await _accepting(settings)
    console.print(_table(alive))
    console.print(f"[bold]ready at {url}[/bold]  (Realtime protocol: {url.replace('http', 'ws', 1)}/v1/realtime)")


async def _all_alive(settings: Settings, redis_url: str) -> list[WorkerStatus]:
    redis = Redis.from_url(redis_url)
    try:
        while True:
            try:
                alive = await presence.alive(redis)
            except RedisError:
                alive = []
            if len(alive) >= sum(settings.workers.values()):
                return alive
            await asyncio.sleep(POLL_S)
    finally:
        await redis.aclose()


async def _accepting(settings: Settings) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(settings.host, settings.port)
        except OSError:
            await asyncio.sleep(POLL_S)
        else:
            writer.close()
            return


def _table(alive: list[WorkerStatus]) -> Table:
    table = Table("service", "models", "device", "slots", "worker")
    for status in alive:
        table.add_row(status.service, ", ".join(status.models), status.device, str(status.capacity), status.id)
    return table
