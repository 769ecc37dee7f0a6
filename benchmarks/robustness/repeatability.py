"""How far do two photos of one lesion differ, and are photos of different lesions told apart?

    python -m benchmarks.robustness.repeatability --data DIR

Validation lesions of which there are several photos (the first two): the 95 % quantiles of what
`edgeskin.imaging.change` measures, which are its LIMITS, over the pairs that it compares: both assessed, one laid on
the other. How often is that, and how often for photos of different lesions of a class? When the photos of a
lesion were taken is not known. Then the second photo is changed, and laid on the first again: a dark spot
of a twentieth, a tenth and a fifth of the side painted into the lesion, or the lesion painted over: how many
are refused, how many get a flag?
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track

from benchmarks.environment import machine, write
from edgeskin import Classifier, EdgeskinError
from edgeskin.arrays import Image
from edgeskin.examination import Examination
from edgeskin.imaging.change import Comparison, compare
from edgeskin.imaging.registration import LEAST_CORRELATION
from edgeskin.imaging.segmentation import segment, skin_color
from train.data.table import Sample, read_table, select

Pair = tuple[Sample, Sample]


def main() -> None:
    """Measure, print and write benchmarks/results/repeatability.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    wanted = parser.parse_args()
    classifier = Classifier()
    samples = select(read_table(wanted.data, classifier.manifest.classes), "val")
    same = same_lesion(samples)
    pairs = [tuple(classifier.examine(one.image) for one in pair) for pair in track(same, "examining")]
    strange = [(pairs[place][0], pairs[other][1]) for place, other in enumerate(strangers(same))]
    laid = [found for pair in pairs if (found := _compared(*pair)) is not None]
    differences: dict[str, list[float]] = defaultdict(list)
    for found in laid:
        for change in found.changes:
            differences[change.name].append(abs(change.after - change.before))
    limits = {name: _quantiles(values) for name, values in sorted(differences.items())}
    result = {
        "command": "python -m benchmarks.robustness.repeatability --data DIR",
        "machine": machine("openvino", "numpy", "opencv-python-headless"),
        "bundle_sha256": classifier.model.sha256,
        "precision": classifier.model.precision,
        "pairs": len(pairs),
        "registration": {
            "least_correlation": LEAST_CORRELATION,
            "assessed": sum(_assessed(*pair) for pair in pairs),
            "same_lesion_accepted": len(laid),
            "other_lesion_accepted": sum(_compared(*pair) is not None for pair in strange),
        },
        "limits": limits,
        "changes": {
            name: _found(classifier, laid[:PAINTED], change, {key: of["limit"] for key, of in limits.items()})
            for name, change in CHANGES.items()
        },
    }
    print(result["changes"])
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


def spot(square: Image, side: float) -> Image:
    """A dark spot, as wide as a share of the square, in the middle of the lesion's right half."""
    mask = segment(square)
    rows, columns = np.nonzero(mask) if mask.any() else (np.array([64]), np.array([64]))
    ratio = len(square) / len(mask)
    center = (round(float(np.quantile(columns, 0.7)) * ratio), round(float(np.median(rows)) * ratio))
    radius = max(1, round(side * len(square) / 2))
    return np.asarray(cv2.circle(square.copy(), center, radius, (45, 25, 22), cv2.FILLED, cv2.LINE_AA))


def gone(square: Image) -> Image:
    """The lesion painted over in the colour of the skin, its edge feathered."""
    mask = segment(square).astype(np.uint8)
    wide = cv2.resize(cv2.dilate(mask, np.ones((9, 9), np.uint8)), square.shape[1::-1])
    share = cv2.GaussianBlur(wide.astype(np.float32), (0, 0), len(square) / 64)[..., None]
    return np.asarray(np.rint(square * (1 - share) + skin_color(square) * share), dtype=np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "spot of 5 %": partial(spot, side=0.05),
    "spot of 10 %": partial(spot, side=0.1),
    "spot of 20 %": partial(spot, side=0.2),
    "lesion painted over": gone,
}
PAINTED = 100


def _found(
    classifier: Classifier,
    laid: Sequence[Comparison],
    change: Callable[[Image], Image],
    limits: Mapping[str, float],
) -> dict[str, int]:
    """How many changed second photos are refused, and how many differ by more than a limit."""
    told = {"pairs": len(laid), "refused": 0, "flagged": 0, "by_color": 0}
    for one in laid:
        assert one.after.square is not None
        found = _compared(one.before, classifier.examine(change(one.after.square)))
        if found is None:
            told["refused"] += 1
            continue
        beyond = {each.name for each in found.changes if abs(each.after - each.before) > limits[each.name]}
        told["flagged"] += bool(beyond)
        told["by_color"] += "largest_color_difference" in beyond
    return told


def _assessed(one: Examination, other: Examination) -> bool:
    return one.assessment.status == other.assessment.status == "assessed"


def _compared(one: Examination, other: Examination) -> Comparison | None:
    """None where one was not assessed, or they cannot be laid on each other."""
    try:
        return compare(one, other)
    except EdgeskinError:
        return None


def _quantiles(values: list[float]) -> dict[str, Any]:
    middle, limit = np.quantile(values, (0.5, 0.95)).tolist()
    return {"median": middle, "limit": limit, "pairs": len(values)}


if __name__ == "__main__":
    main()
