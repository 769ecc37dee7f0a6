"""Calibrated probabilities, worked by hand."""

import numpy as np
import pytest

from edgeskin.bundle.manifest import Calibration
from edgeskin.decision.calibration import (
    cancer_probability,
    correct_priors,
    probabilities,
    temperature_scaling,
)
from edgeskin.taxonomy import CANCER, ISIC_2019

IS_CANCER = np.isin(ISIC_2019, CANCER)


@pytest.mark.parametrize("temperature", [None, 1.0, 1.7])
def test_probabilities_are_the_softmax_of_scaled_logits(temperature: float | None) -> None:
    logits = np.random.default_rng(0).normal(scale=30, size=(50, 8)).astype(np.float32)
    calibration = None if temperature is None else temperature_scaling(temperature, 8)
    powers = np.exp(logits.astype(np.longdouble) / (temperature or 1.0))
    expected = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float64)
    np.testing.assert_allclose(probabilities(logits, calibration), expected, atol=1e-12)


def test_calibration_acts_on_the_logarithms_of_the_probabilities() -> None:
    """Half and half: the first row is doubled, and its class made e times as likely: e / 4 against 1 / 2."""
    calibration = Calibration("by hand", ((2.0, 0.0), (0.0, 1.0)), (1.0, 0.0))
    first = np.e / 4 / (np.e / 4 + 1 / 2)
    np.testing.assert_allclose(probabilities(np.array([3.0, 3.0]), calibration), [first, 1 - first])


def test_extreme_logits_stay_finite() -> None:
    np.testing.assert_array_equal(probabilities(np.array([1e4, -1e4])), [1.0, 0.0])


def test_any_leading_axes() -> None:
    logits = np.random.default_rng(1).normal(size=(3, 4, 8)).astype(np.float32)
    calibration = temperature_scaling(1.5, 8)
    together = probabilities(logits, calibration)
    assert together.shape == (3, 4, 8)
    np.testing.assert_allclose(together[1, 2], probabilities(logits[1, 2], calibration), rtol=1e-12)
    np.testing.assert_allclose(
        cancer_probability(together, IS_CANCER)[1, 2], together[1, 2][[0, 2, 3, 7]].sum(), rtol=1e-12
    )


def test_cancer_probability_sums_the_cancer_classes_alone() -> None:
    shares = np.array([0.1, 0.2, 0.05, 0.15, 0.3, 0.05, 0.1, 0.05])  # MEL NV BCC AK BKL DF VASC SCC
    assert cancer_probability(shares, IS_CANCER) == pytest.approx(0.1 + 0.05 + 0.15 + 0.05)
    assert cancer_probability(np.array([[0.3, 0.7]]), np.array([False, True])) == pytest.approx([0.7])


def test_prior_correction_by_hand() -> None:
    """Of 0.6 and 0.4, expected at 0.9 and 0.1: 2/3 and 4 are 1/7 and 6/7."""
    corrected = correct_priors(np.array([[0.6, 0.4], [0.9, 0.1]]), (0.9, 0.1))
    np.testing.assert_allclose(corrected, [[1 / 7, 6 / 7], [1 / 2, 1 / 2]])
    np.testing.assert_array_equal(correct_priors(np.array([0.6, 0.4]), ()), [0.6, 0.4])


@pytest.mark.parametrize("temperature", [0, -1.2, 1e-300, float("nan"), 1000])
def test_temperatures_out_of_range_are_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=str(temperature)):
        temperature_scaling(temperature, 8)
