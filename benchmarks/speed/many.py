"""How much does a table of many pictures cost beside the engine, and does its memory stay flat?

    python -m benchmarks.speed.many [--pictures 10000] [--rounds 3] [--quick]

Writes so many different 600x450 JPEGs to a temporary folder. A tenth of them are assessed in alternating
rounds by `Classifier.assess_many` alone, the engine's own throughput, and by `edgeskin predict --out` to JSON
lines with its lists, ledger, progress and table; by one worker with all threads and by a worker for each
thread. Then `predict --out` assesses all of them once. Each run is a new process with a warm network; its
time leaves the start out, and its peak memory is recorded. Writes benchmarks/speed/results/many.json; --quick
takes few pictures and writes nothing.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.environment import (
    EXAMPLE,
    ROOT,
    argument_parser,
    hardware,
    read_result,
    result,
    result_path,
    write_result,
)
from benchmarks.speed.rounds import alternate, laps, spread
from benchmarks.speed.runtime_process import cancer_probability, peak_mb
from benchmarks.tables import Table
from edgeskin.classifier import Classifier
from edgeskin.cli.batch import predict_into
from edgeskin.network.cpu import available_threads
from edgeskin.photo.listing import list_photos

RESULT = result_path(__file__)
ENGINE, PREDICT = "assess_many", "predict --out"
PICTURES, QUICK = 10_000, 40
SHARE = 10
"""Of all pictures, one in so many is assessed in every round."""


def main() -> None:
    """Measure, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle", help="another than the default one; with --quick")
    parser.add_argument("--quick", action="store_true", help="few pictures; write no result")
    options = parser.parse_args()
    pictures, rounds = (QUICK, 1) if options.quick else (options.pictures, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        some, everything = write_pictures(Path(folder), pictures)
        runs: dict[str, list[dict[str, float]]] = {}
        kinds = product((ENGINE, PREDICT), sorted({1, available_threads()}))
        for number, (kind, workers) in alternate(kinds, rounds):
            print(f"round {number + 1} of {rounds}: {kind}, workers: {workers}", file=sys.stderr)
            measured = measure_in_child(kind, some, workers, options.bundle)
            runs.setdefault(f"{kind}, workers: {workers}", []).append(measured)
        workers = available_threads()
        whole = measure_in_child(PREDICT, everything, workers, options.bundle)
    content = result(
        f"python -m benchmarks.speed.many --pictures {pictures} --rounds {rounds}",
        *("openvino", "numpy", "opencv-python-headless"),
        results={
            "pictures": {"rounds": pictures // SHARE, "whole": pictures},
            "rounds": {
                name: {key: spread([one[key] for one in measured]) for key in measured[0]}
                for name, measured in runs.items()
            },
            "whole": {f"{PREDICT}, workers: {workers}": whole},
        },
    )
    print(table(content).grid())
    if not options.quick:
        write_result(RESULT, content)


def write_pictures(
    folder: Path, count: int, size: tuple[int, int] = (600, 450), noise: int = 3, jpeg_quality: int = 90
) -> tuple[Path, Path]:
    """Write pictures: the example with other noise each.

    Args:
        folder: For the pictures and the lists.
        count: Of pictures.
        size: Width and height in pixels.
        noise: Its greatest value, of 255.
        jpeg_quality: Of the files.

    Returns:
        Lists of a tenth of them, and of all.
    """
    rng = np.random.default_rng(0)
    image = cv2.resize(np.asarray(cv2.imread(str(EXAMPLE))), size, interpolation=cv2.INTER_CUBIC)
    names = [f"{number:06}.jpg" for number in range(count)]
    for name in names:
        noisy = image + rng.integers(-noise, noise + 1, image.shape, dtype=np.int16)
        content = noisy.clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / name), content, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    lists = folder / "some.csv", folder / "all.csv"
    for path, listed in zip(lists, (names[: count // SHARE], names), strict=True):
        path.write_text("\n".join(["path", *listed, ""]), encoding="utf-8")
    return lists


def measure_in_child(kind: str, pictures: Path, workers: int, bundle: str | None) -> dict[str, float]:
    """Run `measure` in a new process; arguments as there."""
    command = [sys.executable, "-m", "benchmarks.speed.many", "child", kind, str(pictures), str(workers)]
    command += [bundle] if bundle else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def measure(kind: str, pictures: Path, workers: int, bundle: str | None = None) -> dict[str, float]:
    """Assess all pictures of a list in this process.

    Args:
        kind: ENGINE or PREDICT.
        pictures: The list.
        workers: Pictures at once.
        bundle: Another than the default one.

    Returns:
        Pictures per second without the start, and the peak memory in MB.

    Raises:
        RuntimeError: A picture was not assessed.
    """
    classifier = Classifier(bundle, workers=workers)
    listed = list_photos([str(pictures)])
    warm_up = [next(listed)] * 2 * workers
    list(classifier.assess_many(warm_up))
    count = sum(1 for _ in list_photos([str(pictures)]))

    def engine() -> None:
        for assessment in classifier.assess_many(photo.path for photo in list_photos([str(pictures)])):
            cancer_probability(assessment)

    def predict() -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "results.jsonl"
            if predict_into(out, [str(pictures)], False, lambda: classifier, {}, False):
                raise RuntimeError(f"{pictures}: not all were assessed; measure with other pictures")

    (milliseconds,) = laps(engine if kind == ENGINE else predict, 1)
    return {"pictures_per_second": 1e3 * count / milliseconds, "MB": peak_mb()}


def table(content: Mapping[str, Any] | None = None) -> Table:
    """Render a result, the committed one by default."""
    content = content or read_result(RESULT)
    results = content["results"]
    counts = results["pictures"]
    rows = []
    for name, of in results["rounds"].items():
        engine = results["rounds"][name.replace(PREDICT, ENGINE)]
        rate = of["pictures_per_second"]["median"]
        share = rate / engine["pictures_per_second"]["median"]
        rows.append((name, str(counts["rounds"]), f"{rate:.1f}", f"{share:.3f}", f"{of['MB']['median']:.0f}"))
    for name, of in results["whole"].items():
        rows.append((name, str(counts["whole"]), f"{of['pictures_per_second']:.1f}", "", f"{of['MB']:.0f}"))
    return Table(
        "A table of many pictures",
        "`edgeskin predict --out` beside the engine alone, the default bundle in INT8 on 600x450 JPEGs; "
        f"medians of the rounds, without the start. {hardware(content)}.",
        content["command"],
        ("run", "pictures", "pictures per second", "share of the engine's", "peak MB"),
        rows,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])))
    else:
        main()
