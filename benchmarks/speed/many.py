"""How much does a table of many pictures cost beside the engine, and does a run survive that it is killed?

    python -m benchmarks.speed.many [--pictures 10000] [--rounds 3] [--quick]

Writes so many different 600x450 JPEGs to a temporary folder. A twentieth of them are assessed in alternating
rounds by `Classifier.assess_many` alone, the engine's own throughput, and by `edgeskin predict --out` to JSON
lines with its lists, ledger, progress and table; by one worker with all threads and by a worker for each
thread. Then a tenth and all of them are assessed once by a worker for each thread, and all of them by Ray
workers, whose start is part of the time. Each run is a new process with a warm network of its own, and its
peak memory is recorded.

At last a run over a tenth of the pictures is killed by SIGKILL at ten random moments, and started again
by the same command each time. Its table is compared with that of a run that nobody killed.

Writes benchmarks/speed/results/many.json; --quick takes few pictures, starts no Ray and writes nothing.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
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
from edgeskin.cli.batch import cluster, predict_into
from edgeskin.network.cpu import available_threads
from edgeskin.photo.listing import list_photos

RESULT = result_path(__file__)
ENGINE, PREDICT, CLUSTER = "assess_many", "predict --out", "predict --out --engine ray"
PICTURES, QUICK = 10_000, 60
SHARE = 20
"""Of all pictures, one in so many is assessed in every round."""
KILLS, QUICK_KILLS = 10, 1


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
        some, tenth, everything = write_pictures(Path(folder), pictures)
        runs: dict[str, list[dict[str, float]]] = {}
        kinds = product((ENGINE, PREDICT), sorted({1, available_threads()}))
        for number, (kind, workers) in alternate(kinds, rounds):
            print(f"round {number + 1} of {rounds}: {kind}, workers: {workers}", file=sys.stderr)
            measured = measure_in_child(kind, some, workers, options.bundle)
            runs.setdefault(f"{kind}, workers: {workers}", []).append(measured)
        workers = available_threads()
        once = []
        for kind, listed, count in (
            (PREDICT, tenth, pictures // 10),
            (PREDICT, everything, pictures),
            *([] if options.quick else [(CLUSTER, everything, pictures)]),
        ):
            print(f"{count} pictures: {kind}", file=sys.stderr)
            measured = measure_in_child(kind, listed, workers, options.bundle)
            once.append({"run": f"{kind}, workers: {workers}", "pictures": count} | measured)
        kills = QUICK_KILLS if options.quick else KILLS
        killed = survive_kills(tenth, Path(folder), workers, options.bundle, kills)
    content = result(
        f"python -m benchmarks.speed.many --pictures {pictures} --rounds {rounds}",
        *("openvino", "numpy", "opencv-python-headless"),
        results={
            "pictures of a round": pictures // SHARE,
            "rounds": {
                name: {key: spread([one[key] for one in measured]) for key in measured[0]}
                for name, measured in runs.items()
            },
            "once": once,
            "killed": killed,
        },
    )
    print(table(content).grid())
    if not options.quick:
        write_result(RESULT, content)


def write_pictures(
    folder: Path, count: int, size: tuple[int, int] = (600, 450), noise: int = 3, jpeg_quality: int = 90
) -> list[Path]:
    """Write pictures: the example with other noise each.

    Args:
        folder: For the pictures and the lists.
        count: Of pictures.
        size: Width and height in pixels.
        noise: Its greatest value, of 255.
        jpeg_quality: Of the files.

    Returns:
        Lists: of one in SHARE of them, of a tenth, and of all.
    """
    rng = np.random.default_rng(0)
    image = cv2.resize(np.asarray(cv2.imread(str(EXAMPLE))), size, interpolation=cv2.INTER_CUBIC)
    names = [f"{number:06}.jpg" for number in range(count)]
    for name in names:
        noisy = image + rng.integers(-noise, noise + 1, image.shape, dtype=np.int16)
        content = noisy.clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / name), content, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    lists = []
    for share in (SHARE, 10, 1):
        lists.append(folder / f"one-in-{share}.csv")
        lists[-1].write_text("\n".join(["path", *names[: count // share], ""]), encoding="utf-8")
    return lists


def measure_in_child(kind: str, pictures: Path, workers: int, bundle: str | None) -> dict[str, Any]:
    """Run `measure` in a new process; arguments as there."""
    command = [sys.executable, "-m", "benchmarks.speed.many", "child", kind, str(pictures), str(workers)]
    command += [bundle] if bundle else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def measure(kind: str, pictures: Path, workers: int, bundle: str | None = None) -> dict[str, float]:
    """Assess all pictures of a list in this process, or by Ray workers of one thread each.

    Args:
        kind: ENGINE, PREDICT or CLUSTER.
        pictures: The list.
        workers: Pictures at once.
        bundle: Another than the default one.

    Returns:
        Pictures per second without the start of this process's network, and its peak memory in MB.

    Raises:
        RuntimeError: A picture was not assessed.
    """
    count = sum(1 for _ in list_photos([str(pictures)]))
    on_cluster = kind == CLUSTER
    classifier = Classifier(bundle, threads=1) if on_cluster else Classifier(bundle, workers=workers)
    list(classifier.assess_many([next(list_photos([str(pictures)]))] * 2 * workers))
    engines = partial(cluster, None, workers, 1) if on_cluster else None

    def engine() -> None:
        for assessment in classifier.assess_many(photo.path for photo in list_photos([str(pictures)])):
            cancer_probability(assessment)

    def predict() -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "results.jsonl"
            if predict_into(out, [str(pictures)], False, lambda: classifier, {}, False, engines):
                raise RuntimeError(f"{pictures}: not all were assessed; measure with other pictures")

    (milliseconds,) = laps(engine if kind == ENGINE else predict, 1)
    return {"pictures_per_second": 1e3 * count / milliseconds, "MB": peak_mb()}


def survive_kills(
    pictures: Path, folder: Path, workers: int, bundle: str | None, kills: int
) -> dict[str, Any]:
    """Kill a run again and again, and compare its table with that of a run that nobody killed.

    Args:
        pictures: The list.
        folder: For the tables.
        workers: Pictures at once.
        bundle: Another than the default one.
        kills: At most so many.

    Returns:
        The number of pictures, of SIGKILLs, and whether the tables are the same but for the times.
    """
    command = [sys.executable, "-m", "edgeskin", "predict", str(pictures), "--workers", str(workers), "--out"]
    options = ["--bundle", bundle] if bundle else []
    clean, out = folder / "clean.jsonl", folder / "killed.jsonl"
    started = time.monotonic()
    subprocess.run([*command, str(clean), *options], check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - started
    rng, killed = np.random.default_rng(0), 0
    while killed < kills:
        running = subprocess.Popen([*command, str(out), *options], cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            running.wait(rng.uniform(0.05, 0.2) * seconds)
            break
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            killed += 1
    if not out.exists():
        subprocess.run([*command, str(out), *options], check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
    tables = [
        [json.loads(line) | {"timing_ms": None} for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (clean, out)
    ]
    return {"pictures": len(tables[0]), "kills": killed, "same table": tables[0] == tables[1]}


def table(content: Mapping[str, Any] | None = None) -> Table:
    """Render a result, the committed one by default."""
    content = content or read_result(RESULT)
    results = content["results"]
    rows = []
    for name, of in results["rounds"].items():
        engine = results["rounds"][name.replace(PREDICT, ENGINE)]
        rate = of["pictures_per_second"]["median"]
        share = f"{rate / engine['pictures_per_second']['median']:.3f}"
        rows.append((name, results["pictures of a round"], rate, share, of["MB"]["median"]))
    rows += [
        (one["run"], one["pictures"], one["pictures_per_second"], "", one["MB"]) for one in results["once"]
    ]
    killed = results["killed"]
    same = "the same as" if killed["same table"] else "NOT the same as"
    return Table(
        "A table of many pictures",
        "`edgeskin predict --out` beside the engine alone, the default bundle in INT8 on 600x450 JPEGs: "
        "medians of rounds, then single runs. Times are without the start of the network, and with that of "
        f"Ray. Memory is that of the command, without Ray's workers. {hardware(content)}. A run over "
        f"{killed['pictures']} pictures that was killed {killed['kills']} times wrote a table that is {same} "
        "that of a run that nobody killed.",
        content["command"],
        ("run", "pictures", "pictures per second", "share of the engine's", "peak MB"),
        [(run, f"{count:,}", f"{rate:.1f}", share, f"{mb:.0f}") for run, count, rate, share, mb in rows],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])))
    else:
        main()
