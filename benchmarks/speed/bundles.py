"""How fast and how large are the shipped bundles on this CPU, in INT8 and in FP32?

    python -m benchmarks.speed.bundles [--rounds 3] [--repeats 60]

Runs `edgeskin bench` on each shipped bundle. Writes benchmarks/speed/results/bundles-NAME-ISA.json, so that
the results of CPUs with other instruction sets stay.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import argument_parser, require_bundle, result_path, write_result
from benchmarks.speed import cold_start
from benchmarks.tables import Table
from edgeskin.bench.measure import run
from edgeskin.bundle.bundle import SHIPPED

RESULTS = result_path(__file__).parent


def main() -> None:
    """Measure and write the results."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()
    for name in SHIPPED:
        measured = run(name, None, options.repeats, options.rounds, None, None).to_dict()
        write_result(path_of(name, measured["machine"]["isa"]), measured)


def path_of(name: str, isa: str) -> Path:
    """Return the file of a shipped bundle's result on CPUs of an instruction set."""
    return RESULTS / f"bundles-{name}-{isa}.json"


def committed() -> dict[Path, dict[str, Any]]:
    """Read all committed results, by file.

    Raises:
        SettingError: One was measured with another bundle than the shipped one.
    """
    contents = {}
    for path in sorted(RESULTS.glob("bundles-*.json")):
        contents[path] = json.loads(path.read_text(encoding="utf-8"))
        require_bundle(path, contents[path]["settings"]["bundle_sha256"], _name(path))
    return contents


def table() -> Table:
    """Render the results of `edgeskin bench`, with whole processes where they were measured on that CPU."""
    cold = cold_start.read()
    rows: list[Sequence[str]] = []
    contents = committed()
    for path, bench in contents.items():
        machine, name = bench["machine"], _name(path)
        same = (machine["processor"], machine["isa"]) == (cold["machine"]["processor"], cold["isa"])
        for row in sorted(bench["rows"], key=lambda row: str(row["precision"]), reverse=True):
            median, precision = row["median"], row["precision"]
            command = f"predict {'lite ' * (name == 'lite')}{precision}"
            processes = [
                cold["results"].get(key) if same else None for key in (command, f"{command}, prepared")
            ]
            rows.append(
                (
                    f"{name} {precision.upper()}",
                    f"{machine['processor']}, {machine['isa']}",
                    f"{row['model_bytes'] / 1e6:.1f}",
                    f"{median['p50_ms']:.1f}",
                    f"{bench['speedup']:.2f}x" if precision == "int8" else "",
                    f"{median['peak_mb']:.0f}",
                    *(f"{one['median'] / 1e3:.2f}" if one else "" for one in processes),
                )
            )
    settings = next(iter(contents.values()))["settings"]
    return Table(
        "Shipped bundles",
        f"The network on one photo in {settings['views']} views (median), on {settings['threads']} threads, "
        "and whole `edgeskin predict` processes with one photo, without and with a prepared cache of "
        "compiled networks.",
        "python -m benchmarks.speed.bundles",
        (
            "bundle",
            "CPU",
            "model, MB",
            "network, ms",
            "INT8 against FP32",
            "peak memory, MB",
            "process, s",
            "process with cache, s",
        ),
        rows,
    )


def _name(path: Path) -> str:
    return path.stem.split("-")[1]


if __name__ == "__main__":
    main()
