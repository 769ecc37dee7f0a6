"""What do dropout samples cost beside the pass of the network that they share?

    python -m benchmarks.speed.mc_dropout [--rounds 40]

Times the default bundle's network in all its views, and after it the sampling of its head with 30 and 100
samples (their summary included), in turn on one picture. The published systems run the whole network once a
sample.
"""

import argparse
import time

import numpy as np

from benchmarks.environment import machine, spread, write
from edgeskin.bundle.bundle import open_bundle
from edgeskin.classifier import Classifier
from edgeskin.decision.mc_dropout import summarize

SAMPLES = (30, 100)


def main() -> None:
    """Measure, print and write benchmarks/results/mc_dropout.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    results = {}
    for precision in ("fp32", "int8"):
        classifier = Classifier(precision=precision)
        manifest = classifier.manifest
        size = manifest.preprocessing.size
        image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        told = (manifest.variants[precision].calibration, manifest.classes, manifest.cancer_classes)
        times: dict[str, list[float]] = {"network": [], **{f"{n} samples": [] for n in SAMPLES}}
        for turn in range(rounds + 3):
            started = time.perf_counter()
            features = classifier.engine.infer(image).features
            steps = {"network": time.perf_counter() - started}
            for samples in SAMPLES:
                started = time.perf_counter()
                summarize(classifier.head.sample(features, samples, seed=turn), turn, *told)
                steps[f"{samples} samples"] = time.perf_counter() - started
            if turn >= 3:  # the first turns warm up
                for name, seconds in steps.items():
                    times[name].append(1e3 * seconds)
        results[precision] = {name: spread(values) for name, values in times.items()}
        network = results[precision]["network"]["median"]
        for name, values in results[precision].items():
            print(f"{precision} {name:<12} {values['median']:7.2f} ms  {values['median'] / network:.3f}")
    path = write(
        "mc_dropout",
        {
            "command": f"python -m benchmarks.speed.mc_dropout --rounds {rounds}",
            "unit": "milliseconds, one picture in all its views",
            "machine": machine("openvino", "numpy"),
            "bundle_sha256": open_bundle().sha256,
            "results": results,
        },
    )
    print(path)


if __name__ == "__main__":
    main()
