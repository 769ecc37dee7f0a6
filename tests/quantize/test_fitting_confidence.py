"""Fitted weights of confidence against scikit-learn's logistic regression."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from edgeskin.bundle.manifest import ConfidenceRule
from edgeskin.decision.confidence import confidence_parts
from quantize.fitting.confidence import MISS_WEIGHT, fit_confidence

RULE = ConfidenceRule((0.1, 0.2, 0.3, 0.4), (0.1, 0.5), (0.0, 0.2, 0.4), low=0.4, high=0.7)


def outputs(n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = expit(rng.normal(-1, 1.5, n))
    views = expit(logit(p)[:, None] + rng.normal(size=(n, 8)) * rng.random((n, 1)))
    return p, views, rng.random(n) < p


def test_weights_are_those_of_scikit_learn() -> None:
    p, views, is_cancer = outputs()
    rule = fit_confidence(p, views, is_cancer, 0.6)
    values = confidence_parts(p, views, 0.6, rule.bounds, rule.gaps)
    missed, needless = is_cancer & (p < 0.6), ~is_cancer & (p >= 0.6)
    wrong = missed | needless
    share = MISS_WEIGHT / (MISS_WEIGHT + 1)
    weight = np.where(missed, share / missed.sum(), np.where(needless, (1 - share) / needless.sum(), 0))
    weight = np.where(wrong, weight, 1 / (~wrong).sum()) * len(p)
    assert min(rule.weights) > 0
    fitted = LogisticRegression(C=1e8, tol=1e-8, max_iter=10_000).fit(values, ~wrong, weight)
    expected = fitted.coef_[0] / fitted.coef_[0].sum()
    assert sum(rule.weights) == pytest.approx(1)
    np.testing.assert_allclose(rule.weights, expected, atol=0.01)


def test_a_single_view_gives_stability_no_weight() -> None:
    p, views, is_cancer = outputs()
    rule = fit_confidence(p, views[:, :1], is_cancer, 0.3)
    assert rule.weights[3] == 0
    assert sum(rule.weights) == pytest.approx(1)


def test_levels_are_the_declared_shares_of_validation() -> None:
    p, views, is_cancer = outputs()
    rule = fit_confidence(p, views, is_cancer, 0.3)
    score = confidence_parts(p, views, 0.3, rule.bounds, rule.gaps) @ rule.weights
    assert (score < rule.low).mean() == pytest.approx(0.2, abs=0.001)
    assert (score >= rule.high).mean() == pytest.approx(0.5, abs=0.001)


def test_gaps_are_those_of_bins_of_equal_size() -> None:
    p, views, is_cancer = outputs(1500)
    rule = fit_confidence(p, views, is_cancer, 0.3)
    order = np.argsort(p)
    assert len(rule.gaps) == 15
    for number in (0, 7, 14):
        members = order[number * 100 : (number + 1) * 100]
        assert rule.gaps[number] == pytest.approx(abs(p[members].mean() - is_cancer[members].mean()))


def test_without_errors_there_is_no_rule() -> None:
    p = np.array([0.1, 0.9])
    assert fit_confidence(p, p[:, None], np.array([False, True]), 0.5) is None
