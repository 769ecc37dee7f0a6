"""What do dropout samples cost beside the network's pass that they share?

    python -m benchmarks.speed.mc_dropout [--rounds 40]

Times the default bundle's network on one photo in all its views, and 30 and 100 samples of its head with
their summary, in alternating rounds. Published systems run the whole network once a sample. Writes
benchmarks/speed/results/mc_dropout.json.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.environment import (
    hardware,
    parse_rounds,
    read_result,
    result,
    result_path,
    write_result,
)
from benchmarks.speed.rounds import paired_rounds, spread
from benchmarks.tables import Table
from edgeskin.classifier import Classifier
from edgeskin.decision.mc_dropout import summarize
from edgeskin.results import Precision

RESULT = result_path(__file__)
SAMPLES = (30, 100)
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


def main() -> None:
    """Measure, print and write the result."""
    rounds = parse_rounds(__doc__, 40)
    results = {}
    for precision in PRECISIONS:
        classifier = Classifier(precision=precision)
        size = classifier.manifest.preprocessing.size
        image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        features = classifier.engine.infer(image).view_features[0]
        runs: dict[str, Callable[[], Any]] = {
            "network": partial(classifier.engine.infer, image),
            **{f"{samples} samples": partial(sample, classifier, features, samples) for samples in SAMPLES},
        }
        times = paired_rounds(runs, rounds, warm_up=3)
        results[precision] = {name: spread(values) for name, values in times.items()}
        for name, values in results[precision].items():
            print(f"{precision} {name:<12} {values['median']:7.2f} ms")
    write_result(
        RESULT,
        result(
            f"python -m benchmarks.speed.mc_dropout --rounds {rounds}",
            *("openvino", "numpy"),
            unit="milliseconds, one photo in all its views",
            results=results,
        ),
    )


def sample(classifier: Classifier, features: npt.NDArray[np.float32], samples: int) -> None:
    """Sample the head as an assessment does.

    Args:
        classifier: Whose head and rules are used.
        features: Of one photo's views, (V, F).
        samples: How many.
    """
    summarize(classifier.head.sample(features, samples, seed=0), 0, classifier.rules)


def table() -> Table:
    """Render the result."""
    content = read_result(RESULT)
    rows = []
    for precision, steps in content["results"].items():
        network = steps["network"]["median"]
        rows += [
            (
                f"{precision.upper()}, {name}",
                f"{network:.1f}",
                f"{step['median']:.1f}",
                f"{1 + step['median'] / network:.3f}",
            )
            for name, step in steps.items()
            if name != "network"
        ]
    return Table(
        "Dropout samples",
        "Milliseconds of the network on one photo, and of the dropout samples of its head. "
        f"{hardware(content)}.",
        content["command"],
        ("samples", "network, ms", "sampling, ms", "network and sampling over network"),
        rows,
    )


if __name__ == "__main__":
    main()
