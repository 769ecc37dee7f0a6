"""Where do the milliseconds of one report go, after the start?

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.speed.latency_breakdown [--rounds 40]

The example picture, with the default bundle in both precisions in turn and 30 dropout samples: what
``Assessment.timing_ms`` tells of each step, and the making of the HTML from it, pictures included. numpy
with one thread, as the command line has it.
"""

import argparse
import time
from datetime import datetime
from pathlib import Path
from typing import get_args

from benchmarks.environment import blas, machine, spread, write
from edgeskin.bundle.bundle import Precision, open_bundle
from edgeskin.classifier import Classifier
from edgeskin.report.html import render

PICTURE = Path(__file__).parents[2] / "examples" / "lesion.jpg"
SAMPLES = 30
BLOCK, WARM_UP = 10, 3


def main() -> None:
    """Measure, print and write benchmarks/results/steps.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    times: dict[str, list[dict[str, float]]] = {"int8": [], "fp32": []}
    for turn in range(rounds // BLOCK):
        for precision in get_args(Precision):
            # One at a time, as a kiosk has it: two networks push each other out of the cache.
            classifier = Classifier(precision=precision)
            for place in range(-WARM_UP, BLOCK):
                found = classifier.examine(PICTURE, mc_samples=SAMPLES, seed=turn)
                begun = time.perf_counter()
                render(found, datetime.now())
                html = 1e3 * (time.perf_counter() - begun)
                told = dict(found.assessment.timing_ms)
                examined = told.pop("total")
                if place >= 0:
                    times[precision].append(told | {"HTML": html, "total": examined + html})
    results = {
        precision: {step: spread([one[step] for one in of]) for step in of[0]}
        for precision, of in times.items()
    }
    for precision, steps in results.items():
        for step, values in steps.items():
            print(f"{precision} {step:<12} {values['median']:7.2f} ms")
    path = write(
        "steps",
        {
            "command": f"{blas()}python -m benchmarks.speed.latency_breakdown --rounds {rounds}",
            "unit": "milliseconds, one picture in all its views",
            "machine": machine("openvino", "numpy", "opencv-python-headless"),
            "bundle_sha256": open_bundle().sha256,
            "results": results,
        },
    )
    print(path)


if __name__ == "__main__":
    main()
