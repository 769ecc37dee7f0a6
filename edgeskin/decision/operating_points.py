"""Thresholds on P(cancer): the risk levels that they separate, and the sensitivity that they certify.

A threshold below which k of n cancer lesions lie is certified for a sensitivity s with 95% confidence if so
few misses would be that rare at s: P(Binomial(n, 1 - s) <= k) <= 0.05 (Clopper & Pearson, Biometrika 26,
1934). The allowed k follows from n and s before any score is seen, so the threshold is an order statistic and
its choice costs no correction (Wilks, Ann. Math. Stat. 12, 1941; Learn then Test, Angelopoulos et al., 2025,
for one monotone risk). It holds for lesions drawn as those were, with one score each by a rule that had not
seen them; not for another camera, clinic or population.

The bounds are computed when a bundle is made (`quantize.fitting.operating_points`) and looked up here.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from numbers import Real

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Float64s
from edgeskin.bundle.manifest import SCREENING_POINT, DecisionRules, LesionScores, OperatingPoint
from edgeskin.errors import SettingError, require_kind
from edgeskin.results import SensitivityBound

CONFIDENCE = 0.95
LEAST_SENSITIVITY = 0.8
"""Below it LOW would hold too many cancers to be called so."""


def risk_levels(p_cancer: Float64s, points: Sequence[OperatingPoint]) -> npt.NDArray[np.int64]:
    """Positions in `edgeskin.results.RISKS`, (n,): LOW below the first point, HIGH from the last one on.

    Args:
        p_cancer: (n,), 0 to 1.
        points: By rising threshold. With a single point there is no MEDIUM.
    """
    is_high = p_cancer >= points[-1].threshold
    return np.where(p_cancer < points[0].threshold, 0, np.where(is_high, 2, 1))


def certified_threshold(scores: LesionScores, sensitivity: float) -> tuple[float, SensitivityBound]:
    """The highest threshold that certifies a sensitivity, and the bound that it reaches.

    Raises:
        SettingError: There are too few lesions to certify this sensitivity; the message names the
            highest that can be certified.
    """
    allowed = bisect_right(scores.bounds, -sensitivity, key=lambda bound: -bound)
    if not allowed:
        n = len(scores.cancer)
        most = math.floor(1e3 * scores.bounds[0]) / 1e3 if scores.bounds else None
        certify = f"{most} at most" if most else f"no sensitivity of {LEAST_SENSITIVITY} or more"
        raise SettingError(
            f"sensitivity {sensitivity}: {n} cancer lesions certify {certify}, with none missed; "
            "choose that or less, or calibrate on more lesions"
        )
    missed = allowed - 1
    bound = SensitivityBound(scores.bounds[missed], CONFIDENCE, len(scores.cancer), missed)
    # Of equal scores fewer are missed; only the allowed number was fixed beforehand.
    return scores.cancer[missed], bound


def rules_for_sensitivity(rules: DecisionRules, sensitivity: float) -> DecisionRules:
    """The rules with a screening point for another certified sensitivity.

    Higher operating points stay. The point's recall and specificity are by lesion. Confidence is left out, as
    its rule belongs to the bundle's own screening point.

    Args:
        rules: Of a bundle.
        sensitivity: 0.8 or more, below 1.

    Raises:
        SettingError: It is out of range, or the bundle has no lesions, or too few, to certify it on.
    """
    choices = f"a number, {LEAST_SENSITIVITY} or more and below 1"
    require_kind("sensitivity", sensitivity, Real, choices)
    if not LEAST_SENSITIVITY <= sensitivity < 1:
        raise SettingError(f"sensitivity {sensitivity}: choose {choices}")
    scores = rules.lesion_scores
    if scores is None:
        raise SettingError("this bundle holds no lesions to certify a sensitivity on; quantize its run anew")
    threshold, bound = certified_threshold(scores, sensitivity)
    own = OperatingPoint(
        SCREENING_POINT,
        threshold,
        sensitivity,
        recall=1 - bound.missed / bound.lesions,
        specificity=float(np.searchsorted(scores.benign, threshold)) / max(1, len(scores.benign)),
        bound=bound,
    )
    higher = tuple(point for point in rules.operating_points[1:] if point.threshold > threshold)
    return replace(rules, operating_points=(own, *higher), confidence=None)
