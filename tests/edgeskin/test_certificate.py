"""Certificates against scipy's binomial and beta distributions, the published table, and draws."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from edgeskin.decision.operating_points import Certificate, allowed_misses, certified_threshold, certify
from edgeskin.errors import SettingError


@pytest.mark.parametrize(
    ("lesions", "sensitivity", "misses"),
    [
        # Exact binomial, 95 % confidence: the fewest lesions for so many misses, and one less.
        (59, 0.95, 0), (58, 0.95, -1), (93, 0.95, 1), (92, 0.95, 0), (124, 0.95, 2), (153, 0.95, 3),
        (208, 0.95, 5), (207, 0.95, 4),
        (29, 0.9, 0), (28, 0.9, -1), (46, 0.9, 1), (61, 0.9, 2), (103, 0.9, 5),
    ],
)  # fmt: skip
def test_the_misses_allowed_are_the_published_ones(lesions: int, sensitivity: float, misses: int) -> None:
    assert allowed_misses(lesions, sensitivity) == misses


@pytest.mark.parametrize("lesions", [1, 10, 293, 5000])
@pytest.mark.parametrize("sensitivity", [0.5, 0.87, 0.95, 0.99])
def test_no_more_misses_would_do(lesions: int, sensitivity: float) -> None:
    misses = allowed_misses(lesions, sensitivity)
    assert misses < 0 or binom.cdf(misses, lesions, 1 - sensitivity) <= 0.05
    assert binom.cdf(misses + 1, lesions, 1 - sensitivity) > 0.05


@pytest.mark.parametrize(("lesions", "missed"), [(293, 8), (59, 0), (10, 9), (2000, 150)])
def test_what_is_certified_is_the_exact_lower_bound(lesions: int, missed: int) -> None:
    exact = beta.ppf(0.05, lesions - missed, missed + 1)
    assert certify(lesions, missed).sensitivity == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize(("lesions", "missed"), [(0, 0), (5, 5)])
def test_nothing_found_certifies_nothing(lesions: int, missed: int) -> None:
    assert certify(lesions, missed).sensitivity == 0


def test_the_threshold_is_the_score_after_the_misses() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1, 294) / 1000).tolist()
    threshold, certificate = certified_threshold(scores, 0.95)
    assert (threshold, certificate.missed, certificate.lesions) == (0.009, 8, 293)
    assert certificate.sensitivity == pytest.approx(beta.ppf(0.05, 285, 9))
    assert certificate.sensitivity >= 0.95


def test_equal_scores_certify_no_more_than_was_allowed() -> None:
    """Of 100 four may be missed at 0.9; five share the lowest score, so that none is."""
    threshold, certificate = certified_threshold([0.1] * 5 + [0.5] * 95, 0.9)
    assert (threshold, certificate.missed) == (0.1, 4)
    assert certificate.sensitivity == pytest.approx(beta.ppf(0.05, 96, 5))


def test_too_few_lesions_say_what_they_can() -> None:
    with pytest.raises(SettingError, match=r"20 cancer lesions certify 0\.86 at most"):
        certified_threshold([0.5] * 20, 0.95)
    assert certified_threshold([0.5] * 20, 0.86)[1].sensitivity >= 0.86


@pytest.mark.parametrize(
    "told", [(1.2, 0.95, 10, 1), (0.9, -1, 10, 1), (0.9, 0.95, 10, 11), (0.9, 0.95, 10, -1)]
)
def test_certificates_out_of_range_are_refused(told: tuple[float, float, int, int]) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        Certificate(*told)


def test_the_promise_is_kept_as_often_as_said() -> None:
    """Thresholds chosen on 200 uniform scores, whose true sensitivity is 1 - threshold."""
    rng = np.random.default_rng(0)
    true = np.array([1 - certified_threshold(rng.random(200).tolist(), 0.9)[0] for _ in range(2000)])
    # 95 % or a little more, since misses are whole numbers.
    assert 0.945 <= (true >= 0.9).mean() <= 0.985
