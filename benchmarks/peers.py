"""Other projects' own code, fetched and checked as checkpoints are."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from app.settings import Settings
from models.catalog import ensure

CATALOG = Path(__file__).with_name("peers.toml")


def streamdiffusion() -> ModuleType:
    """StreamDiffusion's `pipeline` module."""
    directory = str(ensure("streamdiffusion", Settings().cache_dir, CATALOG))
    if directory not in sys.path:
        sys.path.insert(0, directory)
    return importlib.import_module("streamdiffusion.pipeline")
