"""npm packages that only tests need, as `tests/js/package.json` names them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

_HERE = Path(__file__).parent / "js"
_INSTALL_TIMEOUT_S = 110.0


def node_modules() -> Path:
    """Their directory. They are installed if they are not what package.json says; `make setup` has done it."""
    manifest, directory = _HERE / "package.json", _HERE / "node_modules"
    installed = directory / ".package-lock.json"
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm: the tests of the page and of the JavaScript SDK need Node 20")
    with FileLock(_HERE / ".lock"):
        if not installed.exists() or installed.stat().st_mtime < manifest.stat().st_mtime:
            flags = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(_HERE)]
            subprocess.run([npm, "install", *flags], check=True, timeout=_INSTALL_TIMEOUT_S)
            installed.touch()
    return directory
