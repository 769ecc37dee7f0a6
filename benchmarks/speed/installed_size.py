"""How much disk space a distribution takes with all that it needs."""

import importlib.metadata
import re
from pathlib import Path

from packaging.requirements import Requirement

import edgeskin

GPU = ("nvidia-", "cuda-", "triton")


def is_installed(distribution: str) -> bool:
    """Return whether a distribution is in this environment."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def installed_mb(distributions: tuple[str, ...]) -> float:
    """Add up the files of distributions and of all that they require, each once.

    Extras, edgeskin's models and the GPU's libraries (packages, and files of that name) do not count.
    Torch's wheels for the CPU have none of these.

    Returns:
        MB (10^6 bytes).
    """
    sizes: dict[str, int] = {}
    remaining = list(distributions)
    while remaining:
        name = re.sub(r"[-_.]+", "-", remaining.pop()).lower()
        # What is not installed is needed on other systems.
        if name in sizes or name.startswith(GPU) or not is_installed(name):
            continue
        distribution = importlib.metadata.distribution(name)
        files = [Path(str(file.locate())) for file in distribution.files or ()]
        if name == "edgeskin":  # installed from the checkout, it lists no files of its own
            files = [*Path(edgeskin.__file__).parent.rglob("*.py")]
        sizes[name] = sum(file.stat().st_size for file in files if file.is_file() and "cuda" not in file.name)
        for requirement in map(Requirement, distribution.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                remaining.append(requirement.name)
    return sum(sizes.values()) / 1e6
