"""Does the answer stay the same when the lesion does?

    python -m benchmarks.robustness.invariance --data DIR [--bundle DIR] [--precision int8] [--images 400]

Photos of the validation split (as many cancers as benign lesions, drawn at random) are turned, stored anew,
lit otherwise and blurred; other photos of the same lesion, and full-size files of the same photo (most of
training lesions, none of test lesions), are compared where the table has them. For each: how far P(cancer)
moves, how many change sides of the screening threshold, and how many cancers are found.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.environment import machine, write
from benchmarks.robustness.repeatability import same_lesion
from edgeskin import Classifier
from edgeskin.arrays import Image
from edgeskin.errors import SettingError
from edgeskin.imaging.dihedral import DIHEDRAL, transform
from edgeskin.photo.decode import load_photo
from train.data.table import Sample, read_table, select
from train.input.augment import stored_as_jpeg

Floats = npt.NDArray[np.float64]


def main() -> None:
    """Measure, print and write benchmarks/results/invariance.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8")
    parser.add_argument("--images", type=int, default=400)
    wanted = parser.parse_args()
    classifier = Classifier(wanted.bundle, wanted.precision, quality_gate=False, scope_gate=False)
    manifest = classifier.manifest
    table = read_table(wanted.data, manifest.classes)
    threshold = manifest.variants[wanted.precision].operating_points[0].threshold

    def p_cancer(photo: Image) -> float:
        value = classifier.assess(photo).cancer_probability
        assert value is not None
        return value

    def read(sample: Sample) -> Image:
        return load_photo(sample.image, manifest.preprocessing.size).image

    chosen = _drawn(select(table, "val"), manifest.cancer_classes, wanted.images)
    is_cancer = np.array([sample.label in manifest.cancer_classes for sample in chosen])
    photos = [read(sample) for sample in chosen]
    before = np.array([p_cancer(photo) for photo in photos])
    results = {"as it is": _change(before, before, is_cancer, threshold)}
    for name, change in CHANGES.items():
        after = np.array([p_cancer(change(photo)) for photo in photos])
        results[name] = _change(before, after, is_cancer, threshold)
        print(name, results[name], flush=True)
    for name, pairs in (
        ("another photo of the lesion", same_lesion(select(table, "val"))),
        ("the full-size file", _originals(table)),
    ):
        if pairs:
            one, other = (
                np.array([p_cancer(read(sample)) for sample in side]) for side in zip(*pairs, strict=True)
            )
            cancers = np.array([sample.label in manifest.cancer_classes for sample, _ in pairs])
            results[name] = _change(one, other, cancers, threshold)
            print(name, results[name], flush=True)
    result = {
        "command": f"python -m benchmarks.robustness.invariance --data DIR --precision {wanted.precision} "
        f"--images {wanted.images}",
        "bundle": f"{manifest.name} {manifest.version}",
        "bundle_sha256": classifier.bundle.sha256,
        "threshold": threshold,
        "views": manifest.preprocessing.views,
        "machine": machine("openvino", "numpy", "opencv-python-headless"),
        "results": results,
    }
    print(write("invariance", result))


def _stored(quality: int) -> Callable[[Image], Image]:
    return lambda photo: stored_as_jpeg(photo, quality)


def _lit(gain: float) -> Callable[[Image], Image]:
    return lambda photo: np.clip(np.rint(photo * gain), 0, 255).astype(np.uint8)


def _blurred(sigma: float) -> Callable[[Image], Image]:
    return lambda photo: np.asarray(cv2.GaussianBlur(photo, (0, 0), sigma), dtype=np.uint8)


def _turned(view: int) -> Callable[[Image], Image]:
    return lambda photo: np.ascontiguousarray(transform(photo, view))


CHANGES: dict[str, Callable[[Image], Image]] = {
    **{f"dihedral view {view}": _turned(view) for view in range(1, DIHEDRAL)},
    **{f"JPEG quality {quality}": _stored(quality) for quality in (95, 75, 50, 30)},
    **{f"brightness x {gain}": _lit(gain) for gain in (0.7, 0.85, 1.15, 1.3)},
    **{f"blur of {sigma} pixels": _blurred(sigma) for sigma in (0.5, 1.0, 2.0)},
}


def _drawn(samples: list[Sample], cancer: tuple[str, ...], count: int) -> list[Sample]:
    """Half cancers, half not, from different lesions, in random order."""
    rng = np.random.default_rng(0)
    by_lesion = {samples[i].lesion_id: samples[i] for i in rng.permutation(len(samples))}
    sides: dict[bool, list[Sample]] = defaultdict(list)
    for sample in by_lesion.values():
        sides[sample.label in cancer].append(sample)
    half = count // 2
    if min(len(sides[True]), len(sides[False])) < half:
        raise SettingError(
            f"--images {count}: {len(sides[True])} cancers and {len(sides[False])} others there"
        )
    return sides[True][:half] + sides[False][:half]


def _originals(table: list[Sample]) -> list[tuple[Sample, Sample]]:
    """Copies and the full-size files that share their image id."""
    full = {s.image_id: s for s in table if s.split in ("original:train", "original:val")}
    return [(s, full[s.image_id]) for s in table if s.image_id in full and s is not full[s.image_id]]


def _change(
    before: Floats, after: Floats, is_cancer: npt.NDArray[np.bool_], threshold: float
) -> dict[str, Any]:
    moved = np.abs(after - before)
    flips = (before >= threshold) != (after >= threshold)
    return {
        "pairs": len(before),
        "median_change": float(np.median(moved)),
        "p95_change": float(np.quantile(moved, 0.95)),
        "largest_change": float(moved.max()),
        "decisions_changed": int(flips.sum()),
        "cancers": int(is_cancer.sum()),
        "cancers_found_before": int((before >= threshold)[is_cancer].sum()),
        "cancers_found_after": int((after >= threshold)[is_cancer].sum()),
        "benign_referred_before": int((before >= threshold)[~is_cancer].sum()),
        "benign_referred_after": int((after >= threshold)[~is_cancer].sum()),
    }


if __name__ == "__main__":
    main()
