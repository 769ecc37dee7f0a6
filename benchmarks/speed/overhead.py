"""What does the runtime add to the raw network, once it runs?

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.speed.overhead [--rounds 200]

On one compiled network of each shipped bundle in INT8, in turn: OpenVINO's bare ``infer`` on batches that
lie in its input already, the engine on a prepared picture (its eight views laid into that input, the outputs
copied out) and a whole assessment of the example as an array, without decoding. A round is one of each; what
is added, in milliseconds and as a ratio, is the median of what rounds say, with a 95 % bootstrap interval. A
ratio is the smaller the slower the machine: milliseconds compare better.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

from benchmarks.environment import blas, machine, spread, write
from benchmarks.example import EXAMPLE
from benchmarks.speed.hand_over import hand_over_ns
from benchmarks.speed.runtime_process import answered
from edgeskin.bundle.bundle import SHIPPED
from edgeskin.classifier import Classifier
from edgeskin.imaging.preprocess import preprocess
from edgeskin.network.engine import instruction_set
from edgeskin.photo.decode import load_photo

WARM_UP = 5


def bare(classifier: Classifier) -> Callable[[], None]:
    """Runs the engine's own requests as often as one picture in its views needs them."""
    engine = classifier.engine
    chain = engine._free.get()
    engine._free.put(chain)
    batches = classifier.manifest.preprocessing.views // chain[0].get_input_tensor().shape[0]

    def run() -> None:
        for _ in range(batches):
            for request in chain:
                request.infer(share_outputs=True)

    return run


def median(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """With its 95 % interval."""
    interval = bootstrap((values,), np.median, method="percentile", rng=0).confidence_interval
    return {"median": float(np.median(values)), "low": float(interval.low), "high": float(interval.high)}


def main() -> None:
    """Measure, print and write benchmarks/results/overhead.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    results: dict[str, Any] = {}
    hashes, hand_over = {}, []
    for bundle in SHIPPED:
        classifier = Classifier(bundle)
        hashes[bundle] = classifier.bundle.sha256
        settings = classifier.manifest.preprocessing
        photo = load_photo(EXAMPLE, settings.size).image
        prepared = preprocess(photo, settings)
        steps: dict[str, Callable[[], Any]] = {
            "network": bare(classifier),
            "engine": lambda classifier=classifier, prepared=prepared: classifier.engine.infer(prepared),
            "assessment": lambda classifier=classifier, photo=photo: answered(classifier.assess(photo)),
        }
        times: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(WARM_UP + rounds):
            if turn % 11 == 0:
                hand_over.append(hand_over_ns())
            for name in list(steps)[:: -1 if turn % 2 else 1]:
                started = time.perf_counter()
                steps[name]()
                if turn >= WARM_UP:
                    times[name].append(1e3 * (time.perf_counter() - started))
        network = np.array(times["network"])
        results[bundle] = {name: spread(values) for name, values in times.items()} | {
            f"{name} {how}": median(values)
            for name in ("engine", "assessment")
            for how, values in (
                ("adds", np.array(times[name]) - network),
                ("over network", np.array(times[name]) / network),
            )
        }
        del steps, classifier
        print(bundle, {name: round(values["median"], 3) for name, values in results[bundle].items()})
    result = {
        "command": f"{blas()}python -m benchmarks.speed.overhead --rounds {rounds}",
        "unit": "milliseconds, or as told",
        "machine": machine("openvino", "numpy", "opencv-python-headless"),
        "isa": instruction_set(),
        "bundle_sha256": hashes["default"],
        "lite_sha256": hashes["lite"],
        "hand_over_ns": hand_over,
        "results": results,
    }
    print(write("overhead", result))


if __name__ == "__main__":
    main()
