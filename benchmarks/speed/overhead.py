"""What does the runtime add to the network, once it runs?

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.speed.overhead [--rounds 200]

Times three things on the INT8 network of each shipped bundle in alternating rounds: OpenVINO's own `infer` on
the eight views of a prepared photo, the engine on the prepared photo, and a whole assessment of the decoded
example photo. What is added is the median over the rounds of the difference and of the ratio, each with a 95%
bootstrap interval. Writes benchmarks/speed/results/overhead.json.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

from benchmarks.environment import (
    EXAMPLE,
    hardware,
    parse_rounds,
    read_result,
    require_bundle,
    result,
    result_path,
    write_result,
)
from benchmarks.speed.rounds import paired_rounds, spread
from benchmarks.speed.runtime_process import assess_one, openvino
from benchmarks.tables import Table
from edgeskin.bundle.bundle import SHIPPED
from edgeskin.classifier import Classifier
from edgeskin.imaging.dihedral import views_of
from edgeskin.imaging.preprocess import preprocess
from edgeskin.photo.decode import load_photo

RESULT = result_path(__file__)
WARM_UP = 5


def main() -> None:
    """Measure, print and write the result."""
    rounds = parse_rounds(__doc__, 200)
    results: dict[str, Any] = {}
    hashes = {}
    for name in SHIPPED:
        classifier = Classifier(name)
        hashes[name] = classifier.bundle.sha256
        times = paired_rounds(runs(classifier), rounds, warm_up=WARM_UP)
        samples = {step: np.array(values) for step, values in times.items()}
        results[name] = {step: spread(values) for step, values in times.items()} | {
            f"{step} {how}": interval(values)
            for step in ("engine", "assessment")
            for how, values in (
                ("adds", samples[step] - samples["network"]),
                ("over network", samples[step] / samples["network"]),
            )
        }
        print(name, {step: round(values["median"], 3) for step, values in results[name].items()})
    write_result(
        RESULT,
        result(
            f"python -m benchmarks.speed.overhead --rounds {rounds}",
            *("openvino", "numpy", "opencv-python-headless"),
            unit="milliseconds, or ratios",
            lite_sha256=hashes["lite"],
            results=results,
        ),
    )


def runs(classifier: Classifier) -> dict[str, Callable[[], Any]]:
    """List what is timed of one bundle, by name."""
    settings = classifier.manifest.preprocessing
    photo = load_photo(EXAMPLE, settings.size).image
    prepared = preprocess(photo, settings)
    # Not pinned to cores, as in the engine.
    load = openvino("int8", ENABLE_CPU_PINNING=False)
    network = load(classifier.bundle.folder, classifier.engine.threads)
    views = np.ascontiguousarray(views_of(prepared, settings.views))
    return {
        "network": partial(network, views),
        "engine": partial(classifier.engine.infer, prepared),
        "assessment": partial(assess_one, classifier, photo),
    }


def interval(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """Compute the median of values (n,) and its 95% bootstrap interval."""
    found = bootstrap((values,), np.median, method="percentile", rng=0).confidence_interval
    return {"median": float(np.median(values)), "low": float(found.low), "high": float(found.high)}


def table() -> Table:
    """Render the result."""
    content = read_result(RESULT)
    require_bundle(RESULT, content["lite_sha256"], "lite")
    rows = [
        (
            bundle,
            f"{of['network']['median']:.1f}",
            *(
                f"{one['median']:.{digits}f} ({one['low']:.{digits}f} to {one['high']:.{digits}f})"
                for name in ("engine", "assessment")
                for one, digits in ((of[f"{name} adds"], 2), (of[f"{name} over network"], 3))
            ),
        )
        for bundle, of in content["results"].items()
    ]
    return Table(
        "Overhead of the runtime",
        "What the engine and a whole assessment of a decoded photo add to OpenVINO's own `infer`, INT8, "
        f"medians of paired rounds with 95% intervals. {hardware(content)}.",
        content["command"],
        (
            "bundle",
            "OpenVINO alone, ms",
            "engine adds, ms",
            "engine over OpenVINO",
            "assessment adds, ms",
            "assessment over OpenVINO",
        ),
        rows,
    )


if __name__ == "__main__":
    main()
