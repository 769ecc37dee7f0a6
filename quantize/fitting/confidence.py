"""Fits the confidence rule to the errors on validation; `edgeskin.decision.confidence` applies it."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from edgeskin.arrays import Bools, Float64s
from edgeskin.bundle.manifest import ConfidenceRule
from edgeskin.decision.confidence import PARTS, confidence_parts

MISS_WEIGHT = 3.0
"""Weight of all missed cancers together, against a weight of 1 of all needless referrals together."""
BINS = 15
LOW_SHARE, HIGH_SHARE = 0.2, 0.5
"""Shares of validation whose confidence level is LOW, and HIGH."""
LARGEST_WEIGHT = 50.0
STABILITY = PARTS.index("stability")


def fit_confidence(
    p_cancer: Float64s, view_p_cancer: Float64s, is_cancer: Bools, threshold: float
) -> ConfidenceRule | None:
    """Fit the rule whose score separates errors from right decisions best.

    The weights of the parts are those of a logistic regression of error on the parts, held at 0 or more. An
    error is a cancer below the threshold, or a benign lesion at or above it.

    Args:
        p_cancer: Cross-fitted P(cancer), (n,).
        view_p_cancer: Cross-fitted P(cancer) of each view, (n, V).
        is_cancer: Which images show a cancer, (n,).
        threshold: Threshold of the screening point.

    Returns:
        The rule, or None where no decision is an error, or all are.
    """
    missed, needless = is_cancer & (p_cancer < threshold), ~is_cancer & (p_cancer >= threshold)
    wrong = missed | needless
    if not wrong.any() or wrong.all():
        return None
    bounds, gaps = reliability(p_cancer, is_cancer)
    values = confidence_parts(p_cancer, view_p_cancer, threshold, bounds, gaps)
    fitted = _logistic_regression(values, wrong, _weights(missed, needless), view_p_cancer.shape[1] > 1)
    weights = fitted / fitted.sum() if fitted.any() else np.full(len(PARTS), 1 / len(PARTS))
    low, high = np.quantile(values @ weights, (LOW_SHARE, 1 - HIGH_SHARE)).tolist()
    return ConfidenceRule(tuple(weights.tolist()), bounds, gaps, low, high)


def reliability(p_cancer: Float64s, is_cancer: Bools) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure the calibration in bins of equally many images.

    Args:
        p_cancer: P(cancer), (n,).
        is_cancer: Which images show a cancer, (n,).

    Returns:
        The highest P(cancer) of each bin but the last, and |mean P(cancer) - share of cancers| of each bin.
    """
    bins = np.array_split(np.argsort(p_cancer, kind="stable"), min(BINS, len(p_cancer)))
    return (
        tuple(float(p_cancer[members].max()) for members in bins[:-1]),
        tuple(float(abs(p_cancer[members].mean() - is_cancer[members].mean())) for members in bins),
    )


def _weights(missed: Bools, needless: Bools) -> Float64s:
    """Weigh n images so that errors together count as much as the rest, missed cancers MISS_WEIGHT times."""
    wrong = missed | needless
    weight = np.where(wrong, 0.0, 1 / (~wrong).sum())
    kinds = [(kind, share) for kind, share in ((missed, MISS_WEIGHT), (needless, 1.0)) if kind.any()]
    total = sum(share for _, share in kinds)
    for kind, share in kinds:
        weight[kind] = share / total / kind.sum()
    return weight


def _logistic_regression(values: Float64s, wrong: Bools, weight: Float64s, has_views: bool) -> Float64s:
    """Fit P(wrong) = sigmoid(intercept - values @ weights); values (n, 4). Returns the weights, (4,)."""

    def loss(parameters: Float64s) -> tuple[float, Float64s]:
        score = parameters[0] - values @ parameters[1:]
        residual = weight * (expit(score) - wrong)
        value = (weight * (np.logaddexp(0, score) - wrong * score)).sum()
        return float(value), np.concatenate([[residual.sum()], -residual @ values])

    start = np.array([0.0] + [1.0] * len(PARTS))
    limits: list[tuple[float | None, float | None]] = [(None, None)] + [(0.0, LARGEST_WEIGHT)] * len(PARTS)
    if not has_views:
        # With one view the stability is always 1, and its weight would take the place of the intercept.
        start[1 + STABILITY] = 0
        limits[1 + STABILITY] = (0.0, 0.0)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits).x[1:])
