"""All that is fitted on validation, for each precision on its own outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeskin.bundle.manifest import Calibration, LesionScores, OperatingPoint, Variant
from edgeskin.decision.decide import cancer_probability, probabilities
from edgeskin.decision.operating_points import certified_threshold, certify
from edgeskin.errors import SettingError
from quantize.fitting.calibration import Scores, compare, cross_fitted, fit
from quantize.fitting.confidence import fit_certainty
from quantize.fitting.prediction_sets import fit_label_sets, lowest
from train.data.table import Sample, targets
from train.evaluate.metrics import recall, specificity
from train.evaluate.outputs import Outputs

OPERATING_POINTS = {"screen": 0.95, "balanced": 0.87}
"""Cancer recall to certify: DermaSensor's and DERM's level, and a dermatologist's (87.5 %, meta-analysis)."""


@dataclass(frozen=True)
class Labels:
    """What is known of n images, beside a network's outputs.

    targets: (n,) class indices. lesions: (n,) names of what counts as one: lesions, patients where known.
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
    """The ways to calibrate on these images, cross-fitted; see `quantize.fitting.calibration.compare`. logits: (n, C)."""
    return compare(logits, labels.targets, labels.lesions, np.isin(labels.classes, labels.cancer_classes))


def fit_variant(outputs: Outputs, labels: Labels, method: str) -> Variant:
    """Calibration, then all that is chosen on the probabilities that it gives.

    The calibration that ships is fitted on all images; thresholds, label sets and certainty are chosen on
    probabilities that are cross-fitted. method: of calibration. Raises SettingError as
    `quantize.fitting.calibration.fit`, or when there is no cancer.
    """
    logits, lesions, is_cancer = outputs.logits, np.asarray(labels.lesions), labels.is_cancer
    calibration = fit(method, logits, labels.targets)
    shipped = probabilities(logits, calibration)
    p, of_views = cross_fitted(method, outputs.view_logits, labels.targets, labels.lesions)
    p_cancer, view_p_cancer = (
        cancer_probability(of, labels.classes, labels.cancer_classes) for of in (p, of_views)
    )
    scores = LesionScores(
        cancer=_rising(lowest(p_cancer[is_cancer], lesions[is_cancer])),
        others=_rising(-lowest(-p_cancer[~is_cancer], lesions[~is_cancer])),
    )
    told = (cancer_probability(shipped, labels.classes, labels.cancer_classes), is_cancer)
    points = [operating_point(name, target, scores, *told) for name, target in OPERATING_POINTS.items()]
    points.sort(key=lambda point: point.threshold)
    return Variant(
        calibration,
        tuple(points),
        # Not the classes' shares: a temperature leaves it expecting others than there are.
        class_priors=tuple(shipped.mean(axis=0).tolist()),
        lesion_scores=scores,
        label_sets=fit_label_sets(p, labels.targets, lesions),
        certainty=fit_certainty(p_cancer, view_p_cancer, is_cancer, points[0].threshold),
    )


def operating_point(
    name: str,
    target: float,
    scores: LesionScores,
    p_cancer: npt.NDArray[np.float64],
    is_cancer: npt.NDArray[np.bool_],
) -> OperatingPoint:
    """The highest threshold that certifies a sensitivity, or else the highest sensitivity that the lesions
    support; and what it gives by image.

    scores: that the threshold is chosen on. p_cancer, is_cancer: (n,), of the images, as the runtime has it.
    Raises SettingError when there is no cancer.
    """
    if not scores.cancer:
        raise SettingError("no cancer among the images, so no threshold reaches a cancer recall; add some")
    supported = certify(len(scores.cancer), 0).sensitivity
    threshold, certificate = certified_threshold(scores.cancer, min(target, supported))
    found = p_cancer >= threshold
    return OperatingPoint(
        name,
        threshold,
        target,
        recall=float(recall(is_cancer, found)),
        specificity=float(specificity(is_cancer, found)),
        certificate=certificate,
    )


def _rising(scores: npt.NDArray[np.float64]) -> tuple[float, ...]:
    # Rounded down, so that a last bit that comes out otherwise in the runtime loses no cancer.
    return tuple((np.floor(np.sort(scores) * 1e6) / 1e6).tolist())
