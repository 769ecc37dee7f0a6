"""How far do two photos of one lesion differ, and are photos of different lesions refused?

    python -m benchmarks.robustness.repeatability --data DIR

Takes validation lesions with several photos (the first two of each) and compares them with
`edgeskin.imaging.change`. The 95% quantiles of what it measures, over the pairs that it aligns, are its
LIMITS. Counts how often photos of one lesion are aligned, and photos of different lesions of one class. When
the photos of a lesion were taken is not known. Then the second photo is changed (a dark spot of 5, 10 or 20%
of the side painted into the lesion, or the lesion painted over): how many pairs are refused, and how many get
a flag? Writes benchmarks/robustness/results/repeatability.json.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track

from benchmarks.environment import argument_parser, read_result, result, result_path, write_result
from benchmarks.tables import Table
from edgeskin import Classifier, EdgeskinError
from edgeskin.arrays import Image
from edgeskin.imaging.change import Comparison, compare_photos
from edgeskin.imaging.registration import LEAST_CORRELATION
from edgeskin.imaging.segmentation import segment, skin_color
from edgeskin.results import Assessment
from train.data.table import Sample, read_table, select

RESULT = result_path(__file__)
PAINTED = 100
Pair = tuple[Sample, Sample]


def spot(square: Image, side: float) -> Image:
    """Paint a dark spot into the middle of the lesion's right half.

    Args:
        square: Image (s, s, 3).
        side: The spot's width as a share of the square's side.
    """
    mask = segment(square)
    rows, columns = np.nonzero(mask) if mask.any() else (np.array([64]), np.array([64]))
    ratio = len(square) / len(mask)
    center = (round(float(np.quantile(columns, 0.7)) * ratio), round(float(np.median(rows)) * ratio))
    radius = max(1, round(side * len(square) / 2))
    return np.asarray(cv2.circle(square.copy(), center, radius, (45, 25, 22), cv2.FILLED, cv2.LINE_AA))


def paint_over(square: Image) -> Image:
    """Paint the lesion over in the colour of the skin, with a feathered edge."""
    mask = segment(square).astype(np.uint8)
    wide = cv2.resize(cv2.dilate(mask, np.ones((9, 9), np.uint8)), square.shape[1::-1])
    share = cv2.GaussianBlur(wide.astype(np.float32), (0, 0), len(square) / 64)[..., None]
    return np.asarray(np.rint(square * (1 - share) + skin_color(square) * share), dtype=np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "spot of 5%": partial(spot, side=0.05),
    "spot of 10%": partial(spot, side=0.1),
    "spot of 20%": partial(spot, side=0.2),
    "lesion painted over": paint_over,
}


def main() -> None:
    """Measure, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    classifier = Classifier()
    same = same_lesion(select(read_table(options.data, classifier.manifest.classes), "val"))
    pairs = [
        tuple(classifier.assess(one.image, explain="grad-cam") for one in pair)
        for pair in track(same, "assessing")
    ]
    others = [(pairs[place][0], pairs[other][1]) for place, other in enumerate(other_lesion(same))]
    aligned = [found for pair in pairs if (found := compared(*pair)) is not None]
    differences: dict[str, list[float]] = defaultdict(list)
    for found in aligned:
        for change in found.changes:
            differences[change.name].append(abs(change.after - change.before))
    limits = {name: quantiles(values) for name, values in sorted(differences.items())}
    by_measure = {name: of["limit"] for name, of in limits.items()}
    content = result(
        "python -m benchmarks.robustness.repeatability --data DIR",
        *("openvino", "numpy", "opencv-python-headless"),
        precision=classifier.model.precision,
        pairs=len(pairs),
        registration={
            "least_correlation": LEAST_CORRELATION,
            "assessed": sum(both_assessed(*pair) for pair in pairs),
            "same_lesion_accepted": len(aligned),
            "other_lesion_accepted": sum(compared(*pair) is not None for pair in others),
        },
        limits=limits,
        changes={
            name: detected(classifier, aligned[:PAINTED], change, by_measure)
            for name, change in CHANGES.items()
        },
    )
    for render in (limits_table, registration_table, changes_table):
        print(render(content).grid(), end="\n\n")
    write_result(RESULT, content)


def same_lesion(samples: Sequence[Sample]) -> list[Pair]:
    """Pair the first two photos of each lesion that has two."""
    lesions: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        lesions[sample.lesion_id].append(sample)
    return [(photos[0], photos[1]) for photos in lesions.values() if len(photos) > 1]


def other_lesion(pairs: Sequence[Pair]) -> list[int]:
    """Return for each pair the place of the next pair of its class; if it is alone, of the next pair."""
    by_class: dict[str, list[int]] = defaultdict(list)
    for place, (one, _) in enumerate(pairs):
        by_class[one.label].append(place)
    following = {
        place: after if after != place else (place + 1) % len(pairs)
        for places in by_class.values()
        for place, after in zip(places, [*places[1:], places[0]], strict=True)
    }
    return [following[place] for place in range(len(pairs))]


def detected(
    classifier: Classifier,
    aligned: Sequence[Comparison],
    change: Callable[[Image], Image],
    limits: Mapping[str, float],
) -> dict[str, int]:
    """Count the changed second photos that are refused, and those that differ by more than a limit."""
    counts = {"pairs": len(aligned), "refused": 0, "flagged": 0, "by_color": 0}
    for one in aligned:
        assert one.after.pixels is not None
        changed = classifier.assess(change(one.after.pixels.square), explain="grad-cam")
        found = compared(one.before, changed)
        if found is None:
            counts["refused"] += 1
            continue
        beyond = {each.name for each in found.changes if abs(each.after - each.before) > limits[each.name]}
        counts["flagged"] += bool(beyond)
        counts["by_color"] += "largest_color_difference" in beyond
    return counts


def both_assessed(one: Assessment, other: Assessment) -> bool:
    """Return whether both photos were assessed."""
    return one.status == other.status == "assessed"


def compared(one: Assessment, other: Assessment) -> Comparison | None:
    """Compare two photos; None if one was not assessed, or if they cannot be aligned."""
    try:
        return compare_photos(one, other)
    except EdgeskinError:
        return None


def quantiles(values: Sequence[float]) -> dict[str, Any]:
    """Compute the median and the 95% quantile."""
    middle, limit = np.quantile(values, (0.5, 0.95)).tolist()
    return {"median": middle, "limit": limit, "pairs": len(values)}


def limits_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the differences of a result, the committed one by default."""
    content = content or read_result(RESULT)
    return Table(
        "Two photos of one lesion",
        "How far what `edgeskin compare` measures differs between two aligned validation photos of one "
        "lesion. The 95% quantile is the limit beyond which a difference is flagged.",
        content["command"],
        ("difference in", "pairs", "median", "95%: the limit"),
        [
            (name.replace("_", " "), str(of["pairs"]), f"{of['median']:.3g}", f"{of['limit']:.3g}")
            for name, of in content["limits"].items()
        ],
    )


def registration_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the aligned pairs of a result, the committed one by default."""
    content = content or read_result(RESULT)
    pairs, of = content["pairs"], content["registration"]
    counts = {
        "one lesion, both assessed": of["assessed"],
        "one lesion, aligned": of["same_lesion_accepted"],
        "two lesions of one class, aligned": of["other_lesion_accepted"],
    }
    return Table(
        "Alignment of two photos",
        "How many pairs of validation photos `edgeskin compare` accepts.",
        content["command"],
        ("two photos of", "pairs", "accepted"),
        [(name, str(pairs), f"{count} ({count / pairs:.1%})") for name, count in counts.items()],
    )


def changes_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the painted changes of a result, the committed one by default."""
    content = content or read_result(RESULT)
    return Table(
        "Painted changes",
        "What `edgeskin compare` finds once the second photo of an aligned pair is changed: refused pairs, "
        "pairs with a flag, and pairs flagged for colour.",
        content["command"],
        ("painted into the second photo", "pairs", "refused", "flagged", "flagged for colour"),
        [
            (name, str(of["pairs"]), str(of["refused"]), str(of["flagged"]), str(of["by_color"]))
            for name, of in content["changes"].items()
        ],
    )


if __name__ == "__main__":
    main()
