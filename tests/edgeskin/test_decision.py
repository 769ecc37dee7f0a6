import numpy as np
import pytest
from scipy.special import softmax

from edgeskin.bundle.manifest import Calibration, OperatingPoint, temperature_scaling
from edgeskin.decision.decide import (
    ACTIONS,
    OUT_OF_SCOPE,
    RETAKE,
    SAFETY_NET,
    cancer_probability,
    leading_label,
    probabilities,
    risk_level,
    without_priors,
)
from edgeskin.taxonomy import CANCER, ISIC_2019


def point(name: str, threshold: float) -> OperatingPoint:
    return OperatingPoint(name, threshold, 0.95, 0.95, 0.7)


def test_probabilities_are_scipys_softmax_of_scaled_logits() -> None:
    logits = np.random.default_rng(0).normal(scale=30, size=(50, 8)).astype(np.float32)
    np.testing.assert_allclose(probabilities(logits), softmax(logits.astype(np.float64), axis=1), atol=1e-12)
    expected = softmax(logits.astype(np.float64) / 1.7, axis=1)
    np.testing.assert_allclose(probabilities(logits, temperature_scaling(1.7, 8)), expected, atol=1e-12)


def test_a_calibration_moves_the_logarithms_of_the_probabilities() -> None:
    """Half and half, the first row doubled and its class made e times as likely: e / 4 against 1 / 2."""
    calibration = Calibration("by hand", ((2.0, 0.0), (0.0, 1.0)), (1.0, 0.0))
    first = np.e / 4 / (np.e / 4 + 1 / 2)
    np.testing.assert_allclose(probabilities(np.array([3.0, 3.0]), calibration), [first, 1 - first])


def test_extreme_logits_stay_finite() -> None:
    np.testing.assert_array_equal(probabilities(np.array([1e4, -1e4])), [1.0, 0.0])


def test_cancer_probability_sums_the_named_classes_only() -> None:
    shares = np.array([0.1, 0.2, 0.05, 0.15, 0.3, 0.05, 0.1, 0.05])  # MEL NV BCC AK BKL DF VASC SCC
    assert cancer_probability(shares, ISIC_2019, CANCER) == pytest.approx(0.1 + 0.05 + 0.15 + 0.05)
    assert cancer_probability(np.array([[0.3, 0.7]]), ["a", "b"], ["b"]) == pytest.approx([0.7])


def test_a_rare_class_is_decided_for_when_it_is_likelier_than_usual() -> None:
    """Of 0.6 and 0.4, expected at 0.9 and 0.1: 2/3 and 4 are 1/7 and 6/7."""
    freed = without_priors(np.array([[0.6, 0.4], [0.9, 0.1]]), (0.9, 0.1))
    np.testing.assert_allclose(freed, [[1 / 7, 6 / 7], [1 / 2, 1 / 2]])
    np.testing.assert_array_equal(without_priors(np.array([0.6, 0.4]), ()), [0.6, 0.4])


@pytest.mark.parametrize(
    ("p_cancer", "risk"), [(0.0, "LOW"), (0.2999, "LOW"), (0.3, "MEDIUM"), (0.6, "HIGH"), (1.0, "HIGH")]
)
def test_risk_changes_exactly_at_the_thresholds(p_cancer: float, risk: str) -> None:
    assert risk_level(p_cancer, [point("screen", 0.3), point("balanced", 0.6)]) == risk


def test_a_single_point_knows_no_medium() -> None:
    assert [risk_level(p, [point("screen", 0.3)]) for p in (0.29, 0.3)] == ["LOW", "HIGH"]


def test_no_action_promises_health() -> None:
    texts = (*ACTIONS.values(), OUT_OF_SCOPE, RETAKE, SAFETY_NET)
    assert not any(word in text for text in texts for word in ("benign", "safe", "no cancer"))


@pytest.mark.parametrize(
    ("members", "leading"),
    [
        (["NV", "AK", "BCC"], "BCC"),
        (["SCC", "MEL", "NV"], "MEL"),
        (["SCC", "BCC"], "SCC"),
        (["NV", "BKL", "DF"], "BKL"),  # the most probable of those that are no cancer
        (["own", "NV"], "own"),  # a cancer class that the table does not know
        (["own", "AK"], "AK"),
    ],
)
def test_the_most_serious_label_leads(members: list[str], leading: str) -> None:
    classes = (*ISIC_2019, "own")
    shares = np.array([0.05, 0.1, 0.05, 0.05, 0.5, 0.05, 0.05, 0.05, 0.1])
    chosen = np.isin(classes, members)
    assert leading_label(shares, chosen, classes, (*CANCER, "own")) == leading
