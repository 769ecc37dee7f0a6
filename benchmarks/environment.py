"""What benchmarks share: the command line, the machine they ran on, JSON results, the example photo."""

import argparse
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError
from edgeskin.network.cpu import available_threads, instruction_set, processor_name

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "lesion.jpg"


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Create a parser whose help is a script's docstring."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def parse_rounds(description: str | None, default: int) -> int:
    """Read the number of rounds, the only option of a script, from the command line."""
    parser = argument_parser(description)
    parser.add_argument("--rounds", type=int, default=default)
    return int(parser.parse_args().rounds)


def machine(*packages: str) -> dict[str, str]:
    """Describe the machine: processor, threads, system, Python, and the versions of the packages named."""
    return {
        "processor": processor_name(),
        "threads": str(available_threads()),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def result(command: str, *packages: str, **measured: Any) -> dict[str, Any]:
    """Build the JSON result of a script that measured the default bundle.

    Args:
        command: That measures the same again. The setting of numpy's threads is put before it.
        packages: Distributions whose versions matter.
        measured: The rest of the result.

    Returns:
        Command, machine, instruction set and bundle, then what was measured.
    """
    threads = os.environ.get("OPENBLAS_NUM_THREADS")
    return {
        "command": f"OPENBLAS_NUM_THREADS={threads} {command}" if threads else command,
        "machine": machine(*packages),
        "isa": instruction_set(),
        "bundle_sha256": open_bundle().sha256,
        **measured,
    }


def result_path(script: str) -> Path:
    """Return the JSON file beside a script: ``results/NAME.json``.

    Args:
        script: The script's ``__file__``.
    """
    path = Path(script)
    return path.parent / "results" / f"{path.stem}.json"


def write_result(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result as JSON and print its path."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(path)


def read_result(path: Path) -> dict[str, Any]:
    """Read a committed result.

    Raises:
        SettingError: It was measured with another bundle than the default one.
    """
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    require_bundle(path, content.get("bundle_sha256"))
    return content


def require_bundle(path: Path, sha256: str | None, shipped: str = "default") -> None:
    """Refuse a result of another bundle than the shipped one. Without a hash nothing is checked.

    Raises:
        SettingError: The hash is another bundle's.
    """
    if sha256 is not None and sha256 != open_bundle(shipped).sha256:
        raise SettingError(f"{path}: measured with another bundle than the {shipped} one; measure it again")


def hardware(content: Mapping[str, Any]) -> str:
    """Name a result's class of machine: processor, instruction set where it is known, threads."""
    described = content["machine"]
    names = [described["processor"], content.get("isa"), f"{described['threads']} threads"]
    return ", ".join(name for name in names if name)


def write_example(path: Path, size: tuple[int, int]) -> Path:
    """Write the example photo in another size, for timing only, as a JPEG of quality 90.

    Args:
        path: Of the new file.
        size: Width and height in pixels.

    Returns:
        The path.
    """
    image = np.asarray(cv2.imread(str(EXAMPLE)))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), resized, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return path
