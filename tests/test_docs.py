"""What the documents say is so."""

import re
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from app.settings import Settings
from tests.conftest import DATA
from tests.server import Server
from workers.settings import WorkerSettings

ROOT = Path(__file__).parent.parent


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))
    assert set(Settings.model_fields) | set(WorkerSettings.model_fields) <= documented


def test_the_readme_example_converses(server: Server, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    script, reply = tmp_path / "example.py", tmp_path / "reply.wav"
    script.write_text(example.replace("http://127.0.0.1:8000", server.url))
    command = [sys.executable, str(script), str(DATA / "question.wav"), str(reply)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    question, *answer = done.stdout.splitlines()
    assert question.lower() == "you: what is the largest ocean on earth?", done.stderr
    assert "".join(answer).strip()
    with wave.open(str(reply)) as wav:
        assert wav.getnframes() > wav.getframerate() / 2


@pytest.mark.parametrize("document", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        assert target.startswith("http") or (document.parent / target).exists(), target
