"""What every result says of where it was measured."""

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from edgeskin.bench.measure import processor
from edgeskin.network.engine import available_threads

RESULTS = Path(__file__).parent / "results"


def machine(*packages: str) -> dict[str, str]:
    """Processor, system, Python and the versions of the packages named."""
    return {
        "processor": processor(),
        "threads": str(available_threads()),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def blas() -> str:
    """How numpy's threads were set, as a command's beginning: spinning they take the network's cores."""
    threads = os.environ.get("OPENBLAS_NUM_THREADS")
    return f"OPENBLAS_NUM_THREADS={threads} " if threads else ""


def spread(samples: list[float]) -> dict[str, float]:
    """Median and quartiles; of one sample these are itself."""
    low, _, high = quantiles(samples, n=4) if len(samples) > 1 else 3 * samples
    return {"median": median(samples), "quartile_1": low, "quartile_3": high, "n": len(samples)}


def write(name: str, result: dict[str, Any]) -> Path:
    """Write a result as JSON and tell where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path
