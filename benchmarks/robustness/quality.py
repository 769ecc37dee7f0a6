"""Whom does the quality gate turn away? On real pictures, and on pictures spoilt on purpose.

    python -m benchmarks.robustness.quality --data DIR [--spoilt 200]

Of each source: the share turned away, and the share advised on. Of validation: the cancers turned away, and
the default bundle's cancer recall (INT8, from benchmarks/results/val-int8) among the others. Of some pictures
of validation, spoilt by blur, light and size: the share turned away. And what the gate costs.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track

from benchmarks.environment import RESULTS, machine, spread, write
from edgeskin.arrays import Image
from edgeskin.bundle.bundle import open_bundle
from edgeskin.imaging.preprocess import resize
from edgeskin.imaging.quality import LIMITS, Quality, assess_quality
from edgeskin.photo.decode import Photo, load_photo
from quantize.fitting.rules import labels_of
from quantize.ptq import stratified
from train.data.table import SPLITS, Sample, read_table, select
from train.evaluate import report

SPOILT: dict[str, Callable[[Image], Image]] = {
    "as it is": lambda image: image,
    "blurred by 1 % of the side": lambda image: _blurred(image, 0.01),
    "blurred by 2 %": lambda image: _blurred(image, 0.02),
    "blurred by 4 %": lambda image: _blurred(image, 0.04),
    "a fifth of the light": lambda image: (image * 0.2).astype(np.uint8),
    "twice the light": lambda image: np.clip(image * 2.0, 0, 255).astype(np.uint8),
    "100 px": lambda image: resize(image, 100),
}


def main() -> None:
    """Measure, print and write benchmarks/results/quality.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--spoilt", type=int, default=200)
    wanted = parser.parse_args()
    bundle = open_bundle()
    size = bundle.manifest.preprocessing.size
    table = read_table(wanted.data, bundle.manifest.classes)
    val = select(table, "val")
    groups = {"val": val}
    for sample in table:
        if sample.split not in SPLITS:
            groups.setdefault(f"{sample.split}: {sample.source}", []).append(sample)
    judged = {
        name: [assess_quality(load_photo(sample.image, size)) for sample in track(samples, name)]
        for name, samples in groups.items()
    }
    pictures = [load_photo(s.image, size).image for s in stratified(val, seed=0)[: wanted.spoilt]]
    spoilt = {
        name: float(np.mean([bool(assess_quality(_photo(spoil(picture))).retake) for picture in pictures]))
        for name, spoil in SPOILT.items()
    }
    result = {
        "command": f"python -m benchmarks.robustness.quality --data DIR --spoilt {wanted.spoilt}",
        "machine": machine("opencv-python-headless", "numpy"),
        "bundle_sha256": bundle.sha256,
        "limits": [[limit.measure, limit.kind, str(limit.low), str(limit.high)] for limit in LIMITS],
        "milliseconds": spread([_milliseconds(_photo(picture)) for picture in pictures]),
        "sources": {name: _shares(told) for name, told in judged.items()},
        "val": _cancers(val, judged["val"]),
        "spoilt": spoilt,
    }
    for name, one in result["sources"].items():
        print(f"{name:<32}{one['images']:6}, {one['retake']:.4f} turned away, {one['advice']:.4f} advised on")
    print(result["milliseconds"], result["val"], result["spoilt"], sep="\n")
    print(write("quality", result))


def _cancers(samples: Sequence[Sample], told: Sequence[Quality]) -> dict[str, float]:
    provenance, predictions = report.read(RESULTS / "val-int8")
    labels = labels_of(predictions.samples, provenance.classes, provenance.cancer)
    assert provenance.calibration is not None
    found = labels.p_cancer(predictions.logits, provenance.calibration) >= provenance.threshold
    accepted = {sample.image_id: not one.retake for sample, one in zip(samples, told, strict=True)}
    kept = np.array([accepted[image_id] for image_id in labels.image_ids])
    return {
        "cancers": int(labels.is_cancer.sum()),
        "cancers_turned_away": int((labels.is_cancer & ~kept).sum()),
        "recall": float(found[labels.is_cancer].mean()),
        "recall_among_accepted": float(found[labels.is_cancer & kept].mean()),
    }


def _shares(told: Sequence[Quality]) -> dict[str, Any]:
    said = Counter(instruction for one in told for instruction in (*one.retake, *one.advice))
    return {
        "images": len(told),
        "retake": float(np.mean([bool(one.retake) for one in told])),
        "advice": float(np.mean([bool(one.advice) for one in told])),
        "instructions": dict(said.most_common()),
    }


def _milliseconds(photo: Photo) -> float:
    started = time.perf_counter()
    assess_quality(photo)
    return 1e3 * (time.perf_counter() - started)


def _photo(image: Image) -> Photo:
    return Photo(np.ascontiguousarray(image), image.shape[1], image.shape[0], "array")


def _blurred(image: Image, share: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), share * min(image.shape[:2])), np.uint8)


if __name__ == "__main__":
    main()
