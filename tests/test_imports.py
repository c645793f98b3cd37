"""What each part of the system loads, and which way imports point."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.e2e.speech import DATA
from tests.server import Server

ROOT = Path(__file__).parents[1]
SDK = ROOT / "sdk" / "python" / "millstream"
OWN = {"app", "pipelines", "models", "workers", "kernels", "benchmarks", "training", "tests"}
HEAVY = {"torch", "onnxruntime", "ctranslate2", "torchaudio", "triton"}

LIGHT = {
    "models.base",
    "models.catalog",
    "models.diffusion",
    "models.diffusion.options",
    "models.lm",
    "models.lm.schemas",
    "models.tts",
    "models.tts.voices",
}
"""What of the models a gateway may load."""
MAY_IMPORT = {
    "app": (
        "app",
        "pipelines",
        "millstream",
        "models.base",
        "models.catalog",
        "models.diffusion.options",
        "models.lm.schemas",
        "models.tts.voices",
    ),
    "pipelines": ("pipelines",),
    "workers.broker": ("workers.broker", "workers.lifetime"),
    "workers": ("workers", "models"),
    "models": ("models", "kernels"),
    "kernels": ("kernels",),
}
"""Which of the project's own modules a part may import, by prefix."""
SHARED = ("workers.broker", "workers.lifetime", "workers.settings", "workers.supervisor")
"""Modules of the workers that a gateway uses too; they load no model."""


# --- real processes ---


def test_running_processes(server: Server) -> None:
    """Which shared libraries a gateway and a worker that have served something hold in memory."""
    client = OpenAI(api_key="unused", base_url=f"{server.url}/v1")
    assert client.audio.transcriptions.create(file=DATA / "sense_0930.wav", model="whisper-base").text
    libraries = {part: {mapped.path for mapped in server.part(part).memory_maps()} for part in ("gateway", "listen")}
    for name in HEAVY:
        assert not [path for path in libraries["gateway"] if f"/{name}" in path]
    for name in ("onnxruntime", "ctranslate2"):
        assert [path for path in libraries["listen"] if f"/{name}" in path]


def loaded(statement: str) -> set[str]:
    """Modules in a fresh process after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.split())


def parts(modules: set[str]) -> set[str]:
    """Top-level names."""
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("module", ["app.main", "app.serve", "app.cli", "app.local", "app.transcribe_cli"])
def test_gateway_loads_no_network(module: str) -> None:
    modules = loaded(f"import {module}")
    assert not parts(modules) & HEAVY
    assert {name for name in modules if name.startswith("models.")} <= LIGHT


def test_pipelines_load_nothing_that_talks() -> None:
    names = [f"pipelines.{path.stem}" for path in (ROOT / "pipelines").glob("*.py") if path.stem != "__init__"]
    modules = loaded(f"import {', '.join(names)}")
    talkers = {"socket", "ssl", "asyncio", "selectors", "redis", "websockets", "starlette", "uvicorn", "httpx", "av"}
    assert not parts(modules) & (HEAVY | talkers)
    assert parts(modules) & {"app", "workers", "models"} == set()


def test_an_endpoint_needs_no_network() -> None:
    assert not parts(loaded("import models.lm.endpoint")) & (HEAVY | {"numpy"})


def test_models_load_no_broker() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "models").rglob("*.py")
        if path.stem != "__init__"
    ]
    modules = loaded(f"import {', '.join(names)}")
    assert not parts(modules) & {"redis", "starlette", "uvicorn", "app", "pipelines", "workers"}


@pytest.mark.parametrize(
    "module",
    ["workers.broker.client", "workers.supervisor", "workers.lifetime", "models.catalog", "models.lm.schemas"],
)
def test_shared_modules_load_no_network(module: str) -> None:
    assert not parts(loaded(f"import {module}")) & (HEAVY | {"numpy"})


def test_sdk_stands_alone() -> None:
    """Loaded from a directory that holds nothing else of the project."""
    names = "millstream, millstream.sync, millstream.audio, millstream.camera"
    modules = loaded(f"import sys\nsys.path[:0] = [{str(SDK.parent)!r}]\nimport {names}")
    foreign = parts(modules) - set(sys.stdlib_module_names) - {"millstream", "websockets", "__main__"}
    assert {name for name in foreign if not name.startswith("_")} == set()


# --- every import statement ---


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere, functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(module: str) -> bool:
    return module.partition(".")[0] in OWN


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_direction(part: str) -> None:
    allowed = MAY_IMPORT[part] + (SHARED if part == "app" else ())
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(ROOT / part.replace(".", "/"))
        for module in imports(path)
        if own(module) and not within(module, allowed)
    ]
    assert wrong == []


def test_shared_modules_import_only_each_other() -> None:
    wrong = [
        f"{name} imports {module}"
        for name in SHARED[1:]
        for module in imports(ROOT / f"{name.replace('.', '/')}.py")
        if own(module) and not within(module, SHARED)
    ]
    assert wrong == []


def test_sdk_imports_nothing_of_the_server() -> None:
    """Its extras are imported by name, when they are needed."""
    allowed = {"millstream", "websockets", *sys.stdlib_module_names}
    assert {module.partition(".")[0] for path in sources(SDK) for module in imports(path)} <= allowed


def test_nothing_imports_the_tests() -> None:
    for folder in ("app", "pipelines", "models", "workers", "sdk"):
        for path in sources(ROOT / folder):
            assert not any(within(module, ("tests",)) for module in imports(path)), path
