"""How many views should the engine run at once?

    python -m benchmarks.speed.batches [--rounds 40]

Times the default bundle's network on one picture in all its views, by one, two, four and eight, in turn.
"""

import argparse
import time

import numpy as np

from benchmarks.environment import machine, spread, write
from edgeskin.bundle.bundle import open_bundle
from edgeskin.network import engine

AT_ONCE = (1, 2, 4, 8)


def main() -> None:
    """Measure, print and write benchmarks/results/batches.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    bundle = open_bundle()
    settings = bundle.manifest.preprocessing
    shape = (settings.size, settings.size, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    results = {}
    for precision in ("int8", "fp32"):
        engines = {}
        for number in AT_ONCE:
            engine.VIEWS_AT_ONCE = number
            engines[number] = engine.Engine(bundle.ir(precision), views=settings.views)
        times: dict[int, list[float]] = {number: [] for number in AT_ONCE}
        for turn in range(rounds + 3):
            for number, compiled in engines.items():
                started = time.perf_counter()
                compiled.infer(image)
                if turn >= 3:  # the first turns warm up
                    times[number].append(1e3 * (time.perf_counter() - started))
        results[precision] = {str(number): spread(values) for number, values in times.items()}
        for number, values in results[precision].items():
            print(f"{precision} by {number}: {values['median']:7.2f} ms")
    result = {
        "command": f"python -m benchmarks.speed.batches --rounds {rounds}",
        "unit": f"milliseconds, one picture in {settings.views} views, by views at once",
        "machine": machine("openvino", "numpy"),
        "bundle_sha256": bundle.sha256,
        "results": results,
    }
    print(write("batches", result))


if __name__ == "__main__":
    main()
