"""What does a picture cost on a cluster, and what does the driver do alone?

Measured on one machine, for `benchmarks.speed.scaling_plan`: the steps of a picture, in one process of one
thread for each thread of the machine, all at once; and the tasks of a driver: listing, Ray, the ledger and
the table.
"""

import importlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

import numpy as np

from benchmarks.environment import EXAMPLE, ROOT, hardware
from benchmarks.speed.many import write_pictures
from benchmarks.speed.rounds import laps, spread
from benchmarks.tables import Table
from edgeskin.batch.ledger import Row, open_ledger
from edgeskin.batch.runner import count_photos
from edgeskin.batch.sinks import Form, row_of, write_table
from edgeskin.classifier import Classifier
from edgeskin.network.cpu import available_threads
from edgeskin.photo.listing import PhotoRef, list_photos

USUAL, LARGE = "600x450", "4032x3024"
KINDS: Mapping[str, dict[str, Any]] = {
    USUAL: {"size": (600, 450), "noise": 12, "jpeg_quality": 99},
    LARGE: {"size": (4032, 3024), "noise": 8, "jpeg_quality": 95},
}
"""Pictures whose files are about as large as those of the ISIC archive and of phones."""
WARM_UP = 5
PART, LARGE_PART = 128, 1024
"""Pictures of a part."""
LEVELS = 101
"""Quantiles of a picture's time that are kept."""
FORMS: Mapping[Form, str] = {"parquet": "Parquet", "csv": "CSV", "jsonl": "JSON lines"}
ROWS: Mapping[Form, str] = {"parquet": "flat", "csv": "flat", "jsonl": "whole"}
"""What the ledger keeps for a table: flat rows, or the whole JSON."""

T = TypeVar("T")


def measure_pictures(
    folder: Path, counts: Mapping[str, int], rounds: int, bundle: str | None
) -> dict[str, Any]:
    """Measure pictures of each kind in a process for each thread, all at once.

    Args:
        folder: For the pictures.
        counts: Pictures by kind.
        rounds: Of new processes.
        bundle: Another than the default one.

    Returns:
        CPU seconds until a process is ready, and by kind: the mean file's bytes, CPU milliseconds by step,
        and quantiles of the total. A quantile is the median of those of all processes.
    """
    lists = {}
    for kind, count in counts.items():
        (folder / kind).mkdir()
        lists[kind] = write_pictures(folder / kind, count, **KINDS[kind])[-1]
    starts: list[float] = []
    steps: dict[str, list[dict[str, list[float]]]] = {kind: [] for kind in lists}
    for number in range(rounds):
        for kind, listed in lists.items():
            print(f"round {number + 1} of {rounds}: {kind}", file=sys.stderr)
            command = [sys.executable, "-m", "benchmarks.speed.cluster_costs", str(listed)]
            command += [bundle] if bundle else []
            children = [
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
                for _ in range(available_threads())
            ]
            for child in children:
                printed, _ = child.communicate()
                if child.returncode:
                    raise RuntimeError(f"{' '.join(command)}: ended with {child.returncode}")
                one = json.loads(printed)
                starts.append(one["ready_s"])
                steps[kind].append(one["steps"])
    levels = np.linspace(0, 1, LEVELS)
    return {
        "start_s": spread(starts),
        "pictures": {
            kind: {
                "bytes": fmean(path.stat().st_size for path in (folder / kind).glob("*.jpg")),
                "pictures": counts[kind],
                "steps_ms": {step: spread([median(one[step]) for one in of]) for step in of[0]},
                "quantiles_ms": np.median([np.quantile(one["total"], levels) for one in of], axis=0).tolist(),
            }
            for kind, of in steps.items()
        },
    }


def time_pictures(listed: Path, bundle: str | None = None) -> dict[str, Any]:
    """Assess the pictures of a list on one thread of this process, as a worker does.

    Returns:
        CPU seconds until it was ready, and CPU milliseconds by step: a value for each picture. The clock of
        the steps also runs while other processes have the CPU, so they are scaled to the picture's CPU time.

    Raises:
        RuntimeError: A picture was not assessed.
    """
    classifier = Classifier(bundle, threads=1)
    ready = time.process_time()
    photos = list(list_photos([str(listed)]))
    steps: dict[str, list[float]] = {}
    for number, photo in enumerate([*photos[:WARM_UP], *photos]):
        started, used = time.perf_counter(), time.process_time()
        data = photo.source(patience_s=30)
        read = time.perf_counter()
        assessment = classifier.assess(data, name=photo.name)
        assessed = time.perf_counter()
        row_of(assessment, "parquet")
        ended = time.perf_counter()
        share = (time.process_time() - used) / (ended - started)
        if assessment.status != "assessed":
            raise RuntimeError(f"{photo.name}: {assessment.status}; measure with other pictures")
        inside = dict(assessment.timing_ms)
        other = 1e3 * (assessed - read) - sum(inside.values()) + inside.pop("total")
        times = {"read": 1e3 * (read - started)} | inside | {"row": 1e3 * (ended - assessed), "other": other}
        if number >= min(WARM_UP, len(photos)):
            for step, value in (times | {"total": 1e3 * (ended - started)}).items():
                steps.setdefault(step, []).append(share * value)
    return {"ready_s": ready, "steps": steps}


def measure_driver(folder: Path, count: int, rounds: int, bundle: str | None) -> dict[str, Any]:
    """Measure what a driver does without Ray, with empty files and the rows of the example.

    Args:
        folder: For files, ledger and tables.
        count: Of files and rows.
        rounds: Of each measurement.
        bundle: Another than the default one.

    Returns:
        Milliseconds by task: ``count`` and ``list`` of a picture; ``write ROWS SIZE`` and ``read ROWS SIZE``
        of a part in the ledger, with `ROWS` for the kind of its rows; ``table FORM`` of a row.
    """
    names = [f"{number:06}.jpg" for number in range(count)]
    for name in names:
        (folder / name).touch()
    listed = folder / "driver.csv"
    listed.write_text("\n".join(["path", *names, ""]), encoding="utf-8")
    assessment = Classifier(bundle).assess(EXAMPLE)
    times: dict[str, list[float]] = {}

    def add(task: str, milliseconds: float) -> None:
        times.setdefault(task, []).append(milliseconds)

    with open_ledger(folder / "driver.jsonl", {}) as ledger:

        def find_parts() -> None:
            for part in _parts(list_photos([str(listed)]), PART):
                ledger.read(ledger.key(part))

        for number in range(rounds):
            add("count", laps(lambda: count_photos(list_photos([str(listed)])), 1)[0] / count)
            add("list", laps(find_parts, 1)[0] / count)
            for form in FORMS:
                rows = [row_of(assessment, form) | {"image": str(folder / name)} for name in names]
                for size in (PART, LARGE_PART):
                    # New names each time, as in a run: a file that is replaced costs more.
                    parts = {
                        f"{number}-{form}-{size}-{place}": part
                        for place, part in enumerate(_parts(rows, size))
                    }
                    for task in ("write", "read"):
                        calls = [
                            partial(ledger.write, key, part) if task == "write" else partial(ledger.read, key)
                            for key, part in parts.items()
                        ]
                        add(f"{task} {ROWS[form]} {size}", median(laps(call, 1)[0] for call in calls))
                table = folder / f"table.{form}"
                add(f"table {form}", laps(partial(write_table, table, rows, form), 1)[0] / count)
        ledger.remove()
    return {task: spread(values) for task, values in times.items()}


def measure_ray(rounds: int, workers: Iterable[int]) -> dict[str, Any]:
    """Measure what a driver does with Ray for each part, with actors of this machine.

    Args:
        rounds: Of ten calls each.
        workers: Numbers of workers that have a part.

    Returns:
        Milliseconds by task: ``submit SIZE`` hands a part out, ``fetch SIZE`` gets its rows, once they are
        there, and ``wait WORKERS`` finds that one of so many is done.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray: Any = importlib.import_module("ray")
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:
        actor, busy = ray.remote(_Actor).remote(), ray.remote(_Actor).remote()
        row = row_of(Classifier().assess(EXAMPLE), "parquet")
        times: dict[str, list[float]] = {}
        for number, size in itertools.product(range(-1, 10 * rounds), (PART, LARGE_PART)):
            photos = [PhotoRef(f"{place:06}.jpg", f"/photos/{place:06}.jpg") for place in range(size)]
            started = time.perf_counter()
            rows = actor.rows.remote(photos, row)
            submitted = time.perf_counter()
            ray.wait([rows])
            (fetched,) = laps(partial(ray.get, rows), 1)
            if number >= 0:
                times.setdefault(f"submit {size}", []).append(1e3 * (submitted - started))
                times.setdefault(f"fetch {size}", []).append(fetched)
        running: list[Any] = []
        for count in sorted(workers):
            running += [busy.sleep.remote() for _ in range(count - 1 - len(running))]
            done = actor.rows.remote(photos[:PART], row)
            ray.wait([done])
            times[f"wait {count}"] = laps(partial(ray.wait, [*running, done], timeout=10), 10 * rounds)
    finally:
        ray.shutdown()
    return {task: spread(values) for task, values in times.items()}


class _Actor:
    """Answers as a worker does, and keeps others waiting."""

    def rows(self, photos: Sequence[PhotoRef], row: Row) -> list[Row]:
        return [dict(row, image=photo.name) for photo in photos]

    def sleep(self) -> None:
        time.sleep(3600)


def _parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while part := list(itertools.islice(remaining, size)):
        yield part


def mean_ms(quantiles: Sequence[float]) -> float:
    """The mean of the distribution that evenly spaced quantiles describe."""
    return fmean((low + high) / 2 for low, high in itertools.pairwise(quantiles))


def pictures_table(content: Mapping[str, Any]) -> Table:
    """Render the steps of a picture."""
    kinds = content["measured"]["pictures"]
    steps = next(iter(kinds.values()))["steps_ms"]
    means = {kind: mean_ms(of["quantiles_ms"]) for kind, of in kinds.items()}
    return Table(
        "Cost of a picture",
        "Measured: CPU milliseconds of each step, the default bundle in INT8, one thread a process and a "
        "process for each thread of the machine, all at once; medians, files in the cache. "
        f"{hardware(content)}.",
        content["command"],
        ("step", *(f"{kind}, {of['bytes'] / 1e6:.2f} MB" for kind, of in kinds.items())),
        [
            *((step, *(f"{of['steps_ms'][step]['median']:.2f}" for of in kinds.values())) for step in steps),
            ("mean of total", *(f"{mean:.2f}" for mean in means.values())),
            ("pictures an hour a core", *(f"{3.6e6 / mean:,.0f}" for mean in means.values())),
        ],
    )


def driver_table(content: Mapping[str, Any]) -> Table:
    """Render the tasks of the driver."""
    times = {task: of["median"] for task, of in content["measured"]["driver"].items()}
    rows = [("count a picture", times["count"]), ("list a picture and look for its part", times["list"])]
    for size in (PART, LARGE_PART):
        if f"fetch {size}" in times:
            fetch = times[f"submit {size}"] + times[f"fetch {size}"]
            rows.append((f"hand out a part of {size:,} and fetch its rows, by Ray", fetch))
        rows += [
            (f"keep a part of {size:,} in the ledger, {kind} rows", times[f"write {kind} {size}"])
            for kind in dict.fromkeys(ROWS.values())
        ]
    rows += [
        (f"find the finished part of one of {int(task.removeprefix('wait ')):,} workers, by Ray", value)
        for task, value in times.items()
        if task.startswith("wait ")
    ]
    rows += [
        (f"read a row again and write it to a {title} table", row_ms(times, form))
        for form, title in FORMS.items()
    ]
    return Table(
        "Cost of the driver",
        "Measured: milliseconds of what one driver does alone; medians, files in the cache, Ray on one "
        f"machine. The ledger keeps flat rows for Parquet and CSV, and the whole JSON for JSON lines. "
        f"{hardware(content)}.",
        content["command"],
        ("task", "ms"),
        [(task, f"{value:.3f}") for task, value in rows],
    )


def row_ms(times: Mapping[str, float], form: Form) -> float:
    """Milliseconds of a row at the end of a run."""
    return times[f"read {ROWS[form]} {PART}"] / PART + times[f"table {form}"]


if __name__ == "__main__":
    print(json.dumps(time_pictures(Path(sys.argv[1]), *sys.argv[2:])))
