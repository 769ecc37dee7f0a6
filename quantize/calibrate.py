"""Temperature and operating points, fitted on validation, for each precision on its own outputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from edgeskin.bundle import OperatingPoint, Variant
from edgeskin.decision import cancer_probability, probabilities
from edgeskin.errors import SettingError
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

    def p_cancer(self, logits: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float64]:
        """P(cancer) as the runtime computes it. logits: (n, C) -> (n,)."""
        return cancer_probability(probabilities(logits, temperature), self.classes, self.cancer_classes)


def labels_of(samples: Sequence[Sample], classes: Sequence[str], cancer_classes: Sequence[str]) -> Labels:
    """Labels of samples, in their order. Raises DataError when a label is not in the class list."""
    return Labels(
        tuple(sample.image_id for sample in samples),
        tuple(sample.group for sample in samples),
        targets(samples, classes),
        tuple(classes),
        tuple(cancer_classes),
    )


def fit_variant(logits: npt.NDArray[np.floating], labels: Labels) -> Variant:
    """Temperature, then operating points on the P(cancer) that it gives, by rising threshold; class priors.

    logits: (n, C). Raises SettingError as `fit_temperature` and `operating_point`.
    """
    temperature = fit_temperature(logits, labels.targets)
    p_cancer = labels.p_cancer(logits, temperature)
    points = [
        operating_point(name, target, p_cancer, labels.is_cancer) for name, target in OPERATING_POINTS.items()
    ]
    return Variant(
        temperature,
        tuple(sorted(points, key=lambda point: point.threshold)),
        # Not the classes' shares: trained with class weights, the network expects others than there are.
        tuple(probabilities(logits, temperature).mean(axis=0).tolist()),
    )


def fit_temperature(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.int64]) -> float:
    """The temperature with the least negative log-likelihood (Guo et al., ICML 2017), 0.05 to 20.

    logits: (n, C). targets: (n,) class indices. Raises SettingError when logits are not finite.
    """
    scores = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise SettingError("logits that are not finite: this network cannot be calibrated; train it anew")

    def loss(log_temperature: float) -> float:
        log_p = log_softmax(scores / math.exp(log_temperature), axis=1)
        return -float(log_p[np.arange(len(targets)), targets].mean())

    # In log T the loss is not convex, but it has a single minimum: 1 / T makes it convex.
    fitted = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded")
    return math.exp(fitted.x)


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
