"""Prediction sets with a coverage guarantee for each class: class-conditional split conformal prediction.

The method is that of Vovk, "Conditional validity of inductive conformal predictors", ACML 2012, with
1 - p(class) as the nonconformity score. Of n lesions of a class, the threshold is the
floor(alpha (n + 1))-th lowest probability of the class. A new lesion of the class, drawn as those were, is
below it with a probability of at most alpha. With fewer than 1 / alpha - 1 lesions no threshold has this
guarantee, so the class is in every set.

The theorem holds for scores by a rule that has seen none of the lesions. Cross-fitted scores come close.
"""

import math

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Float64s
from edgeskin.bundle.manifest import PredictionSets
from quantize.fitting.labels import Targets, lowest_by_lesion

COVERAGE = 0.9


def fit_prediction_sets(
    p: Float64s, targets: Targets, lesions: npt.NDArray[np.str_], coverage: float = COVERAGE
) -> PredictionSets:
    """Fit a threshold for each class.

    Each lesion counts once, with the lowest probability of its class among its images.

    Args:
        p: Cross-fitted class probabilities, (n, C).
        targets: Class indices, (n,).
        lesions: Name of each image's lesion, (n,).
        coverage: Share of each class's lesions whose set has their class, 0 to 1.

    Returns:
        A threshold for each class, rounded down to six decimals, and the number of its lesions.
    """
    thresholds, counts = [], []
    for c in range(p.shape[1]):
        scores = np.sort(lowest_by_lesion(p[targets == c, c], lesions[targets == c]))
        rank = math.floor((1 - coverage) * (len(scores) + 1) + 1e-9)
        # Rounded down, so that a difference in the last bit between CPUs takes no class out of a set.
        thresholds.append(math.floor(scores[rank - 1] * 1e6) / 1e6 if rank else 0.0)
        counts.append(len(scores))
    return PredictionSets(coverage, tuple(thresholds), tuple(counts))
