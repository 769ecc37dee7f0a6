"""Intervals: the bootstrap by its properties and by hand, exact ones against SciPy."""

import math

import numpy as np
import pytest

from train.evaluate import metrics
from train.evaluate.bootstrap import (
    Estimate,
    basic_interval,
    bootstrap_weights,
    estimate,
    estimate_share,
    interval,
)

N = 240
WEIGHTS = bootstrap_weights([f"L{i // 3}" for i in range(N)], replicates=20, seed=3)


def test_replicates_draw_as_many_groups_as_there_are() -> None:
    groups = ["b", "a", "b", "c", "c", "c"]
    weights = bootstrap_weights(groups, replicates=500)
    assert weights.shape == (500, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])  # images of one lesion come together
    np.testing.assert_array_equal(weights[:, 3], weights[:, 5])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.15)
    np.testing.assert_array_equal(weights, bootstrap_weights(groups, replicates=500))
    assert (weights != bootstrap_weights(groups, replicates=500, seed=1)).any()


def test_two_lesions_by_hand() -> None:
    """Two draws of lesions A (two images, found) and B (one, missed): AA, AB or BA, BB; recalls 1, 2/3, 0."""
    weights = bootstrap_weights(["A", "A", "B"], replicates=4000)
    truth, found = np.ones(3, bool), np.array([True, True, False])
    values = metrics.recall(truth, found, weights)
    shares = [np.isclose(values, recall).mean() for recall in (1, 2 / 3, 0)]
    np.testing.assert_allclose(shares, (1 / 4, 1 / 2, 1 / 4), atol=0.03)
    assert estimate(metrics.recall, truth, found, weights=weights) == Estimate(2 / 3, 0, 1)


def test_interval_of_what_is_defined() -> None:
    values = np.arange(101.0)
    assert interval(values) == (2.5, 97.5)
    assert interval(np.append(values, [np.nan] * 50)) == (2.5, 97.5)
    assert all(math.isnan(bound) for bound in interval(np.full(3, np.nan)))


def test_undefined_replicates_are_counted() -> None:
    """One of two lesions is a cancer: a quarter of the replicates draw the other one twice."""
    weights = bootstrap_weights(["A", "B"], replicates=4000)
    found = estimate(metrics.recall, np.array([True, False]), np.array([True, True]), weights=weights)
    assert (found.value, found.low, found.high) == (1, 1, 1)
    assert found.undefined == pytest.approx(1000, abs=120)


def test_images_of_one_lesion_widen_the_interval() -> None:
    """Forty copies of ten images say no more than the ten."""
    found = np.tile(np.arange(10) < 7, 40)
    lesions = [str(i % 10) for i in range(400)]
    clustered = estimate(metrics.recall, np.ones(400, bool), found, weights=bootstrap_weights(lesions))
    # Ten independent draws at 0.7: standard error sqrt(.7 * .3 / 10) = .145.
    assert clustered.high - clustered.low == pytest.approx(2 * 1.96 * 0.145, abs=0.06)


@pytest.mark.parametrize(("hits", "total"), [(0, 20), (20, 20), (7, 240), (220, 240)])
def test_small_counts_have_exact_intervals(hits: int, total: int) -> None:
    from scipy.stats import binomtest

    of, found = np.arange(N) < total, np.arange(N) < hits
    expected = binomtest(hits, total).proportion_ci(method="exact")
    share = estimate_share(of, found, WEIGHTS)
    assert share.exact
    assert (share.value, share.low, share.high) == pytest.approx((hits / total, expected.low, expected.high))


def test_other_shares_are_bootstrapped() -> None:
    of, found = np.ones(N, dtype=bool), np.arange(N) < N // 2
    assert estimate_share(of, found, WEIGHTS) == estimate(metrics.recall, of, found, weights=WEIGHTS)
    nothing = estimate_share(~of, found, WEIGHTS)
    assert math.isnan(nothing.value)


def test_the_basic_interval_is_not_below_zero() -> None:
    """By hand: 0.05 with replicates from 0.06 to 0.12 has an interval from -0.02, so 0, to 0.04."""
    basic = basic_interval(Estimate(0.05, 0.06, 0.12))
    assert (basic.value, basic.low) == (0.05, 0.0)
    assert basic.high == pytest.approx(0.04)
