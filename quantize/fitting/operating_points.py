"""Operating points: thresholds on P(cancer) with a certified sensitivity.

A threshold that misses k of n cancer lesions has a lower confidence bound s on its sensitivity, which solves
P(Binomial(n, 1 - s) <= k) = 0.05. It is a quantile of a beta distribution (Clopper & Pearson, Biometrika 26,
1934). The number of misses that a wanted sensitivity allows depends on n alone. It is fixed before any score
is seen, so the threshold is an order statistic, and its choice needs no correction (Wilks, Ann. Math. Stat.
12, 1941; Learn then Test, Angelopoulos et al., 2025, gives the same for one monotone risk).

The bound holds for lesions drawn as those of validation were, with one score a lesion, computed by a
calibration that had not seen the lesion. It does not hold for another camera, clinic or population.
"""

from dataclasses import replace

import numpy as np
from scipy.stats import beta

from edgeskin.arrays import Bools, Float64s
from edgeskin.bundle.manifest import LesionScores, OperatingPoint
from edgeskin.decision.operating_points import CONFIDENCE, LEAST_SENSITIVITY, certified_threshold
from edgeskin.errors import SettingError
from train.evaluate.metrics import recall, specificity

TARGETS = {"screen": 0.95, "balanced": 0.87}
"""Sensitivity to certify, by operating point: the level of DermaSensor and DERM, and that of a dermatologist
(87.5%, meta-analysis)."""


def sensitivity_bounds(lesions: int, least: float = LEAST_SENSITIVITY) -> tuple[float, ...]:
    """Tabulate the sensitivity that k misses certify, for k = 0, 1, ...

    Args:
        lesions: Number n of cancer lesions, 0 or more.
        least: Bounds below this sensitivity are left out, 0 to 1.

    Returns:
        Lower confidence bounds on the sensitivity, 0 to 1, falling: entry k belongs to k misses. Empty where
        even a threshold without misses certifies less than ``least``.
    """
    missed = np.arange(lesions)
    bounds = beta.ppf(1 - CONFIDENCE, lesions - missed, missed + 1)
    return tuple(bounds[bounds >= least].tolist())


def fit_operating_points(
    scores: LesionScores, p_cancer: Float64s, is_cancer: Bools
) -> tuple[OperatingPoint, ...]:
    """Fit an operating point for each of TARGETS, ordered by rising threshold; see `fit_operating_point`."""
    points = [
        fit_operating_point(name, target, scores, p_cancer, is_cancer) for name, target in TARGETS.items()
    ]
    return tuple(sorted(points, key=lambda point: point.threshold))


def fit_operating_point(
    name: str, target: float, scores: LesionScores, p_cancer: Float64s, is_cancer: Bools
) -> OperatingPoint:
    """Choose the highest threshold that certifies a sensitivity.

    Where the lesions are too few to certify it, the threshold misses none of them, which certifies the most
    that they can.

    Args:
        name: Name of the operating point.
        target: Sensitivity to certify, 0 to 1.
        scores: Cross-fitted scores of the lesions, on which the threshold is chosen.
        p_cancer: P(cancer) of each image as the runtime computes it, (n,).
        is_cancer: Which images show a cancer, (n,).

    Returns:
        The operating point, with its recall and specificity by image.

    Raises:
        SettingError: There is no cancer among the lesions.
    """
    bounds = sensitivity_bounds(len(scores.cancer), least=0)
    if not bounds:
        raise SettingError("no cancer among the images, so no threshold reaches a cancer recall; add some")
    threshold, bound = certified_threshold(replace(scores, bounds=bounds), min(target, bounds[0]))
    referred = p_cancer >= threshold
    return OperatingPoint(
        name,
        threshold,
        target,
        recall=float(recall(is_cancer, referred)),
        specificity=float(specificity(is_cancer, referred)),
        bound=bound,
    )
