"""Does the answer stay the same when the photo changes and the lesion does not?

    python -m benchmarks.robustness.invariance --data DIR [--bundle DIR] [--precision int8] [--images 400]

Photos of the validation split (half of them cancers, of different lesions, drawn at random) are rotated and
mirrored, compressed, brightened and blurred. Other photos of the same lesion, and full-size files of the same
photo (mostly of training lesions, none of test lesions), are compared where the table has them. Measured for
each change: how far P(cancer) moves, how many decisions change at the screening threshold, and how many
cancers are found. Writes benchmarks/robustness/results/invariance.json.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.environment import argument_parser, read_result, result, result_path, write_result
from benchmarks.robustness.repeatability import same_lesion
from benchmarks.speed.runtime_process import assess_one
from benchmarks.tables import Table
from edgeskin import Classifier
from edgeskin.arrays import Image
from edgeskin.errors import SettingError
from edgeskin.imaging.dihedral import DIHEDRAL, transform
from edgeskin.photo.decode import load_photo
from train.data.table import Sample, read_table, select
from train.input.augment import stored_as_jpeg

RESULT = result_path(__file__)
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def transformed(photo: Image, number: int) -> Image:
    """Rotate and mirror a photo by a dihedral transform."""
    return np.ascontiguousarray(transform(photo, number))


def brightened(photo: Image, gain: float) -> Image:
    """Multiply a photo by a gain."""
    return np.asarray(np.clip(np.rint(photo * gain), 0, 255), dtype=np.uint8)


def blurred(photo: Image, sigma: float) -> Image:
    """Blur a photo by a Gaussian of sigma pixels."""
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), sigma), dtype=np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    **{f"dihedral transform {number}": partial(transformed, number=number) for number in range(1, DIHEDRAL)},
    **{f"JPEG quality {quality}": partial(stored_as_jpeg, quality=quality) for quality in (95, 75, 50, 30)},
    **{f"brightness x {gain}": partial(brightened, gain=gain) for gain in (0.7, 0.85, 1.15, 1.3)},
    **{f"blur of {sigma} pixels": partial(blurred, sigma=sigma) for sigma in (0.5, 1.0, 2.0)},
}


def main() -> None:
    """Measure, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8")
    parser.add_argument("--images", type=int, default=400)
    options = parser.parse_args()
    classifier = Classifier(options.bundle, options.precision, quality_gate=False, scope_gate=False)
    manifest = classifier.manifest
    photos = read_table(options.data, manifest.classes)
    threshold = manifest.decision_rules[options.precision].operating_points[0].threshold

    def p_cancer(images: Sequence[Image]) -> Float64s:
        return np.array([assess_one(classifier, image) for image in images])

    def read(samples: Sequence[Sample]) -> list[Image]:
        return [load_photo(sample.image, manifest.preprocessing.size).image for sample in samples]

    def is_cancer(samples: Sequence[Sample]) -> Bools:
        return np.array([sample.label in manifest.cancer_classes for sample in samples])

    val = select(photos, "val")
    chosen = half_cancers(val, manifest.cancer_classes, options.images)
    images = read(chosen)
    before = p_cancer(images)
    compared = {"unchanged": (before, before, is_cancer(chosen))}
    for name, change in CHANGES.items():
        compared[name] = (before, p_cancer([change(image) for image in images]), is_cancer(chosen))
    for name, pairs in (
        ("another photo of the lesion", same_lesion(val)),
        ("full-size file", full_size_pairs(photos)),
    ):
        if pairs:
            first, second = ([pair[side] for pair in pairs] for side in (0, 1))
            compared[name] = (p_cancer(read(first)), p_cancer(read(second)), is_cancer(first))
    content = result(
        f"python -m benchmarks.robustness.invariance --data DIR --precision {options.precision} "
        f"--images {options.images}",
        *("openvino", "numpy", "opencv-python-headless"),
        bundle=f"{manifest.name} {manifest.version}",
        threshold=threshold,
        views=manifest.preprocessing.views,
        results={name: effect(*values, threshold) for name, values in compared.items()},
    ) | {"bundle_sha256": classifier.bundle.sha256}
    for name, values in content["results"].items():
        print(name, values)
    write_result(RESULT, content)


def half_cancers(samples: Sequence[Sample], cancer: Sequence[str], count: int) -> list[Sample]:
    """Draw samples of different lesions at random, half of them cancers.

    Raises:
        SettingError: There are too few.
    """
    rng = np.random.default_rng(0)
    by_lesion = {samples[i].lesion_id: samples[i] for i in rng.permutation(len(samples))}
    sides: dict[bool, list[Sample]] = defaultdict(list)
    for sample in by_lesion.values():
        sides[sample.label in cancer].append(sample)
    half = count // 2
    if min(len(sides[True]), len(sides[False])) < half:
        raise SettingError(
            f"--images {count}: there are {len(sides[True])} cancers and {len(sides[False])} benign lesions"
        )
    return sides[True][:half] + sides[False][:half]


def full_size_pairs(samples: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Pair samples with the full-size files of the same image id, those of test lesions left out."""
    full = {s.image_id: s for s in samples if s.split in ("original:train", "original:val")}
    return [(s, full[s.image_id]) for s in samples if s.image_id in full and s is not full[s.image_id]]


def effect(before: Float64s, after: Float64s, is_cancer: Bools, threshold: float) -> dict[str, Any]:
    """Count what a change does to n answers.

    Args:
        before: P(cancer) of each photo, (n,).
        after: And of the changed photo, (n,).
        is_cancer: The truth, (n,).
        threshold: From which on a photo is referred.
    """
    moved = np.abs(after - before)
    referred_before, referred_after = before >= threshold, after >= threshold
    return {
        "pairs": len(before),
        "median_change": float(np.median(moved)),
        "p95_change": float(np.quantile(moved, 0.95)),
        "largest_change": float(moved.max()),
        "decisions_changed": int((referred_before != referred_after).sum()),
        "cancers": int(is_cancer.sum()),
        "cancers_found_before": int(referred_before[is_cancer].sum()),
        "cancers_found_after": int(referred_after[is_cancer].sum()),
        "benign_referred_before": int(referred_before[~is_cancer].sum()),
        "benign_referred_after": int(referred_after[~is_cancer].sum()),
    }


def table() -> Table:
    """Render the result."""
    content = read_result(RESULT)
    rows = [
        (
            name,
            str(one["pairs"]),
            f"{one['median_change']:.3f}, {one['p95_change']:.3f}, {one['largest_change']:.3f}",
            str(one["decisions_changed"]),
            f"{one['cancers_found_before']} and {one['cancers_found_after']} of {one['cancers']}",
            f"{one['benign_referred_before']} and {one['benign_referred_after']} of "
            f"{one['pairs'] - one['cancers']}",
        )
        for name, one in content["results"].items()
    ]
    return Table(
        "Same lesion, changed photo",
        "How far P(cancer) of the default bundle (INT8) moves when a validation photo is changed, or "
        "replaced by another photo or file of the same lesion.",
        content["command"],
        (
            "change",
            "pairs",
            "change of P(cancer): median, 95%, largest",
            "decisions changed",
            "cancers found before and after",
            "benign referred before and after",
        ),
        rows,
    )


if __name__ == "__main__":
    main()
