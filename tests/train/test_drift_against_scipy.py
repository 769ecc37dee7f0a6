"""The statistics of drift against SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from edgeskin.monitoring.drift import stability_index, urn_log_probability


@pytest.mark.parametrize("seed", range(5))
def test_the_urn_is_the_dirichlet_multinomial_of_one_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    urn, drawn = rng.integers(1, 300, 9) * 1.0, rng.integers(0, 12, 9)
    orders = math.lgamma(drawn.sum() + 1) - sum(math.lgamma(count + 1) for count in drawn.tolist())
    expected = stats.dirichlet_multinomial.logpmf(drawn, urn, drawn.sum()) - orders
    assert urn_log_probability(urn, drawn * 1.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_stability_index_is_the_sum_of_both_divergences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, pictures = rng.integers(5, 500, 10) * 1.0, rng.integers(5, 500, 10) * 1.0
    both = stats.entropy(reference + 0.5, pictures + 0.5) + stats.entropy(pictures + 0.5, reference + 0.5)
    assert stability_index(reference, pictures)[0] == pytest.approx(both)


def test_the_stability_index_without_drift_follows_the_chi_square_distribution() -> None:
    rng = np.random.default_rng(0)
    shares = np.full(10, 0.1)
    drawn = [
        stability_index(rng.multinomial(2000, shares) * 1.0, rng.multinomial(1000, shares) * 1.0)
        for _ in range(500)
    ]
    index, expected = np.array(drawn).T
    assert stats.kstest(index / expected * 9, stats.chi2(9).cdf).pvalue > 0.01
