"""The page's modules keep to their types and to the SDK's."""

import subprocess
from pathlib import Path

from tests.packages import node_modules


def test_types() -> None:
    compiler = node_modules() / ".bin" / "tsc"
    done = subprocess.run([compiler, "-p", Path(__file__).parent], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
