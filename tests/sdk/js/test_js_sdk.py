"""`sdk/js` in Node, against a real server: each file of `tests/js/node` is run by Node's own test runner."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packages import node_modules
from tests.sdk.js.running import SCRIPTS, TIMEOUT_S, node_test
from tests.server import Server

SDK = Path(__file__).parents[3] / "sdk" / "js"


@pytest.mark.parametrize("name", ["agents", "conversation", "reconnection", "speech"])
def test_sessions(server: Server, tmp_path: Path, name: str) -> None:
    node_test(name, server, tmp_path)


def test_transcription(server: Server, tmp_path: Path) -> None:
    node_test("transcription", server, tmp_path, "--experimental-websocket")


@pytest.mark.parametrize("name", ["ear", "greeting", "resampler"])
def test_parts(tmp_path: Path, name: str) -> None:
    node_test(name, None, tmp_path)


def test_keys(guarded_server: Server, tmp_path: Path) -> None:
    node_test("keys", guarded_server, tmp_path)


def test_types() -> None:
    """The declarations, and what a user may write with them."""
    command = [str(node_modules() / ".bin" / "tsc"), "--project", str(SCRIPTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout


def test_what_is_declared_is_there() -> None:
    declared = re.findall(r"^export (?:class|function) (\w+)", (SDK / "millstream.d.ts").read_text(), re.MULTILINE)
    script = f"console.log(Object.keys(await import({json.dumps(str(SDK / 'millstream.js'))})).join(' '))"
    command = ["node", "--input-type=module", "--eval", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    assert sorted(declared) == sorted(done.stdout.split())


def test_installed_as_a_package(server: Server, tmp_path: Path) -> None:
    """It finds `ws` beside it where Node has no WebSocket, and says so if it is not there."""
    script = tmp_path / "script.mjs"
    script.write_text(f"""
        import {{ transcribe }} from "millstream";
        const opened = transcribe({{ url: "{server.url}" }});
        console.log(await opened.then((session) => (session.close(), "opened"), (error) => error.message));
    """)
    shutil.copytree(SDK, tmp_path / "node_modules" / "millstream")
    assert "install the package ws" in _printed(script)
    (tmp_path / "node_modules" / "ws").symlink_to(node_modules() / "ws")
    assert _printed(script) == "opened\n"


def _printed(script: Path) -> str:
    command = ["node", "--no-experimental-websocket", str(script)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S).stdout


def test_package() -> None:
    """It has every file that it needs and nothing else, and as many bytes as its README says."""
    npm = ["npm", "pack", "--dry-run", "--json", "--ignore-scripts"]
    packed = subprocess.run(npm, cwd=SDK, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    (package,) = json.loads(packed.stdout)
    names = {file["path"] for file in package["files"]}
    assert names == {path.name for path in SDK.iterdir() if path.is_file()}
    (kilobytes,) = re.findall(r"\*\*(\d+) kB\*\* packed", (SDK / "README.md").read_text())
    assert package["size"] <= int(kilobytes) * 1_000
