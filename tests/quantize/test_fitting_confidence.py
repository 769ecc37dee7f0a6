"""The parts of confidence by hand, and fitted weights against scikit-learn's logistic regression."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from edgeskin.decision.confidence import CertaintyRule as ConfidenceRule
from edgeskin.decision.confidence import certainty as confidence
from edgeskin.decision.confidence import parts
from quantize.fitting.confidence import MISS_WEIGHT, fit_confidence

RULE = ConfidenceRule((0.1, 0.2, 0.3, 0.4), (0.1, 0.5), (0.0, 0.2, 0.4), low=0.4, high=0.7)


def test_parts_by_hand() -> None:
    """P 0.2, threshold 0.05, the second bin; views at 0.1 and 0.3."""
    values = parts(np.array([0.2]), np.array([[0.1, 0.3]]), 0.05, RULE.bounds, RULE.gaps)
    margin = 1 - (1 / 19) / (1 / 4)  # odds 1 / 4 against 1 / 19
    np.testing.assert_allclose(values, [[0.6, 0.8, margin, 0.8]])
    result = confidence(0.2, np.array([0.1, 0.3]), 0.05, RULE)
    assert result.score == pytest.approx(0.06 + 0.16 + 0.3 * margin + 0.32)
    assert result.level == "HIGH"
    assert list(result.parts) == ["confidence", "calibration", "clarity", "stability"]


@pytest.mark.parametrize(
    ("p", "views", "level"),
    [(0.05, [0.0, 1.0], "LOW"), (0.5, [0.5, 0.5], "HIGH"), (0.3, [0.0, 0.6], "MEDIUM")],
)
def test_levels(p: float, views: list[float], level: str) -> None:
    assert confidence(p, np.array(views), 0.05, RULE).level == level


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_certain_outputs_stay_finite(p: float) -> None:
    assert math.isfinite(confidence(p, np.array([p, p]), 0.05, RULE).score)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": (1.0,)},
        {"weights": (2.0, 0, 0, 0)},
        {"gaps": (0.1,)},
        {"bounds": (0.5, 0.1)},
        {"low": 0.9},
    ],
)
def test_a_rule_that_does_not_fit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        ConfidenceRule(**(vars(RULE) | changes))


def outputs(n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = expit(rng.normal(-1, 1.5, n))
    views = expit(logit(p)[:, None] + rng.normal(size=(n, 8)) * rng.random((n, 1)))
    return p, views, rng.random(n) < p


def test_weights_are_those_of_scikit_learn() -> None:
    p, views, is_cancer = outputs()
    rule = fit_confidence(p, views, is_cancer, 0.6)
    values = parts(p, views, 0.6, rule.bounds, rule.gaps)
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
    score = parts(p, views, 0.3, rule.bounds, rule.gaps) @ rule.weights
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
