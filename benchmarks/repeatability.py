"""How far do two photos of one lesion differ, and are photos of different lesions told apart?

    python -m benchmarks.repeatability --data DIR

Validation lesions of which there are several photos (the first two): the 95 % quantiles of what
`edgeskin.compare` measures, which are its LIMITS. Each first photo is laid on the second, and on a photo of
another lesion of the same class: how often is that refused? The photos of a lesion were mostly taken on one
day, from other distances, so a limit holds the camera and the hand, not weeks of growth.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, write
from edgeskin import Classifier
from edgeskin.compare import color_difference, measures
from edgeskin.examination import Examination
from edgeskin.registration import LEAST_CORRELATION, RegistrationError, register
from train.data import Sample, read_table, select

Pair = tuple[Sample, Sample]


def main() -> None:
    """Measure, print and write benchmarks/results/repeatability.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    wanted = parser.parse_args()
    classifier = Classifier(quality_gate=False, scope_gate=False)
    samples = select(read_table(wanted.data, classifier.manifest.classes), "val")
    same = same_lesion(samples)
    pairs = [(classifier.examine(one.image), classifier.examine(other.image)) for one, other in same]
    differences: dict[str, list[float]] = defaultdict(list)
    for one, other in pairs:
        first, second = measures(one), measures(other)
        for name in first.keys() & second.keys():
            differences[name].append(abs(second[name] - first[name]))
    accepted = [_difference(*pair) for pair in pairs]
    differences["color_difference"] = [value for value in accepted if value is not None]
    others = [_difference(pairs[place][0], pairs[other][1]) for place, other in enumerate(strangers(same))]
    result = {
        "command": "python -m benchmarks.repeatability --data DIR",
        "machine": machine("openvino", "numpy", "opencv-python-headless"),
        "bundle_sha256": classifier.model.sha256,
        "model": f"{classifier.model.name} {classifier.model.version} {classifier.model.precision}",
        "pairs": len(pairs),
        "registration": {
            "least_correlation": LEAST_CORRELATION,
            "same_lesion_accepted": sum(value is not None for value in accepted),
            "other_lesion_accepted": sum(value is not None for value in others),
        },
        "limits": {name: _quantiles(values) for name, values in sorted(differences.items())},
    }
    for name, values in result["limits"].items():
        print(
            f"{name:<20} median {values['median']:.4g}, 95 % {values['limit']:.4g} of {values['pairs']} pairs"
        )
    print(result["registration"])
    print(write("repeatability", result))


def same_lesion(samples: Sequence[Sample]) -> list[Pair]:
    """The first two photos of each lesion that has two."""
    lesions: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        lesions[sample.lesion_id].append(sample)
    return [(photos[0], photos[1]) for photos in lesions.values() if len(photos) > 1]


def strangers(pairs: Sequence[Pair]) -> list[int]:
    """For each pair the place of the next pair of its class; where it is alone, of the next pair."""
    by_class: dict[str, list[int]] = defaultdict(list)
    for place, (one, _) in enumerate(pairs):
        by_class[one.label].append(place)
    following = {
        place: after if after != place else (place + 1) % len(pairs)
        for places in by_class.values()
        for place, after in zip(places, [*places[1:], places[0]], strict=True)
    }
    return [following[place] for place in range(len(pairs))]


def _difference(one: Examination, other: Examination) -> float | None:
    """Mean difference of colour once the second is laid on the first; None where that is refused."""
    assert one.square is not None
    assert other.square is not None
    try:
        registration = register(one.square, other.square)
    except RegistrationError:
        return None
    return float(np.nanmean(color_difference(one.square, other.square, registration)))


def _quantiles(values: list[float]) -> dict[str, Any]:
    middle, limit = np.quantile(values, (0.5, 0.95)).tolist()
    return {"median": middle, "limit": limit, "pairs": len(values)}


if __name__ == "__main__":
    main()
