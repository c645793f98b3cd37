"""Running the real server in tests."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

START_TIMEOUT_S = 180.0
VOICE = {"MILLSTREAM_WORKERS": '{"listen": 1, "think": 1, "speak": 1}'}
"""The services that most tests need."""
STOP_TIMEOUT_S = 60.0
shared_servers = ExitStack()
"""Those that several files' tests use; `conftest.py` closes it after the last of these tests."""


@dataclass(frozen=True)
class Server:
    """A server that was started by `millstream serve`."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def realtime_url(self) -> str:
        """Base URL for WebSocket clients."""
        return self.url.replace("http", "ws", 1) + "/v1"

    def part(self, name: str) -> psutil.Process:
        """The process among the server's children that has `name` in its command line, as a word of its own."""
        children = psutil.Process(self.process.pid).children()
        (found,) = (child for child in children if name in child.cmdline())
        return found


def free_port() -> int:
    """A TCP port that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_server(directory: Path, verify: ssl.SSLContext | None = None, **environment: str) -> Iterator[Server]:
    """Start the server in `directory`, for voice unless additional environment variables say otherwise; stop it as a
    user would, by Ctrl-C.

    With `verify` it is expected to serve TLS.
    """
    port = free_port()
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", str(port)],
            cwd=directory,
            env={**os.environ, **VOICE, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    scheme = "https" if verify else "http"
    server = Server(f"{scheme}://127.0.0.1:{port}", process, log)
    try:
        _wait_until_ready(server, verify or True)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_TIMEOUT_S)


def _wait_until_ready(server: Server, verify: ssl.SSLContext | bool) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if httpx.get(f"{server.url}/readyz", verify=verify).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the server did not become ready:\n{server.log.read_text()}")
