"""Where do the milliseconds of one report go in a running process?

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.speed.latency_breakdown [--rounds 4]

Assesses and explains the example photo with 30 dropout samples, renders the HTML report, and collects
`Assessment.timing_ms`. The default bundle's two precisions alternate; a round is ten photos of each. Numpy
has one thread, as in the command line. Writes benchmarks/speed/results/latency_breakdown.json.
"""

from datetime import datetime
from functools import partial
from typing import get_args

from benchmarks.environment import (
    EXAMPLE,
    hardware,
    parse_rounds,
    read_result,
    result,
    result_path,
    write_result,
)
from benchmarks.speed.rounds import alternate, laps, spread
from benchmarks.tables import Table
from edgeskin.classifier import Classifier
from edgeskin.report.html import render_html
from edgeskin.results import Precision

RESULT = result_path(__file__)
SAMPLES = 30
WARM_UP, PHOTOS = 3, 10


def main() -> None:
    """Measure, print and write the result."""
    rounds = parse_rounds(__doc__, 4)
    times: dict[str, list[dict[str, float]]] = {"int8": [], "fp32": []}
    for number, precision in alternate(get_args(Precision), rounds):
        # One network at a time, as in use: two would evict each other from the CPU's caches.
        classifier = Classifier(precision=precision)
        for place in range(-WARM_UP, PHOTOS):
            explained = classifier.assess(EXAMPLE, explain="grad-cam", mc_samples=SAMPLES, seed=number)
            (html,) = laps(partial(render_html, explained, datetime.now()), 1)
            steps = dict(explained.timing_ms)
            total = steps.pop("total") + html
            if place >= 0:
                times[precision].append(steps | {"HTML": html, "total": total})
    results = {
        precision: {step: spread([one[step] for one in of]) for step in of[0]}
        for precision, of in times.items()
    }
    for precision, by_step in results.items():
        for step, values in by_step.items():
            print(f"{precision} {step:<12} {values['median']:7.2f} ms")
    write_result(
        RESULT,
        result(
            f"python -m benchmarks.speed.latency_breakdown --rounds {rounds}",
            *("openvino", "numpy", "opencv-python-headless"),
            unit="milliseconds, one photo in all its views",
            results=results,
        ),
    )


def table() -> Table:
    """Render the result."""
    content = read_result(RESULT)
    results = content["results"]
    return Table(
        "Steps of one report",
        "Milliseconds of each step of assessing, explaining and reporting one photo in a running process, "
        f"with {SAMPLES} dropout samples; medians. {hardware(content)}.",
        content["command"],
        ("step", *(f"{precision.upper()}, ms" for precision in results)),
        [(step, *(f"{of[step]['median']:.2f}" for of in results.values())) for step in results["int8"]],
    )


if __name__ == "__main__":
    main()
