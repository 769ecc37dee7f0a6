"""How do latency and throughput grow with threads, pictures, megapixels and the number of photos?

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.speed.scaling [--rounds 5] [--photos 500]

The default bundle in INT8. Threads: one picture in its eight views. Pictures: so many, in one view, by four
as the engine runs them (`benchmarks.speed.batches` compares other numbers). Megapixels: from a JPEG file to its
decoded picture, and to the answer. Photos: a folder of 600x450 files, by one stream with all threads, as one
picture is answered soonest, and by a stream a thread; memory beside it.
Each line is fitted: R^2 near 1 where what grows, grows straight. Every folder runs in a process of its own,
three times, by turns.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import linregress

from benchmarks.environment import blas, machine, spread, write
from benchmarks.example import write_example
from benchmarks.speed.hand_over import hand_over_ns
from benchmarks.speed.runtime_process import answered, laps, peak_mb, small_square
from edgeskin.bundle.bundle import open_bundle
from edgeskin.classifier import Classifier
from edgeskin.network.engine import Engine, available_threads, instruction_set
from edgeskin.photo.decode import load_photo

ROOT = Path(__file__).parents[2]
COUNTS = (1, 2, 4, 8, 16, 32)
MEGAPIXELS = (0.25, 1, 3, 6, 12, 24)
SHARES = (0.1, 0.25, 0.5, 1.0)
REPEATS, FOLDERS = 5, 3

Samples = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, print and write benchmarks/results/scaling.json and docs/scaling.png."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=int, default=500, help="in the largest folder")
    wanted = parser.parse_args()
    samples: Samples = {}
    hand_over = [hand_over_ns()]
    with tempfile.TemporaryDirectory() as folder:
        runs = interleaved(Path(folder))
        for turn in range(wanted.rounds + 1):
            for (series, x), run in runs.items():
                times = laps(run, REPEATS)
                if turn:  # the first warms up
                    samples.setdefault(series, {}).setdefault(x, []).extend(times)
            hand_over.append(hand_over_ns())
        del runs
        folders = photos_of(Path(folder), wanted.photos, hand_over)
    result = {
        "command": f"{blas()}python -m benchmarks.speed.scaling --rounds {wanted.rounds} --photos {wanted.photos}",
        "unit": "milliseconds, or as told",
        "machine": machine("openvino", "numpy", "opencv-python-headless"),
        "isa": instruction_set(),
        "bundle_sha256": open_bundle().sha256,
        "hand_over_ns": hand_over,
        "results": {
            series: {
                "points": {x: spread(times) for x, times in by.items()},
                "line": line({float(x): median(times) for x, times in by.items()}),
            }
            for series, by in samples.items()
        }
        | folders,
    }
    for series, told in result["results"].items():
        print(series, {x: round(one["median"], 2) for x, one in told["points"].items()}, told["line"])
    print(write("scaling", result))
    draw(result["results"], ROOT / "docs" / "scaling.png")


def interleaved(folder: Path) -> dict[tuple[str, str], Callable[[], Any]]:
    """What is timed in turn, by series and place on its axis."""
    bundle = open_bundle()
    size = bundle.manifest.preprocessing.size
    images = np.random.default_rng(0).integers(0, 256, (max(COUNTS), size, size, 3), dtype=np.uint8)
    runs: dict[tuple[str, str], Callable[[], Any]] = {}
    for threads in range(1, available_threads() + 1):
        engine = Engine(bundle.ir("int8"), threads, views=8)
        runs["threads", str(threads)] = lambda engine=engine: engine.infer(images[0])
    for count in COUNTS:
        runs["pictures", str(count)] = lambda engine=engine, count=count: engine.infer_each(images[:count])
    classifier = Classifier()
    for megapixels in MEGAPIXELS:
        height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
        path = write_example(folder / f"{megapixels}.jpg", (height * 4 // 3, height))
        runs["megapixels, decoding", str(megapixels)] = lambda path=path: load_photo(path, size)
        runs["megapixels, answer", str(megapixels)] = lambda path=path: answered(classifier.assess(path))
        runs["megapixels, naive decoding", str(megapixels)] = lambda path=path: small_square(path, size)
    return runs


def photos_of(folder: Path, most: int, hand_over: list[float | None]) -> dict[str, Any]:
    """Seconds and MB by photos in the folder, for each number of streams. hand_over: is added to."""
    photo = write_example(folder / "600x450.jpg", (600, 450))
    results: dict[str, Any] = {}
    for turn in range(FOLDERS):
        for share in SHARES:
            for streams in sorted({1, available_threads()}, reverse=bool(turn % 2)):
                count = round(share * most)
                command = [sys.executable, "-m", "benchmarks.speed.scaling", str(photo), str(count), str(streams)]
                done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
                hand_over.append(hand_over_ns())
                for unit, value in json.loads(done.stdout).items():
                    series = results.setdefault(f"photos, {unit}, streams: {streams}", {"points": {}})
                    series["points"].setdefault(str(count), []).append(value)
    for series in results.values():
        series["points"] = {count: spread(values) for count, values in series["points"].items()}
    for series in results.values():
        series["line"] = line({float(x): one["median"] for x, one in series["points"].items()})
    return results


def assess_folder(photo: Path, count: int, streams: int) -> dict[str, float]:
    """In this process: seconds for so many photos, without the start, and the highest memory."""
    classifier = Classifier(streams=streams)
    list(classifier.assess_many([photo] * (2 * streams)))
    started = time.perf_counter()
    for result in classifier.assess_many(photo for _ in range(count)):
        answered(result)
    return {"seconds": time.perf_counter() - started, "MB": peak_mb()}


def line(points: dict[float, float]) -> dict[str, float] | None:
    """Least squares through the points, and how straight they lie; None of fewer than three."""
    if len(points) < 3:
        return None
    fitted = linregress(list(points), list(points.values()))
    return {
        "slope": float(fitted.slope),
        "intercept": float(fitted.intercept),
        "r_squared": float(fitted.rvalue**2),
    }


def draw(results: dict[str, Any], path: Path) -> None:
    """A panel an axis: what is measured, as points, and the line through them."""
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
