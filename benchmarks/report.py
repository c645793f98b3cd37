"""How figures are printed, and the command line that all benchmarks share."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from statistics import quantiles


def arguments(description: str) -> argparse.Namespace:
    """Parse `--quick`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="end within 50 s")
    return parser.parse_args()


def report(metric: str, value: float, unit: str, **details: object) -> None:
    """Print one figure. `peer` among the details names what it is measured against."""
    line = {"metric": metric, "value": round(value, 4), "unit": unit, "peer": None, **details}
    print(json.dumps(line), flush=True)


def configuration(**details: object) -> None:
    """Print what the figures below were measured on."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), **details}
    print(json.dumps({"configuration": machine}), flush=True)


def percentile(values: Sequence[float], percent: int) -> float:
    """The given percentile, interpolated."""
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]
