"""Which photos does the quality gate refuse: real ones, and ones degraded on purpose?

    python -m benchmarks.robustness.quality --data DIR [--degraded 200]

Of each source: the share refused (retake) and the share with advice. Of validation: the cancers refused, and
the default bundle's cancer sensitivity (INT8, committed predictions) among all and among the accepted. Of
some validation photos, degraded by blur, brightness and size: the share refused. And the gate's time. Writes
benchmarks/robustness/results/quality.json.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track

from benchmarks.environment import argument_parser, read_result, result, result_path, write_result
from benchmarks.evaluation.committed import EVALUATIONS
from benchmarks.robustness.invariance import blurred, brightened
from benchmarks.speed.rounds import laps, spread
from benchmarks.tables import Table
from edgeskin.arrays import Image
from edgeskin.bundle.bundle import open_bundle
from edgeskin.decision.decide import decide
from edgeskin.errors import PhotoError
from edgeskin.imaging.preprocess import resize
from edgeskin.imaging.quality import LIMITS, assess_quality
from edgeskin.photo.decode import Photo, load_photo
from edgeskin.results import Quality
from quantize.fitting.labels import labels_of
from quantize.ptq import stratified
from train.data.table import SPLITS, Sample, read_table, select
from train.evaluate import report

RESULT = result_path(__file__)
COLOR = {"colourless", "colours_exchanged"}
"""Codes of the limits that refuse pictures without colour, or with another one's."""


def blurred_by_share(image: Image, share: float) -> Image:
    """Blur an image by a share of its shorter side."""
    return blurred(image, share * min(image.shape[:2]))


def tinted(image: Image, tint: tuple[float, float, float]) -> Image:
    """Return the grey levels of an image in one tint."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(gray[..., None] * np.array(tint), dtype=np.uint8)


DEGRADED: dict[str, Callable[[Image], Image]] = {
    "unchanged": np.ascontiguousarray,
    **{
        f"blur, {share:.0%} of the side": partial(blurred_by_share, share=share)
        for share in (0.01, 0.02, 0.04)
    },
    **{f"brightness x {gain:g}": partial(brightened, gain=gain) for gain in (0.2, 2.0)},
    "100 px": partial(resize, size=100),
    "grey": lambda image: tinted(image, (1, 1, 1)),
    "grey, yellowed": lambda image: tinted(image, (1, 0.9, 0.7)),
    "red and blue exchanged": lambda image: image[..., ::-1],
    "red and green exchanged": lambda image: image[..., [1, 0, 2]],
}


def main() -> None:
    """Measure, print and write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--degraded", type=int, default=200)
    options = parser.parse_args()
    bundle = open_bundle()
    size = bundle.manifest.preprocessing.size
    samples = read_table(options.data, bundle.manifest.classes)
    val = select(samples, "val")
    groups = {"val": val}
    for sample in samples:
        if sample.split not in SPLITS:
            groups.setdefault(f"{sample.split}: {sample.source}", []).append(sample)
    qualities = {
        name: [quality_of(sample.image, size) for sample in track(members, name)]
        for name, members in groups.items()
    }
    images = [load_photo(s.image, size).image for s in stratified(val, seed=0)[: options.degraded]]
    content = result(
        f"python -m benchmarks.robustness.quality --data DIR --degraded {options.degraded}",
        *("opencv-python-headless", "numpy"),
        limits=[[limit.measure, limit.kind, str(limit.low), str(limit.high)] for limit in LIMITS],
        milliseconds=spread([laps(partial(assess_quality, as_photo(image)), 1)[0] for image in images]),
        sources={name: shares(members) for name, members in qualities.items()},
        val=cancers(val, qualities["val"]),
        degraded={
            name: float(np.mean([bool(assess_quality(as_photo(degrade(image))).retake) for image in images]))
            for name, degrade in DEGRADED.items()
        },
    )
    print(table(content).grid(), degraded_table(content).grid(), content["val"], sep="\n\n")
    write_result(RESULT, content)


def quality_of(path: Path, size: int) -> Quality:
    """Assess a photo; one that is refused as damaged before counts as one to retake."""
    try:
        return assess_quality(load_photo(path, size))
    except PhotoError as error:
        return Quality({}, (error.code,), (), (error.code,), ())


def cancers(samples: Sequence[Sample], qualities: Sequence[Quality]) -> dict[str, float]:
    """Count the cancers of val that the gate refuses, and the recall among all and among the accepted."""
    provenance, predictions = report.read(EVALUATIONS / "val-int8")
    rules = provenance.rules
    labels = labels_of(predictions.samples, rules.classes, rules.cancer_classes)
    found = decide(predictions.logits[:, None], rules).is_referred
    by_image = {sample.image_id: not one.retake for sample, one in zip(samples, qualities, strict=True)}
    accepted = np.array([by_image[image_id] for image_id in labels.image_ids])
    return {
        "cancers": int(labels.is_cancer.sum()),
        "cancers_refused": int((labels.is_cancer & ~accepted).sum()),
        "recall": float(found[labels.is_cancer].mean()),
        "recall_among_accepted": float(found[labels.is_cancer & accepted].mean()),
    }


def shares(qualities: Sequence[Quality]) -> dict[str, Any]:
    """Compute the shares refused and with advice, and count the instructions."""
    instructions = Counter(text for one in qualities for text in (*one.retake, *one.advice))
    return {
        "images": len(qualities),
        "retake": float(np.mean([bool(one.retake) for one in qualities])),
        "retake_for_colour": float(np.mean([not COLOR.isdisjoint(one.failed) for one in qualities])),
        "advice": float(np.mean([bool(one.advice) for one in qualities])),
        "instructions": dict(instructions.most_common()),
    }


def as_photo(image: Image) -> Photo:
    """Wrap an image as a decoded photo."""
    return Photo(np.ascontiguousarray(image), image.shape[1], image.shape[0], "array")


def table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the sources of a result, the committed one by default."""
    content = content or read_result(RESULT)
    val, time = content["val"], content["milliseconds"]
    return Table(
        "Quality gate on real photos",
        f"Share of photos that the quality gate refuses or gives advice on. It takes {time['median']:.1f} "
        f"ms a photo. Of {val['cancers']} validation cancers it refuses {val['cancers_refused']}; INT8's "
        f"cancer sensitivity is {val['recall']:.4f} on all and {val['recall_among_accepted']:.4f} on the "
        "accepted.",
        content["command"],
        ("split: source", "images", "refused", "for colour alone or among others", "with advice"),
        [
            (
                name,
                str(of["images"]),
                f"{of['retake']:.2%}",
                f"{of['retake_for_colour']:.2%}",
                f"{of['advice']:.1%}",
            )
            for name, of in content["sources"].items()
        ],
    )


def degraded_table(content: Mapping[str, Any] | None = None) -> Table:
    """Render the degraded photos of a result, the committed one by default."""
    content = content or read_result(RESULT)
    return Table(
        "Quality gate on degraded photos",
        "Share of validation photos that the quality gate refuses once they are degraded.",
        content["command"],
        ("degraded by", "refused"),
        [(name, f"{share:.1%}") for name, share in content["degraded"].items()],
    )


if __name__ == "__main__":
    main()
