"""Calibration and operating points, fitted on validation, for each precision on its own outputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeskin.decision import cancer_probability, probabilities
from edgeskin.variant import Calibration, OperatingPoint, Variant
from quantize.scaling import Scores, compare, fit
from train.data import Sample, targets
from train.metrics import recall, screening_threshold, specificity

OPERATING_POINTS = {"screen": 0.95, "balanced": 0.87}
"""Cancer recall aimed at: DermaSensor's and DERM's level, and a dermatologist's (87.5 %, meta-analysis)."""


@dataclass(frozen=True)
class Labels:
    """What is known of n images, beside a network's outputs.

    targets: (n,) class indices. lesions: (n,) names of what is resampled together.
    """

    image_ids: tuple[str, ...]
    lesions: tuple[str, ...]
    targets: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    cancer_classes: tuple[str, ...]

    @property
    def is_cancer(self) -> npt.NDArray[np.bool_]:
        """(n,)."""
        return np.isin(self.classes, self.cancer_classes)[self.targets]

    def p_cancer(self, logits: npt.NDArray[np.floating], calibration: Calibration) -> npt.NDArray[np.float64]:
        """P(cancer) as the runtime computes it. logits: (n, C) -> (n,)."""
        return cancer_probability(probabilities(logits, calibration), self.classes, self.cancer_classes)


def labels_of(samples: Sequence[Sample], classes: Sequence[str], cancer_classes: Sequence[str]) -> Labels:
    """Labels of samples, in their order. Raises DataError when a label is not in the class list."""
    return Labels(
        tuple(sample.image_id for sample in samples),
        tuple(sample.group for sample in samples),
        targets(samples, classes),
        tuple(classes),
        tuple(cancer_classes),
    )


def compare_calibrations(logits: npt.NDArray[np.floating], labels: Labels) -> dict[str, Scores]:
    """The ways to calibrate on these images, cross-fitted; see `quantize.scaling.compare`. logits: (n, C)."""
    return compare(logits, labels.targets, labels.lesions, np.isin(labels.classes, labels.cancer_classes))


def fit_variant(logits: npt.NDArray[np.floating], labels: Labels, method: str) -> Variant:
    """Calibration, then operating points on the P(cancer) that it gives, by rising threshold; class priors.

    logits: (n, C). method: of calibration. Raises SettingError as `quantize.scaling.fit` and
    `operating_point`.
    """
    calibration = fit(method, logits, labels.targets)
    p_cancer = labels.p_cancer(logits, calibration)
    points = [
        operating_point(name, target, p_cancer, labels.is_cancer) for name, target in OPERATING_POINTS.items()
    ]
    return Variant(
        calibration,
        tuple(sorted(points, key=lambda point: point.threshold)),
        # Not the classes' shares: a temperature leaves it expecting others than there are.
        tuple(probabilities(logits, calibration).mean(axis=0).tolist()),
    )


def operating_point(
    name: str, target_recall: float, p_cancer: npt.NDArray[np.float64], is_cancer: npt.NDArray[np.bool_]
) -> OperatingPoint:
    """The highest threshold with cancer recall >= target, and what it gives. p_cancer, is_cancer: (n,).

    Raises SettingError when there is no cancer.
    """
    exact = screening_threshold(is_cancer, p_cancer, target_recall)
    # Rounded down, so that a last bit that comes out otherwise in the runtime loses no cancer.
    threshold = math.floor(exact * 1e6) / 1e6
    found = p_cancer >= threshold
    return OperatingPoint(
        name,
        threshold,
        target_recall,
        recall=float(recall(is_cancer, found)),
        specificity=float(specificity(is_cancer, found)),
    )
