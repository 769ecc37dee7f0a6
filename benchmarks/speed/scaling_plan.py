"""How long do a million pictures take on a cluster, and what limits it?

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.speed.scaling_plan [--rounds 3] [--quick]

Measures on this machine what a picture and the driver of a cluster cost (`benchmarks.speed.cluster_costs`),
with the default bundle in INT8 and generated pictures. Then it simulates clusters with these times
(`benchmarks.speed.cluster_simulation`). Needs the extras `cluster` and `parquet`. Writes
benchmarks/speed/results/scaling_plan.json; --quick takes few pictures and no Ray, and writes nothing.
"""

import itertools
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import argument_parser, hardware, read_result, result, result_path, write_result
from benchmarks.speed import cluster_costs
from benchmarks.speed.cluster_costs import (
    LARGE,
    LARGE_PART,
    PART,
    ROWS,
    USUAL,
    measure_driver,
    measure_pictures,
    measure_ray,
    row_ms,
)
from benchmarks.speed.cluster_simulation import Cluster, Driver, draw_parts, part_sizes, simulate
from benchmarks.tables import Table
from edgeskin.batch.sinks import Form

RESULT = result_path(__file__)
MEASURED, QUICK = {USUAL: 120, LARGE: 16}, {USUAL: 4, LARGE: 2}
"""Pictures that are measured, by kind."""
DRIVER_ROWS, QUICK_ROWS = 4096, 256

PICTURES = (10**6, 10**8)
NODES = (1, 4, 16, 64, 256, 1024)
GBIT_S = (1, 10)
CORES = 8
LOST_PER_HOUR = 0.01
NOTICE_S = 30.0
CHANGED_NODES, CHANGED_GBIT_S = (64, 1024), 100
CHANGES: Mapping[str, dict[str, Any]] = {
    "none": {},
    "parts of 1,024 pictures": {"part": LARGE_PART},
    "8 jobs at once": {"jobs": 8},
    "64 jobs at once": {"jobs": 64},
    "a table of JSON lines": {"form": "jsonl"},
    "each worker lost once an hour": {"lost_per_hour": 1.0},
    "pictures of 12 megapixels": {"kind": LARGE},
}
"""What is changed, each alone, where CHANGED_NODES read most pictures from a store of CHANGED_GBIT_S."""


@dataclass(frozen=True)
class Scenario:
    """One simulated run.

    Attributes:
        pictures: Of all jobs.
        nodes: Of all jobs, with CORES workers each.
        gbit_s: Bandwidth of the store.
        kind: Of the pictures.
        part: Pictures of a part.
        form: Of the table.
        jobs: Equal ones at once, each with its own driver.
        lost_per_hour: Losses in an hour of one worker's work.
    """

    pictures: int
    nodes: int
    gbit_s: float
    kind: str = USUAL
    part: int = PART
    form: Form = "parquet"
    jobs: int = 1
    lost_per_hour: float = LOST_PER_HOUR


def main() -> None:
    """Measure, simulate, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle", help="another than the default one; with --quick")
    parser.add_argument("--quick", action="store_true", help="few pictures, no Ray; write no result")
    options = parser.parse_args()
    counts, rows, rounds = (
        (QUICK, QUICK_ROWS, 2) if options.quick else (MEASURED, DRIVER_ROWS, options.rounds)
    )
    with tempfile.TemporaryDirectory() as folder:
        measured = measure_pictures(Path(folder), counts, rounds, options.bundle)
        print("driver", file=sys.stderr)
        measured["driver"] = measure_driver(Path(folder), rows, rounds, options.bundle)
    if not options.quick:
        measured["driver"] |= measure_ray(rounds, (nodes * CORES for nodes in NODES))
    print("simulating", file=sys.stderr)
    content = result(
        f"python -m benchmarks.speed.scaling_plan --rounds {rounds}",
        *("openvino", "numpy", "opencv-python-headless"),
        *(() if options.quick else ("pyarrow", "ray")),
        measured=measured,
        **simulated(measured, (10**5,) if options.quick else PICTURES),
    )
    for render in (pictures_table, driver_table, table, changes_table):
        print(render(content).section())
    if not options.quick:
        write_result(RESULT, content)


def simulated(measured: Mapping[str, Any], pictures: Sequence[int] = PICTURES) -> dict[str, Any]:
    """Simulate all scenarios with measured times.

    Args:
        measured: As in the result.
        pictures: Of the scenarios.

    Returns:
        The assumptions, the scenarios with what came of them, and the changed ones by change.
    """
    changed = {"pictures": max(pictures), "gbit_s": CHANGED_GBIT_S}
    return {
        "assumed": {
            "cores_per_node": CORES,
            "lost_per_hour_of_a_worker": LOST_PER_HOUR,
            "seconds_to_notice_a_loss": NOTICE_S,
        },
        "simulated": [
            outcome_of(Scenario(*one), measured) for one in itertools.product(pictures, NODES, GBIT_S)
        ],
        "changed": [
            {"change": change} | outcome_of(Scenario(**(changed | {"nodes": nodes} | of)), measured)
            for (change, of), nodes in itertools.product(CHANGES.items(), CHANGED_NODES)
        ],
    }


def outcome_of(scenario: Scenario, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Simulate a scenario. Equal jobs take equally long: one is simulated, with its share of the store."""
    of = measured["pictures"][scenario.kind]
    cores = scenario.nodes * CORES
    workers = cores // scenario.jobs
    sizes, times = _drawn(tuple(of["quantiles_ms"]), scenario.pictures // scenario.jobs, scenario.part)
    cluster = Cluster(
        workers,
        start=measured["start_s"]["median"],
        lost_per_hour=scenario.lost_per_hour,
        notice=NOTICE_S,
        bytes_per_second=scenario.gbit_s * 1e9 / 8 / scenario.jobs,
        picture_bytes=of["bytes"],
    )
    driver = driver_of(measured["driver"], scenario.form, scenario.part, workers)
    outcome = simulate(sizes, times, cluster, driver)
    hours = outcome.seconds / 3600
    return asdict(scenario) | {
        "hours": hours,
        "pictures_per_core_hour": scenario.pictures / hours / cores,
        "efficiency": outcome.ideal / outcome.seconds,
        "bottleneck": outcome.bottleneck,
        "lost_parts": outcome.lost * scenario.jobs,
        "busy": outcome.busy,
    }


def driver_of(measured: Mapping[str, Any], form: Form, part: int, workers: int) -> Driver:
    """The driver's measured tasks in seconds. Between two measured numbers of workers, a line is drawn.

    Args:
        measured: Tasks, as `measure_driver` and `measure_ray` return them; without the latter, Ray takes no
            time.
        form: Of the table.
        part: Pictures of a part.
        workers: That have one.
    """
    times = {task: of["median"] for task, of in measured.items()}
    waits = {int(task.removeprefix("wait ")): of for task, of in times.items() if task.startswith("wait ")}
    ray = 0.0
    if waits:
        ray += times[f"submit {part}"] + times[f"fetch {part}"]
        ray += float(np.interp(workers, list(waits), list(waits.values())))
    return Driver(
        count=times["count"] / 1e3,
        listing=times["list"] / 1e3,
        ledger=(times[f"write {ROWS[form]} {part}"] + ray) / 1e3,
        table=row_ms(times, form) / 1e3,
    )


@lru_cache(2)
def _drawn(quantiles_ms: tuple[float, ...], pictures: int, part: int) -> tuple[list[int], list[float]]:
    """Pictures of each part, and its seconds."""
    sizes = part_sizes(pictures, part)
    return sizes, (draw_parts(quantiles_ms, sizes) / 1e3).tolist()


def pictures_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the measured steps of a picture, of the committed result by default."""
    return cluster_costs.pictures_table(content or read_result(RESULT))


def driver_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the measured tasks of the driver, of the committed result by default."""
    return cluster_costs.driver_table(content or read_result(RESULT))


def table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the simulated clusters, of the committed result by default."""
    content = content or read_result(RESULT)
    return Table(
        "Clusters",
        f"Simulated with the measured times: nodes of {CORES} cores with a worker each, parts of {PART} "
        f"pictures of {USUAL}, a Parquet table. Efficiency is the share of the time in which the mean core "
        f"assesses pictures. {hardware(content)}.",
        content["command"],
        ("pictures", "nodes", "store, Gbit/s", *_COLUMNS),
        [
            (f"{one['pictures']:,}", f"{one['nodes']:,}", f"{one['gbit_s']:g}", *_cells(one))
            for one in content["simulated"]
        ],
    )


def changes_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the simulated clusters with one thing changed, of the committed result by default."""
    content = content or read_result(RESULT)
    return Table(
        "Changed clusters",
        f"Simulated: {content['changed'][0]['pictures']:,} pictures and a store of {CHANGED_GBIT_S} Gbit/s, "
        f"as above but for one change. {hardware(content)}.",
        content["command"],
        ("change", "nodes", *_COLUMNS),
        [(one["change"], f"{one['nodes']:,}", *_cells(one)) for one in content["changed"]],
    )


_COLUMNS = ("hours", "pictures an hour a core", "efficiency", "bottleneck", "its busy share")


def _busy_share(one: Mapping[str, Any]) -> float:
    """The share of the time in which the bottleneck is busy; the driver's tasks are one resource."""
    name: str = one["bottleneck"]
    names = (
        [other for other in one["busy"] if other.startswith("driver")]
        if name.startswith("driver")
        else [name]
    )
    return float(sum(one["busy"][other] for other in names))


def _cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{one['hours']:,.2f}",
        f"{one['pictures_per_core_hour']:,.0f}",
        f"{one['efficiency']:.2f}",
        one["bottleneck"],
        f"{_busy_share(one):.2f}",
    )


if __name__ == "__main__":
    main()
