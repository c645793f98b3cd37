"""The examples of the SDK, as people run them."""

import ast
import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import pytest

import millstream
from tests.e2e.conversing import read_back
from tests.e2e.speech import REFERENCE, clip, said, seconds, silence
from tests.server import Server

ROOT = Path(__file__).parents[2]
SDK = ROOT / "sdk" / "python"
EXAMPLES = SDK / "examples"
SENTENCES = "The kettle is on the table.\nHe will be back at three.\n"


def run(example: str, *arguments: str, url: str, given: str = "") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(EXAMPLES / example), *arguments]
    environment = {**os.environ, "MILLSTREAM_URL": url}
    done = subprocess.run(command, input=given.encode(), env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done


def recorded(path: Path, pcm: bytes) -> str:
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 24_000, 0, "NONE", ""))
        wav.writeframes(pcm)
    return str(path)


def sound(path: Path) -> bytes:
    with wave.open(str(path)) as wav:
        assert wav.getparams()[:3] == (1, 2, 24_000)
        pcm: bytes = wav.readframes(wav.getnframes())
        return pcm


def test_captions(server: Server, tmp_path: Path) -> None:
    speech = recorded(tmp_path / "speech.wav", clip("sense_0890")[: 48_000 * 3])
    done = run("captions.py", speech, url=server.url)
    captions = " ".join(line.partition("  (")[0] for line in done.stdout.decode().splitlines())
    first_words = " ".join(REFERENCE["sense_0890"].split()[:4])
    assert said(" ".join(captions.split()[:4]), first_words) <= 0.25


def test_voice_agent(server: Server, tmp_path: Path) -> None:
    question = recorded(tmp_path / "question.wav", clip("question") + silence(0.2))
    done = run("voice_agent.py", question, str(tmp_path / "reply.wav"), url=server.url)
    lines = done.stdout.decode().splitlines()
    assert any(line.lower() == "> what is the largest ocean on earth?" for line in lines)
    assert any(line.startswith("< ") for line in lines)
    assert seconds(sound(tmp_path / "reply.wav")) > 0.3


async def test_say(server: Server, tmp_path: Path) -> None:
    run("say.py", str(tmp_path / "said.wav"), url=server.url, given=SENTENCES)
    assert said(await read_back(server, sound(tmp_path / "said.wav")), SENTENCES) <= 0.15


@pytest.mark.parametrize("document", [SDK / "README.md", ROOT / "docs" / "sdk-python.md"], ids=lambda path: path.name)
def test_documents(document: Path) -> None:
    """Their code compiles, and what it takes from the SDK is there."""
    text = document.read_text()
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        compile(block, document, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for name in re.findall(r"\bmillstream\.(\w+)", text):
        assert name in {"audio", "camera", "sync", "protocol"} or hasattr(millstream, name), name
