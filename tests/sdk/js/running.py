"""Running scripts against a server: in Node by its own test runner, and in a page of a browser."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from playwright.async_api import Page

from tests.e2e.speech import REFERENCE, clip
from tests.packages import node_modules
from tests.server import Server

SCRIPTS = Path(__file__).parents[2] / "js"
CLIPS = ("question", "stop", "sense_0870", "sense_0890", "sense_0930")
TIMEOUT_S = 110.0
_TEST_TIMEOUT_MS = 100_000


def node_test(name: str, server: Server | None, directory: Path, *flags: str) -> None:
    """Run a file of `tests/js/node`; its report is shown if a test fails. Speech is put in the directory for it."""
    node_modules()
    for each in CLIPS:
        (directory / f"{each}.pcm").write_bytes(clip(each))
    (directory / "transcripts.json").write_text(json.dumps(REFERENCE))
    environment = {**os.environ, "MILLSTREAM_URL": server.url if server else "", "MILLSTREAM_CLIPS": str(directory)}
    options = ["--test", f"--test-timeout={_TEST_TIMEOUT_MS}", "--test-reporter=spec", *flags]
    command = ["node", *options, str(SCRIPTS / "node" / f"{name}.test.mjs")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr


async def run(page: Page, script: str, argument: Any = None) -> Any:
    """What a script of `tests/js/browser` returns in the page."""
    return await page.evaluate((SCRIPTS / "browser" / f"{script}.js").read_text().strip().rstrip(";"), argument)


def a_page(server: Server) -> str:
    """A page of the server's with nothing on it, but its policy."""
    return f"{server.url}/sdk/package.json"


def of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Events of a type."""
    return [event for event in events if event["type"] == kind]
