"""Fits the weights of certainty's parts to the errors on validation; see `edgeskin.decision.confidence`."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from edgeskin.decision.confidence import PARTS, CertaintyRule, parts
from quantize.fitting.calibration import Floats

MISS_WEIGHT = 3.0
"""Of all misses together, against all needless referrals together."""
BINS = 15
LEAST_CERTAIN, MOST_CERTAIN = 0.2, 0.5
"""Shares of validation whose certainty is LOW, and HIGH."""


def fit_certainty(
    p_cancer: Floats, view_p_cancer: Floats, is_cancer: npt.NDArray[np.bool_], threshold: float
) -> CertaintyRule | None:
    """The rule whose score parts errors from the rest best, by a logistic regression with weights of 0 and
    more.

    p_cancer: (n,), calibrated without the lesion. view_p_cancer: (n, V). is_cancer: (n,). threshold: of the
    screening point. None where there is no error to learn from.
    """
    missed, needless = is_cancer & (p_cancer < threshold), ~is_cancer & (p_cancer >= threshold)
    wrong = missed | needless
    if not wrong.any() or wrong.all():
        return None
    bounds, gaps = _reliability(p_cancer, is_cancer)
    values = parts(p_cancer, view_p_cancer, threshold, bounds, gaps)
    weight = np.where(wrong, 0.0, 1 / (~wrong).sum())
    kinds = [(missed, MISS_WEIGHT), (needless, 1.0)]
    total = sum(share for kind, share in kinds if kind.any())
    for kind, share in kinds:
        if kind.any():
            weight[kind] = share / total / kind.sum()

    def loss(parameters: Floats) -> tuple[float, Floats]:
        score = parameters[0] - values @ parameters[1:]
        residual = weight * (expit(score) - wrong)
        value = (weight * (np.logaddexp(0, score) - wrong * score)).sum()
        return float(value), np.concatenate([[residual.sum()], -residual @ values])

    start = np.array([0.0] + [1.0] * len(PARTS))
    limits: list[tuple[float | None, float | None]] = [(None, None)] + [(0.0, 50.0)] * len(PARTS)
    if view_p_cancer.shape[1] == 1:
        # Nothing is known of it; left free, it would take the place of the intercept.
        start[1 + PARTS.index("stability")] = 0
        limits[1 + PARTS.index("stability")] = (0.0, 0.0)
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits).x[1:]
    weights = fitted / fitted.sum() if fitted.any() else np.full(len(PARTS), 1 / len(PARTS))
    low, high = np.quantile(values @ weights, (LEAST_CERTAIN, 1 - MOST_CERTAIN)).tolist()
    return CertaintyRule(tuple(weights.tolist()), bounds, gaps, low, high)


def _reliability(p: Floats, truth: npt.NDArray[np.bool_]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Upper bounds, but the last, of bins of equally many, and how far mean p and the share of truth part."""
    bins = np.array_split(np.argsort(p, kind="stable"), min(BINS, len(p)))
    return (
        tuple(float(p[members].max()) for members in bins[:-1]),
        tuple(float(abs(p[members].mean() - truth[members].mean())) for members in bins),
    )
