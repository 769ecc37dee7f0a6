"""How do latency and throughput grow with threads, images, megapixels and photos?

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.speed.scaling [--rounds 5] [--photos 500]

Measures the default bundle in INT8. Threads: one photo in its eight views. Images: so many prepared images in
one view each. Megapixels: decoding a JPEG file, and the whole answer from it. Photos: a folder of 600x450
files, assessed by one worker with all threads and by a worker per thread, with the peak memory; each in a new
process, three times, in alternating rounds. A line is fitted to each series. Writes
benchmarks/speed/results/scaling.json.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import linregress

from benchmarks.environment import (
    ROOT,
    argument_parser,
    hardware,
    read_result,
    result,
    result_path,
    write_example,
    write_result,
)
from benchmarks.speed.rounds import alternate, laps, paired_rounds, spread
from benchmarks.speed.runtime_process import assess_one, cancer_probability, decode_whole, peak_mb
from benchmarks.tables import Table
from edgeskin.bundle.bundle import open_bundle
from edgeskin.classifier import Classifier
from edgeskin.network.cpu import available_threads
from edgeskin.network.engine import Engine
from edgeskin.photo.decode import load_photo

RESULT = result_path(__file__)
FIGURE = "scaling.png"
COUNTS = (1, 2, 4, 8, 16, 32)
MEGAPIXELS = (0.25, 1, 3, 6, 12, 24)
SHARES = (0.1, 0.25, 0.5, 1.0)
REPEATS, FOLDERS = 5, 3


def main() -> None:
    """Measure, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=int, default=500, help="in the largest folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        points: dict[str, dict[str, list[float]]] = {}
        times = paired_rounds(timed(Path(folder)), options.rounds, repeats=REPEATS)
        for (series, x), values in times.items():
            points.setdefault(series, {})[x] = values
        points |= folders(Path(folder), options.photos)
    results = {
        series: {
            "points": {x: spread(values) for x, values in by.items()},
            "line": line({float(x): median(values) for x, values in by.items()}),
        }
        for series, by in points.items()
    }
    content = result(
        f"python -m benchmarks.speed.scaling --rounds {options.rounds} --photos {options.photos}",
        *("openvino", "numpy", "opencv-python-headless"),
        unit="milliseconds, or the unit in the name",
        results=results,
    )
    print(table(content).grid())
    write_result(RESULT, content)


def timed(folder: Path) -> dict[tuple[str, str], Callable[[], Any]]:
    """List what is timed in this process, by series and place on its axis. folder: for photos."""
    bundle = open_bundle()
    size = bundle.manifest.preprocessing.size
    images = np.random.default_rng(0).integers(0, 256, (max(COUNTS), size, size, 3), dtype=np.uint8)
    engines = {
        threads: Engine(bundle.ir("int8"), threads, views=8) for threads in range(1, available_threads() + 1)
    }
    runs: dict[tuple[str, str], Callable[[], Any]] = {
        ("threads", str(threads)): partial(engine.infer, images[0]) for threads, engine in engines.items()
    }
    whole = engines[max(engines)]
    runs |= {("images", str(count)): partial(whole.infer_batch, images[:count]) for count in COUNTS}
    classifier = Classifier()
    for megapixels in MEGAPIXELS:
        height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
        path = write_example(folder / f"{megapixels}.jpg", (height * 4 // 3, height))
        runs["megapixels, decoding", str(megapixels)] = partial(load_photo, path, size)
        runs["megapixels, answer", str(megapixels)] = partial(assess_one, classifier, path)
        runs["megapixels, full decoding", str(megapixels)] = partial(decode_whole, path, size)
    return runs


def folders(folder: Path, most: int) -> dict[str, dict[str, list[float]]]:
    """Assess folders of photos in new processes.

    Args:
        folder: For the photo that every file is.
        most: Photos in the largest folder.

    Returns:
        Seconds and peak MB of each process, by series (unit and workers) and by number of photos.
    """
    photo = write_example(folder / "600x450.jpg", (600, 450))
    sizes = product(SHARES, sorted({1, available_threads()}))
    points: dict[str, dict[str, list[float]]] = {}
    for _, (share, workers) in alternate(sizes, FOLDERS):
        count = round(share * most)
        command = [sys.executable, "-m", "benchmarks.speed.scaling", str(photo), str(count), str(workers)]
        process = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        for unit, value in json.loads(process.stdout).items():
            series = points.setdefault(f"photos, {unit}, workers: {workers}", {})
            series.setdefault(str(count), []).append(value)
    return points


def assess_folder(photo: Path, count: int, workers: int) -> dict[str, float]:
    """Assess a photo so many times in this process: seconds without the start, and the peak memory in MB."""
    classifier = Classifier(workers=workers)
    list(classifier.assess_many([photo] * (2 * workers)))

    def assess_all() -> None:
        for assessment in classifier.assess_many(photo for _ in range(count)):
            cancer_probability(assessment)

    (milliseconds,) = laps(assess_all, 1)
    return {"seconds": milliseconds / 1e3, "MB": peak_mb()}


def line(points: Mapping[float, float]) -> dict[str, float] | None:
    """Fit a line by least squares, with its R²; None for fewer than three points."""
    if len(points) < 3:
        return None
    fitted = linregress(list(points), list(points.values()))
    return {
        "slope": float(fitted.slope),
        "intercept": float(fitted.intercept),
        "r_squared": float(fitted.rvalue**2),
    }


def table(content: Mapping[str, Any] | None = None) -> Table:
    """Render a result, the committed one by default."""
    content = content or read_result(RESULT)
    rows = []
    for series, of in content["results"].items():
        points = ", ".join(f"{x}: {one['median']:.4g}" for x, one in of["points"].items())
        fitted = of["line"]
        rows.append(
            (
                series,
                points,
                f"{fitted['intercept']:.3g} + {fitted['slope']:.3g} x" if fitted else "",
                f"{fitted['r_squared']:.4f}" if fitted else "",
            )
        )
    return Table(
        "Growth with threads, images, megapixels and photos",
        "Medians in milliseconds, or in the unit named, by the number of threads, images, megapixels or "
        f"photos, and the line fitted to them; default bundle, INT8. {hardware(content)}.",
        content["command"],
        ("series", "x: median", "line", "R²"),
        rows,
        FIGURE,
    )


def plot(path: Path) -> None:
    """Plot the committed medians of every series over its axis; series of one unit share a panel."""
    results = read_result(RESULT)["results"]
    units = {"photos, seconds": "s", "photos, MB": "MB"}
    panels: dict[str, list[str]] = {}
    for series in results:
        unit = next((name for name in units if series.startswith(name)), series.split(",")[0])
        panels.setdefault(unit, []).append(series)
    figure = Figure(figsize=(3.4 * len(panels), 3.2), layout="constrained")
    for axis, (name, members) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for series in members:
            points = {float(x): one["median"] for x, one in results[series]["points"].items()}
            axis.plot(list(points), list(points.values()), ".-", label=series)
        axis.set(title=f"{name.split(',')[0]}: {units.get(name, 'ms')}")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=6)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    if len(sys.argv) == 4 and Path(sys.argv[1]).is_file():
        print(json.dumps(assess_folder(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
