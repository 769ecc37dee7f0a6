"""How long does the first answer of a new process take, and where does the time go?

    python -m benchmarks.speed.cold_start [--repeats 15] [--runtime PYTHON]

Times whole processes in alternating rounds with a warm file cache: the interpreter alone, `import edgeskin`,
and `edgeskin predict` on the example photo with the shipped bundles, without and with a cache of compiled
networks. Then a process that takes the same steps one by one and reports when each ended. --runtime names the
Python of an environment with edgeskin alone, which starts sooner than one with all extras. Writes
benchmarks/speed/results/cold_start.json.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from benchmarks.environment import (
    EXAMPLE,
    argument_parser,
    hardware,
    read_result,
    result,
    result_path,
    write_result,
)
from benchmarks.speed.rounds import alternate, paired_rounds, spread
from benchmarks.tables import Table

RESULT = result_path(__file__)
PREDICT = ["-m", "edgeskin", "predict", str(EXAMPLE)]
OPTIONS = {
    "int8": ["--precision", "int8"],
    "fp32": ["--precision", "fp32"],
    "lite int8": ["--bundle", "lite"],
}
COMPILE, LOAD = "read, verify and compile", "read, verify and load"
STEPS = f"""
import sys, time
done = {{"interpreter": time.time()}}
sys.modules["openvino_telemetry"] = sys.modules["openvino.tools.ovc"] = None
import typer
done["import typer"] = time.time()
import numpy
done["import numpy"] = time.time()
import cv2
done["import cv2"] = time.time()
import openvino
done["import openvino"] = time.time()
from edgeskin.cli import main as cli
from edgeskin.report import text
from edgeskin.classifier import Classifier
done["import edgeskin"] = time.time()
photo, bundle, cache = sys.argv[1:4]
classifier = Classifier(bundle, cache_dir=cache or None)
done["{LOAD}" if cache else "{COMPILE}"] = time.time()
result = classifier.assess(photo)
after = time.time() - result.timing_ms["total"] / 1e3
for step, milliseconds in result.timing_ms.items():
    if step != "total":
        after += milliseconds / 1e3
        done[step] = after
text.render_text(result)
done["render"] = time.time()
import json, os
print(json.dumps(done), flush=True)
os._exit(0)  # as the command line ends
"""


def commands(cache: str) -> dict[str, list[str]]:
    """List what is timed, as arguments of the interpreter, by name."""
    compiled = {f"predict {name}": [*PREDICT, *options] for name, options in OPTIONS.items()}
    prepared = {f"{name}, prepared": [*command, "--cache-dir", cache] for name, command in compiled.items()}
    return {
        "python": ["-c", "pass"],
        "import edgeskin": ["-c", "import edgeskin"],
        **compiled,
        **prepared,
    }


def steps(
    runtime: str, environment: Mapping[str, str], cache: str, folder: str, bundle: str = "default"
) -> dict[str, float]:
    """Run one process that reports its steps.

    Args:
        runtime: The Python to run.
        environment: Its environment variables.
        cache: Its folder of compiled networks; empty for none.
        folder: Its working folder.
        bundle: The bundle that it opens.

    Returns:
        Milliseconds of each step, and of the process's end.
    """
    started = time.time()
    command = [runtime, "-c", STEPS, str(EXAMPLE), bundle, cache]
    process = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=folder)
    done: dict[str, float] = json.loads(process.stdout) | {"exit": time.time()}
    times = [started, *done.values()]
    return {name: 1e3 * (end - begin) for name, begin, end in zip(done, times[:-1], times[1:], strict=True)}


def main() -> None:
    """Measure, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--runtime", default=sys.executable)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # Outside the checkout the installed package runs, and only this folder holds a cache.
        cache = f"{folder}/cache"
        variables = {"XDG_CACHE_HOME": folder, "EDGESKIN_CACHE": "", "OPENBLAS_NUM_THREADS": "1"}
        environment = os.environ | variables
        run = partial(subprocess.run, check=True, capture_output=True, env=environment, cwd=folder)
        processes = {
            name: partial(run, [options.runtime, *arguments]) for name, arguments in commands(cache).items()
        }
        samples = paired_rounds(processes, options.repeats)
        budgets: dict[str, list[dict[str, float]]] = {"compiled": [], "prepared": []}
        for _, name in alternate(budgets, options.repeats):
            used = cache if name == "prepared" else ""
            budgets[name].append(steps(options.runtime, environment, used, folder))
    content = result(
        f"python -m benchmarks.speed.cold_start --repeats {options.repeats} --runtime PYTHON",
        *("openvino", "numpy", "opencv-python-headless", "typer"),
        unit="milliseconds, whole process",
        results={name: spread(values) for name, values in samples.items()},
        budgets={
            name: {step: spread([one[step] for one in of]) for step in of[0]} for name, of in budgets.items()
        },
        samples=samples,
    )
    print(table(content).grid(), budget_table(content).grid(), sep="\n\n")
    write_result(RESULT, content)


def read() -> dict[str, Any]:
    """Read the committed result."""
    return read_result(RESULT)


def table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the `predict` processes of a result, the committed one by default."""
    content = content or read()
    return Table(
        "Whole processes",
        f"Milliseconds from start to end of `edgeskin predict` with one photo, warm file cache. "
        f"{hardware(content)}.",
        content["command"],
        ("process", "median, ms", "quartiles, ms"),
        [
            (name, f"{of['median']:.0f}", f"{of['quartile_1']:.0f} to {of['quartile_3']:.0f}")
            for name, of in content["results"].items()
            if name.startswith("predict")
        ],
    )


def budget_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the steps of one process of a result, the committed one by default."""
    content = content or read()
    compiled, prepared = (content["budgets"][name] for name in ("compiled", "prepared"))
    matching = {COMPILE: LOAD}
    rows = [
        (step, f"{values['median']:.0f}", f"{prepared[matching.get(step, step)]['median']:.0f}")
        for step, values in compiled.items()
    ]
    totals = [sum(values["median"] for values in of.values()) for of in (compiled, prepared)]
    rows.append(("all", f"{totals[0]:.0f}", f"{totals[1]:.0f}"))
    return Table(
        "Steps of the first answer",
        "Milliseconds of each step of one process with the default bundle's INT8 network, medians. The last "
        f"column loads the compiled network from a cache. {hardware(content)}.",
        content["command"],
        ("step", "compiled, ms", "from the cache, ms"),
        rows,
    )


if __name__ == "__main__":
    main()
