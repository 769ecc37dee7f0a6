"""Fits the reference of a bundle, with which `edgeskin monitor` compares new pictures, to validation.

Its pictures are assessed as the runtime would, gates included. It has one picture of each lesion, since the
test of drift takes pictures as independent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

from edgeskin.arrays import Float64s
from edgeskin.bundle.manifest import DecisionRules, MeasureReference
from edgeskin.decision.decide import decide, with_decision
from edgeskin.imaging.quality import assess_quality
from edgeskin.monitoring.reference import fit_reference, measures_of, values_of
from edgeskin.photo.decode import load_photo
from edgeskin.results import Assessment, ModelInfo, Ood, Quality
from quantize.inference import CONSOLE
from train.evaluate.outputs import Outputs

_NO_MODEL = ModelInfo("", "", "", "", "")
"""A reference does not depend on the model's name."""


def first_of_each_lesion(lesions: Sequence[str]) -> npt.NDArray[np.int64]:
    """Choose the first image of each lesion.

    Args:
        lesions: Name of each image's lesion, (n,).

    Returns:
        Positions in 0 to n - 1, ascending.
    """
    return np.sort(np.unique(np.asarray(lesions), return_index=True)[1])


def measure_quality(files: Sequence[Path], size: int) -> list[Quality]:
    """Measure the quality of photos as the runtime does.

    Args:
        files: The photos.
        size: Side of the network's input, pixels.

    Raises:
        PhotoError: A photo cannot be read.
    """
    progress = track(files, "measuring quality", console=CONSOLE, transient=True)
    return [assess_quality(load_photo(file, size)) for file in progress]


def fit_bundle_reference(
    qualities: Sequence[Quality], outputs: Outputs, distances: Float64s, rules: DecisionRules
) -> dict[str, MeasureReference]:
    """Fit the distribution of every measure to n images of different lesions.

    Args:
        qualities: Quality of each photo, (n,).
        outputs: Outputs of one precision on the images.
        distances: Both distances of the OOD score, (n, 2).
        rules: Rules of the precision, with a threshold of the OOD score.

    Returns:
        The distributions by the name of the measure, without those that no image has a value of.
    """
    measures = measures_of(rules.classes)
    rows = (one.to_row() for one in _assess(qualities, outputs, distances, rules))
    return fit_reference(values_of(rows, measures), measures)


def _assess(
    qualities: Sequence[Quality], outputs: Outputs, distances: Float64s, rules: DecisionRules
) -> Iterator[Assessment]:
    """Assess as `edgeskin.classifier.Classifier.assess` does, from outputs that are there already."""
    assert rules.ood_threshold is not None
    decisions = decide(outputs.view_logits, rules)
    for position, (quality, parts) in enumerate(zip(qualities, distances.tolist(), strict=True)):
        result = Assessment(image="", status="assessed", quality=quality, model=_NO_MODEL, timing_ms={})
        ood = Ood(sum(parts), rules.ood_threshold, *parts)
        if quality.failed:
            yield replace(result, status="retake")
        elif ood.score > ood.threshold:
            yield replace(result, status="out_of_scope", ood=ood)
        else:
            yield with_decision(replace(result, ood=ood), decisions, position, rules)
