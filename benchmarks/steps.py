"""Where do the milliseconds of one report go, after the start?

    python -m benchmarks.steps [--rounds 40]

The example picture, with the default bundle in both precisions in turn and 30 dropout samples: what
``Assessment.timing_ms`` tells of each step, and the making of the HTML from it, pictures included.
"""

import argparse
import time
from datetime import datetime
from pathlib import Path

from benchmarks.machine import machine, spread, write
from edgeskin.bundle import open_bundle
from edgeskin.classifier import Classifier
from edgeskin.report import render

PICTURE = Path(__file__).parents[1] / "examples" / "lesion.jpg"
SAMPLES = 30


def main() -> None:
    """Measure, print and write benchmarks/results/steps.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    classifiers = {precision: Classifier(precision=precision) for precision in ("int8", "fp32")}
    times: dict[str, list[dict[str, float]]] = {precision: [] for precision in classifiers}
    for turn in range(rounds + 3):
        for precision, classifier in classifiers.items():
            found = classifier.examine(PICTURE, mc_samples=SAMPLES, seed=turn)
            begun = time.perf_counter()
            render(found, datetime.now())
            told = dict(found.assessment.timing_ms)
            examined = told.pop("total")
            html = 1e3 * (time.perf_counter() - begun)
            if turn >= 3:  # the first turns warm up
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
            "command": f"python -m benchmarks.steps --rounds {rounds}",
            "unit": "milliseconds, one picture in all its views",
            "machine": machine("openvino", "numpy", "opencv-python-headless"),
            "bundle_sha256": open_bundle().sha256,
            "results": results,
        },
    )
    print(path)


if __name__ == "__main__":
    main()
