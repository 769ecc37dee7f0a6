"""Measures against scikit-learn, plain and weighted, and by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from sklearn.calibration import calibration_curve

from edgeskin.errors import SettingError
from train.evaluate import metrics
from train.evaluate.bootstrap import bootstrap_weights
from train.evaluate.metrics import (
    augrc,
    aurc,
    net_benefit,
    predictive_values,
    risk_coverage,
    screening_threshold,
)

N, CLASSES = 240, 8
RNG = np.random.default_rng(7)
TARGETS = RNG.integers(0, CLASSES, N)
PREDICTED = np.where(RNG.random(N) < 0.6, TARGETS, RNG.integers(0, CLASSES, N))
TRUTH = TARGETS < 4
SCORES = np.round(0.4 * TRUTH + 0.6 * RNG.random(N), 1)  # full of ties
FOUND = SCORES >= 0.5
WEIGHTS = bootstrap_weights([f"L{i // 3}" for i in range(N)], replicates=20, seed=3)

P = RNG.dirichlet(np.ones(CLASSES), N)

Measure = Callable[..., Any]


def curve(weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    return sk.roc_curve(TRUTH, SCORES, sample_weight=weights, drop_intermediate=False)[:2]


MEASURES: dict[str, tuple[Measure, Measure]] = {
    "recall": (
        lambda w=None: metrics.recall(TRUTH, FOUND, w),
        lambda w=None: sk.recall_score(TRUTH, FOUND, sample_weight=w),
    ),
    "precision": (
        lambda w=None: metrics.precision(TRUTH, FOUND, w),
        lambda w=None: sk.precision_score(TRUTH, FOUND, sample_weight=w),
    ),
    "specificity": (
        lambda w=None: metrics.specificity(TRUTH, FOUND, w),
        lambda w=None: sk.recall_score(TRUTH, FOUND, pos_label=False, sample_weight=w),
    ),
    "f1": (
        lambda w=None: metrics.f1(TRUTH, FOUND, w),
        lambda w=None: sk.f1_score(TRUTH, FOUND, sample_weight=w),
    ),
    "auroc": (
        lambda w=None: metrics.auroc(TRUTH, SCORES, w),
        lambda w=None: sk.roc_auc_score(TRUTH, SCORES, sample_weight=w),
    ),
    "negative_log_likelihood": (
        lambda w=None: metrics.negative_log_likelihood(TARGETS, P, w),
        lambda w=None: sk.log_loss(TARGETS, P, sample_weight=w),
    ),
    "brier": (
        lambda w=None: metrics.brier(TRUTH, SCORES, w),
        lambda w=None: sk.brier_score_loss(TRUTH, SCORES, sample_weight=w),
    ),
    "sensitivity_at_specificity": (
        lambda w=None: metrics.sensitivity_at_specificity(TRUTH, SCORES, 0.7, w),
        lambda w=None: max(t for f, t in zip(*curve(w), strict=True) if 1 - f >= 0.7 - 1e-9),
    ),
    "specificity_at_sensitivity": (
        lambda w=None: metrics.specificity_at_sensitivity(TRUTH, SCORES, 0.9, w),
        lambda w=None: max(1 - f for f, t in zip(*curve(w), strict=True) if t >= 0.9 - 1e-9),
    ),
    "partial_auroc": (
        lambda w=None: metrics.partial_auroc(TRUTH, SCORES, w),
        # As in ISIC 2024's scorer: classes exchanged, scikit-learn's McClish correction undone.
        lambda w=None: (
            0.2**2 / 2
            + (0.2 - 0.2**2 / 2) * (2 * sk.roc_auc_score(~TRUTH, -SCORES, max_fpr=0.2, sample_weight=w) - 1)
        ),
    ),
    "accuracy": (
        lambda w=None: metrics.accuracy(TARGETS, PREDICTED, w),
        lambda w=None: sk.accuracy_score(TARGETS, PREDICTED, sample_weight=w),
    ),
    "balanced_accuracy": (
        lambda w=None: metrics.balanced_accuracy(TARGETS, PREDICTED, CLASSES, w),
        lambda w=None: sk.balanced_accuracy_score(TARGETS, PREDICTED, sample_weight=w),
    ),
    "macro_f1": (
        lambda w=None: metrics.macro_f1(TARGETS, PREDICTED, CLASSES, w),
        lambda w=None: sk.f1_score(TARGETS, PREDICTED, average="macro", sample_weight=w),
    ),
    "class_recall": (
        lambda w=None: metrics.class_recall(TARGETS, PREDICTED, CLASSES, w),
        lambda w=None: sk.recall_score(TARGETS, PREDICTED, average=None, sample_weight=w),
    ),
    "confusion": (
        lambda w=None: metrics.confusion(TARGETS, PREDICTED, CLASSES, w),
        lambda w=None: sk.confusion_matrix(TARGETS, PREDICTED, sample_weight=w),
    ),
}


@pytest.mark.parametrize("name", MEASURES)
def test_equals_scikit_learn(name: str) -> None:
    ours, theirs = MEASURES[name]
    np.testing.assert_allclose(ours(), theirs(), atol=1e-12)
    np.testing.assert_allclose(ours(WEIGHTS[0]), theirs(WEIGHTS[0]), atol=1e-12)
    np.testing.assert_allclose(ours(WEIGHTS), [theirs(w) for w in WEIGHTS], atol=1e-12)


def test_fractional_weights() -> None:
    weights = RNG.random(N)
    expected = sk.roc_auc_score(TRUTH, SCORES, sample_weight=weights)
    assert metrics.auroc(TRUTH, SCORES, weights) == pytest.approx(expected, abs=1e-12)


def test_area_with_a_tie_by_hand() -> None:
    """Of the four pairs of positive and negative two are in order, one is tied, one is not."""
    truth = np.array([True, True, False, False])
    assert metrics.auroc(truth, np.array([0.9, 0.4, 0.4, 0.6])) == pytest.approx(2.5 / 4)


def test_undefined_is_nan_and_never_perfect() -> None:
    nobody, everybody = np.zeros(3, bool), np.ones(3, bool)
    assert math.isnan(metrics.recall(nobody, everybody))
    assert math.isnan(metrics.precision(everybody, nobody))
    assert math.isnan(metrics.specificity(everybody, nobody))
    assert math.isnan(metrics.f1(nobody, nobody))
    assert math.isnan(metrics.auroc(everybody, np.arange(3.0)))
    assert math.isnan(metrics.auroc(nobody, np.arange(3.0)))
    assert math.isnan(metrics.accuracy(np.zeros(3, int), np.zeros(3, int), np.zeros(3)))


def test_means_over_classes_skip_those_that_do_not_occur() -> None:
    """Classes 0, 0, 1 read as 0, 1, 1: recalls 1/2 and 1, F1 2/3 and 2/3; class 2 is nowhere."""
    truth, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])
    assert metrics.balanced_accuracy(truth, predicted, 3) == pytest.approx(3 / 4)
    assert metrics.macro_f1(truth, predicted, 3) == pytest.approx(2 / 3)
    assert math.isnan(metrics.class_recall(truth, predicted, 3)[2])


@pytest.mark.parametrize(
    ("target", "threshold"),
    [(1.0, 0.2), (0.8, 0.5), (0.75, 0.5), (0.6, 0.5), (0.4, 0.7), (0.2, 0.9), (0.01, 0.9)],
)
def test_threshold_by_hand(target: float, threshold: float) -> None:
    """Cancers at .9, .7, .5, .5, .2: recalls 1/5, 2/5, 4/5 (a tie), 5/5."""
    p_cancer = np.array([0.5, 0.9, 0.95, 0.2, 0.7, 0.5, 0.3])
    is_cancer = np.array([True, True, False, True, True, True, False])
    assert screening_threshold(is_cancer, p_cancer, target) == threshold


@pytest.mark.parametrize("target", [0.07, 0.29, 0.57, 0.95, 1.0])  # 0.07 * 100 and the like exceed 7
def test_threshold_reaches_the_target_and_nothing_higher_does(target: float) -> None:
    p_cancer = RNG.random(300)
    is_cancer = np.arange(300) < 100
    threshold = screening_threshold(is_cancer, p_cancer, target)
    assert metrics.recall(is_cancer, p_cancer >= threshold) == pytest.approx(target)
    assert metrics.recall(is_cancer, p_cancer >= np.nextafter(threshold, 1)) < target


def test_threshold_refuses_what_cannot_be() -> None:
    with pytest.raises(SettingError, match="no cancer"):
        screening_threshold(np.zeros(3, bool), np.ones(3), 0.95)
    for target in (0.0, 1.01, math.nan):
        with pytest.raises(SettingError, match="target recall"):
            screening_threshold(np.ones(3, bool), np.ones(3), target)


def test_calibration_error_by_hand() -> None:
    """Fifteen bins of two: in each, p is 0.1 too high on average but for the last, 0.4 too low."""
    truth = np.tile([False, True], 15)
    p = np.linspace(0.4, 0.6, 30)
    gaps = [abs(p[i] + p[i + 1] - 1) / 2 for i in range(0, 30, 2)]
    assert metrics.calibration_error(truth, p) == pytest.approx(np.mean(gaps))
    # An image that counts twice is two images of the same bin.
    weights = np.ones(30)
    weights[0] = 2
    gaps[0] = abs(2 * p[0] + p[1] - 1)
    expected = (2 * sum(gaps[1:]) + gaps[0]) / 31
    assert metrics.calibration_error(truth, p, weights) == pytest.approx(expected)


@pytest.mark.parametrize("least", [0.2, 0.8])
def test_without_positives_the_curve_is_undefined(least: float) -> None:
    none = np.zeros(N, dtype=bool)
    assert math.isnan(metrics.sensitivity_at_specificity(none, SCORES, least))
    assert math.isnan(metrics.specificity_at_sensitivity(none, SCORES, least))
    assert math.isnan(metrics.partial_auroc(none, SCORES))


def test_reliability_is_scikit_learns_curve_of_quantiles() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(1500)
    truth = rng.random(1500) < p
    shares, means = calibration_curve(truth, p, n_bins=15, strategy="quantile")
    ours = metrics.reliability(truth, p)
    np.testing.assert_allclose(ours[0], means, atol=2e-3)
    np.testing.assert_allclose(ours[1], shares, atol=2e-2)
    few = metrics.reliability(np.array([True, False]), np.array([0.75, 0.5]))
    np.testing.assert_array_equal(few, [[0.5, 0.75], [0, 1]])


def test_risk_and_coverage_by_hand() -> None:
    """By confidence: correct, wrong, correct, wrong."""
    wrong, confidence = np.array([True, False, True, False]), np.array([0.1, 0.9, 0.7, 0.4])
    coverage, risk = risk_coverage(wrong, confidence)
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3, 2 / 4])
    assert aurc(wrong, confidence) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert augrc(wrong, confidence) == pytest.approx((0 + 1 + 1 + 2) / 4 / 4)


def test_a_perfect_order_has_the_least_augrc() -> None:
    """Traub et al.: 1/2 of the squared error rate, but for the discreteness."""
    wrong = np.arange(1000) >= 800
    assert augrc(wrong, -np.arange(1000.0)) == pytest.approx(0.2**2 / 2, abs=1e-3)


def test_predictive_values_by_counting() -> None:
    """Of 1,000, 100 are cancers: 90 found, 10 missed; of 900 benign 180 referred."""
    ppv, npv = predictive_values(0.9, 0.8, 0.1)
    assert ppv == pytest.approx(90 / 270)
    assert npv == pytest.approx(720 / 730)


def test_net_benefit_by_hand() -> None:
    """Of ten, two of three cancers and one benign are above 0.2, whose odds are 1 to 4."""
    truth = np.arange(10) < 3
    p = np.array([0.9, 0.2, 0.1, 0.5, *[0.0] * 6])
    assert net_benefit(truth, p, 0.2) == pytest.approx(2 / 10 - 1 / 10 / 4)
    # Everybody: the share of cancers less the odds of the rest.
    assert net_benefit(truth, p + 0.2, 0.2) == pytest.approx(0.3 - 0.7 / 4)
