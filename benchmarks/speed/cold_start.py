"""How long does one answer take from nothing, and where does the time go? Whole processes, warm file cache.

    python -m benchmarks.speed.cold_start [--repeats 15] [--runtime PYTHON]

Times, as a user would feel them: the interpreter alone, ``import edgeskin``, and ``edgeskin predict`` on
the example image with the shipped bundles, without and with their compiled networks kept. The processes
alternate, so that a drift of the machine hits all. Then the budget: a process that goes the same way step by
step and tells when each was done. --runtime: the Python of an environment that holds edgeskin alone, which
starts quicker than a developer's; this one without.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from benchmarks.environment import machine, spread, write
from benchmarks.example import EXAMPLE
from benchmarks.speed.hand_over import hand_over_ns
from edgeskin.bundle.bundle import open_bundle
from edgeskin.network.engine import instruction_set

PREDICT = ["-m", "edgeskin", "predict", str(EXAMPLE)]
ANSWERS = {
    "int8": ["--precision", "int8"],
    "fp32": ["--precision", "fp32"],
    "lite int8": ["--bundle", "lite"],
}
STEPS = """
import sys, time
done = {"interpreter": time.time()}
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
from edgeskin.classifier import Classifier, open_bundle
done["import edgeskin"] = time.time()
photo, bundle, cache = sys.argv[1:4]
classifier = Classifier(bundle, cache=cache or None)
done["read, verify and compile" if not cache else "read, verify and load"] = time.time()
result = classifier.assess(photo)
now = time.time()
after = now - result.timing_ms["total"] / 1e3
for step, milliseconds in result.timing_ms.items():
    if step != "total":
        after += milliseconds / 1e3
        done[step] = after
text.block(result.to_dict())
done["told"] = time.time()
import json, os
print(json.dumps(done), flush=True)
os._exit(0)  # as the command line ends
"""


def commands(cache: str) -> dict[str, list[str]]:
    """What is timed, as arguments of the interpreter."""
    plain = {f"predict {name}": [*PREDICT, *options] for name, options in ANSWERS.items()}
    kept = {f"{name}, prepared": [*command, "--cache", cache] for name, command in plain.items()}
    return {"python": ["-c", "pass"], "import edgeskin": ["-c", "import edgeskin"]} | plain | kept


def steps(runtime: str, environment: dict[str, str], cache: str, where: str) -> dict[str, float]:
    """Milliseconds of each step of one process, and of its end."""
    started = time.time()
    command = [runtime, "-c", STEPS, str(EXAMPLE), "default", cache]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=where)
    ended = time.time()
    done: dict[str, float] = json.loads(told.stdout) | {"exit": ended}
    times = [started, *done.values()]
    return {name: 1e3 * (end - begin) for name, begin, end in zip(done, times[:-1], times[1:], strict=True)}


def main() -> None:
    """Measure, print and write benchmarks/results/cold_start.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--runtime", default=sys.executable)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # Elsewhere than the checkout, so that what is installed runs; and nothing kept but here.
        cache, nothing = f"{folder}/cache", {"XDG_CACHE_HOME": folder, "EDGESKIN_CACHE": ""}
        environment = os.environ | nothing | {"OPENBLAS_NUM_THREADS": "1"}
        timed = commands(cache)
        samples: dict[str, list[float]] = {name: [] for name in timed}
        hand_over = []
        for turn in range(wanted.repeats + 1):
            for name, arguments in list(timed.items())[:: -1 if turn % 2 else 1]:
                started = time.perf_counter()
                subprocess.run(
                    [wanted.runtime, *arguments], check=True, capture_output=True, env=environment, cwd=folder
                )
                if turn:  # the first turn fills the file cache, and the other
                    samples[name].append(1e3 * (time.perf_counter() - started))
            hand_over.append(hand_over_ns())
        budgets: dict[str, list[dict[str, float]]] = {"compiled": [], "prepared": []}
        for turn in range(wanted.repeats):
            for way in list(budgets)[:: -1 if turn % 2 else 1]:
                kept = cache if way == "prepared" else ""
                budgets[way].append(steps(wanted.runtime, environment, kept, folder))
            hand_over.append(hand_over_ns())
    result = {
        "command": f"python -m benchmarks.speed.cold_start --repeats {wanted.repeats} --runtime PYTHON",
        "unit": "milliseconds, whole process",
        "machine": machine("openvino", "numpy", "opencv-python-headless", "typer"),
        "isa": instruction_set(),
        "bundle_sha256": open_bundle().sha256,
        "hand_over_ns": hand_over,
        "results": {name: spread(values) for name, values in samples.items()},
        "budgets": {
            way: {step: spread([one[step] for one in of]) for step in of[0]} for way, of in budgets.items()
        },
        "samples": samples,
    }
    for name, values in result["results"].items():
        quartiles = f"{values['quartile_1']:.0f} to {values['quartile_3']:.0f}"
        print(f"{name:<28} {values['median']:7.0f} ms  (quartiles {quartiles})")
    for way, budget in result["budgets"].items():
        print(way, {step: round(values["median"]) for step, values in budget.items()})
    print(write("cold_start", result))


if __name__ == "__main__":
    main()
