"""Libraries that only some need."""

import importlib
from typing import Any


class DeviceError(Exception):
    """A device or a file cannot be used."""


def required(module: str, extra: str) -> Any:
    """A module of an extra. Raises ImportError, which says how to get it; DeviceError if it does not find the library
    of the system that it needs.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this needs {module}: pip install 'millstream[{extra}]'", name=module) from error
    except OSError as error:
        raise DeviceError(f"{module} does not find what it needs of the system: {error}") from error
