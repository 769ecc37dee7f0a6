"""Series of assessments drawn from a distribution, and tables of them, for tests of monitoring."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgeskin import Assessment, Classifier
from edgeskin.results import Failure, Ood


def draw(
    classifier: Classifier, photo: Path, count: int, seed: int, sharpness: float = 0, retakes: float = 0.03
) -> list[Assessment]:
    """Assessments like that of one photo, whose numbers vary.

    Args:
        classifier: That the results are of.
        photo: Whose result they start from.
        count: Their number.
        seed: Of the variation.
        sharpness: By how many standard deviations the pictures are sharper.
        retakes: Share of pictures that have to be taken again.
    """
    first = classifier.assess(photo)
    assert first.quality is not None
    rng = np.random.default_rng(seed)
    drawn = []
    for number in range(count):
        measures = {name: float(rng.normal()) for name in first.quality.measures}
        measures |= {"transparent": 0.0, "misfit": 0.0, "sharpness": measures["sharpness"] + sharpness}
        quality = replace(first.quality, measures=measures)
        if rng.random() < retakes:
            drawn.append(
                Assessment(
                    image=f"{number}.jpg", status="retake", action_code="retake", quality=quality,
                    model=first.model, timing_ms={},
                )
            )  # fmt: skip
            continue
        features, picture = rng.normal(size=2).tolist()
        drawn.append(
            replace(
                first,
                image=f"{number}.jpg",
                quality=quality,
                ood=Ood(features + picture, 1000.0, features, picture),
                cancer_probability=float(rng.random()),
                risk=str(rng.choice(["LOW", "MEDIUM", "HIGH"])),
                predicted_class=str(rng.choice(first.model.classes)),
                confidence=first.confidence and replace(first.confidence, score=float(rng.random())),
            )
        )
    return drawn


def failed(like: Assessment) -> Assessment:
    """A picture that could not be read, by the same network."""
    failure = Failure("PhotoError", "damaged.jpg: damaged", "damaged")
    return Assessment(image="damaged.jpg", status="error", error=failure, model=like.model, timing_ms={})


def write_table(path: Path, results: Sequence[Assessment]) -> Path:
    """A table of the kind that the suffix names; .jsonl has the whole JSON."""
    rows = [one.to_row() for one in results]
    if path.suffix == ".jsonl":
        lines = [json.dumps(one.to_dict()) for one in results]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    elif path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path
