"""Does memory grow with the pictures that a process assesses, or with the networks that it loads?

    python -m benchmarks.robustness.load --data DIR [--assessments 20000] [--rounds 500] [--bundle NAME ...]

One process assesses pictures of the folder, and generated ones of all formats, sizes and kinds of damage;
most plainly, some with an evidence map or with MC-dropout. Another process loads the network, assesses one
picture and closes it, again and again; every second time it takes the compiled network from a cache. The
gates are off, so that every readable picture goes through the network. The resident set is read from Linux
after each of 200 equal parts. The first tenth is warm-up. Growth is the median of the last tenth less the
median of the tenth after warm-up; it must be under 5 MB. Writes benchmarks/robustness/results/load.json; the
exit code is 1 if memory grew by more.
"""

import concurrent.futures
import contextlib
import io
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, cycle, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.environment import (
    EXAMPLE,
    argument_parser,
    hardware,
    read_result,
    require_bundle,
    result,
    result_path,
    write_result,
)
from benchmarks.tables import Table
from edgeskin.bundle.bundle import SHIPPED, open_bundle
from edgeskin.classifier import Classifier
from edgeskin.errors import PhotoError
from edgeskin.photo.sources import SUFFIXES

RESULT = result_path(__file__)
LIMIT_MB = 5.0
"""Of the growth, as required for 20,000 assessments."""
SAMPLES, WARM_UP = 200, 0.1
REAL, GENERATED = 500, 100
SIDES = (64, 3500)
OPTIONS: Sequence[Mapping[str, Any]] = (*({},) * 6, {"explain": "grad-cam"}, {"mc_samples": 10})
FORMATS: Sequence[tuple[str, str, Mapping[str, Any]]] = (
    ("JPEG", "RGB", {"quality": 90}),
    ("JPEG", "RGB", {"quality": 80, "progressive": True}),
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("WEBP", "RGB", {"quality": 80}),
    ("BMP", "RGB", {}),
)
"""Pillow's format, mode and options of each kind of generated picture."""


def main() -> None:
    """Measure, print and write the result after each bundle."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of pictures, searched in depth")
    parser.add_argument("--assessments", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=500, help="of loading and closing")
    parser.add_argument("--bundle", nargs="+", choices=SHIPPED, default=[*SHIPPED])
    options = parser.parse_args()
    command = "python -m benchmarks.robustness.load --data DIR"
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = [*found(options.data, REAL), *generate(Path(folder), GENERATED)]
        for name in options.bundle:
            for work, count in ((assess, options.assessments), (load, options.rounds)):
                measured = in_a_process(work, name, pictures, count)
                runs.append({"bundle": name, "sha256": open_bundle(name).sha256, **measured})
                grown = f"{measured['growth_mb']:+.2f} MB"
                print(f"{name:<8}{work.__name__:<8}{count:>6}  {grown}", flush=True)
            packages = ("openvino", "numpy", "opencv-python-headless")
            write_result(RESULT, result(command, *packages, limit_mb=LIMIT_MB, results=runs))
    sys.exit(any(run["growth_mb"] >= LIMIT_MB for run in runs))


def found(folder: Path, count: int) -> list[Path]:
    """List so many pictures of a folder, evenly spread over all that are in it."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    places = np.linspace(0, len(paths) - 1, min(count, len(paths)))
    return [paths[place] for place in places.astype(int)]


def generate(folder: Path, count: int, sides: tuple[int, int] = SIDES) -> list[Path]:
    """Write smooth pictures of random sizes and all formats; every tenth is cut off.

    Args:
        folder: For the files.
        count: Of files.
        sides: Least and greatest side, pixels; small ones are likelier, as the logarithm is uniform.
    """
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        fmt, mode, options = FORMATS[number % len(FORMATS)]
        height, width = np.geomspace(*sides, 1000).astype(int)[rng.integers(1000, size=2)].tolist()
        coarse = rng.integers(0, 256, (6, 8, len(mode)), dtype=np.uint8)
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(picture, np.uint8), mode).save(buffer, fmt, **options)
        content = buffer.getvalue()
        paths.append(folder / f"{number}.{fmt.lower()}")
        paths[-1].write_bytes(content[: len(content) // 2] if number % 10 == 9 else content)
    return paths


def in_a_process(
    work: Callable[..., Iterator[None]], bundle: str | Path, pictures: Sequence[Path], count: int
) -> dict[str, Any]:
    """Measure `assess` or `load` in a process of its own, as `measured` does."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(measured, work, bundle, pictures, count).result()


def measured(
    work: Callable[..., Iterator[None]], bundle: str | Path, pictures: Sequence[Path], count: int
) -> dict[str, Any]:
    """Work so many times and watch this process's memory.

    Returns:
        The work, the count, the resident set at equal parts in MB, and what `growth` makes of it.
    """
    samples: list[tuple[int, float]] = []
    part = max(1, count // SAMPLES)
    for done, _ in zip(range(1, count + 1), work(bundle, pictures), strict=False):
        if done % part == 0:
            samples.append((done, round(resident_mb(), 2)))
    return {"work": work.__name__, "count": count, **growth(samples), "samples": samples}


def assess(bundle: str | Path, pictures: Sequence[Path]) -> Iterator[None]:
    """Assess pictures in a random order without end, and let go of the results; yields after each."""
    classifier = Classifier(bundle, quality_gate=False, scope_gate=False)
    rng = np.random.default_rng(0)
    order = chain.from_iterable(rng.permutation(len(pictures)) for _ in repeat(None))
    for place, options in zip(order, cycle(OPTIONS), strict=False):
        with contextlib.suppress(PhotoError):  # the damaged ones
            classifier.assess(pictures[place], **options)
        yield


def load(bundle: str | Path, pictures: Sequence[Path]) -> Iterator[None]:
    """Load the network, once compiled and once from a cache, and close it, without end; yields after each."""
    with tempfile.TemporaryDirectory() as folder:
        for cache_dir in cycle((None, folder)):
            with Classifier(bundle, cache_dir=cache_dir) as classifier:
                classifier.assess(EXAMPLE)
            yield


def resident_mb() -> float:
    """Return this process's resident set in MB, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth(samples: Sequence[tuple[int, float]]) -> dict[str, float]:
    """Summarise how memory grew after the warm-up.

    Args:
        samples: Work done and memory in MB, at equal distances.

    Returns:
        Memory after the warm-up and at the end, the difference, the slope of the least-squares line in MB per
        1,000, and the highest sample.
    """
    tenth = max(1, round(len(samples) * WARM_UP))
    done, memory = np.array(samples[tenth:], dtype=np.float64).T
    first, last = float(np.median(memory[:tenth])), float(np.median(memory[-tenth:]))
    return {
        "first_mb": first,
        "last_mb": last,
        "growth_mb": last - first,
        "slope_mb_per_1000": 1e3 * float(np.polyfit(done, memory, 1)[0]),
        "highest_mb": float(memory.max()),
    }


def table() -> Table:
    """Render the result."""
    content = read_result(RESULT)
    for run in content["results"]:
        require_bundle(RESULT, run["sha256"], run["bundle"])
    works = {"assess": "assessments", "load": "loads and closes"}
    return Table(
        "Memory of a long run",
        "Resident memory of one process, after the warm-up and at the end: real and generated pictures, some "
        "damaged, some with an evidence map or MC-dropout; and loading and closing the network, compiled and "
        f"from a cache. Growth must stay under {content['limit_mb']:g} MB. {hardware(content)}.",
        content["command"],
        ("bundle", "work", "after warm-up, MB", "at the end, MB", "growth, MB", "slope, MB per 1,000"),
        [
            (
                run["bundle"],
                f"{run['count']:,} {works[run['work']]}",
                f"{run['first_mb']:.1f}",
                f"{run['last_mb']:.1f}",
                f"{run['growth_mb']:+.1f}",
                f"{run['slope_mb_per_1000']:+.2f}",
            )
            for run in content["results"]
        ],
    )


if __name__ == "__main__":
    main()
