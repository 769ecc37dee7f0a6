"""Sensitivity bounds against brute force over the binomial distribution, and against the shipped bundles."""

import json

import numpy as np
import pytest
from scipy.stats import beta, binom

from edgeskin.bundle.bundle import MANIFEST, SHIPPED
from edgeskin.bundle.manifest import LesionScores
from edgeskin.decision.operating_points import certified_threshold
from edgeskin.errors import SettingError
from quantize.fitting.operating_points import (
    fit_operating_point,
    fit_operating_points,
    sensitivity_bounds,
)

pytestmark = pytest.mark.hazard("H-01")


def lesion_scores(cancer: tuple[float, ...], benign: tuple[float, ...] = ()) -> LesionScores:
    return LesionScores(cancer, benign, sensitivity_bounds(len(cancer)))


# 100 cancer lesions at 0.01, 0.02, ..., with a second photo each 0.005 higher; 50 benign ones at 0.105.
LESIONS = lesion_scores(tuple(np.arange(1, 101) / 100), (0.105,) * 50)
P_CANCER = np.concatenate([np.arange(1, 101) / 100, np.arange(1, 101) / 100 + 0.005, np.full(50, 0.105)])
IS_CANCER = np.arange(250) < 200


@pytest.mark.parametrize("lesions", [1, 8, 59, 100, 289, 2000])
def test_bounds_solve_the_binomial_equation(lesions: int) -> None:
    bounds = np.array(sensitivity_bounds(lesions, least=0))
    assert len(bounds) == lesions
    assert (np.diff(bounds) < 0).all()
    np.testing.assert_allclose(binom.cdf(np.arange(lesions), lesions, 1 - bounds), 0.05, rtol=1e-8)
    assert bounds[0] == pytest.approx(0.05 ** (1 / lesions), abs=1e-12)


@pytest.mark.parametrize("lesions", [0, 1, 8, 14, 20, 289])
@pytest.mark.parametrize("least", [0.0, 0.5, 0.8])
def test_the_table_ends_at_the_least_sensitivity(lesions: int, least: float) -> None:
    everything = beta.ppf(0.05, lesions - np.arange(lesions), np.arange(lesions) + 1)
    expected = everything[everything >= least]
    assert sensitivity_bounds(lesions, least) == pytest.approx(tuple(expected), rel=1e-12)


def test_few_lesions_certify_nothing_useful() -> None:
    """Of 13 lesions, none missed certifies 0.05 ** (1 / 13) = 0.794; of 14, 0.807."""
    assert sensitivity_bounds(13) == ()
    assert sensitivity_bounds(14) == (pytest.approx(0.05 ** (1 / 14)),)


@pytest.mark.parametrize("lesions", [40, 59, 289, 600])
def test_allowed_misses_are_those_of_brute_force(lesions: int) -> None:
    scores = lesion_scores(tuple(np.arange(1, lesions + 1) / (lesions + 1)))
    for sensitivity in np.linspace(0.8, 0.999, 60):
        allowed = np.flatnonzero(binom.cdf(np.arange(lesions), lesions, 1 - sensitivity) <= 0.05)
        if len(allowed):
            threshold, bound = certified_threshold(scores, sensitivity)
            assert (bound.missed, threshold) == (allowed[-1], scores.cancer[allowed[-1]])
        else:
            with pytest.raises(SettingError):
                certified_threshold(scores, sensitivity)


def test_a_sensitivity_that_is_a_bound_allows_its_misses() -> None:
    scores = lesion_scores(tuple(np.arange(1, 290) / 290))
    for missed, bound in enumerate(scores.bounds):
        assert certified_threshold(scores, bound)[1].missed == missed
        if missed:
            assert certified_threshold(scores, np.nextafter(bound, 1))[1].missed == missed - 1


@pytest.mark.parametrize("bundle", [*SHIPPED])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_shipped_operating_points_come_out_again(bundle: str, precision: str) -> None:
    manifest = json.loads((SHIPPED[bundle] / MANIFEST).read_text(encoding="utf-8"))
    rules = manifest["variants"][precision]
    scores = lesion_scores(tuple(rules["lesion_scores"]["cancer"]))
    for point in rules["operating_points"]:
        stored = point["certificate"]
        threshold, bound = certified_threshold(scores, point["target_recall"])
        assert threshold == point["threshold"]
        assert bound.sensitivity == pytest.approx(stored["sensitivity"], abs=1e-9)
        assert (bound.missed, bound.lesions) == (stored["missed"], stored["lesions"])
        assert bound.confidence == stored["confidence"]


@pytest.mark.parametrize(("target", "misses"), [(0.95, 1), (0.9, 4), (0.8, 13)])
def test_points_by_hand(target: float, misses: int) -> None:
    point = fit_operating_point("p", target, LESIONS, P_CANCER, IS_CANCER)
    assert binom.cdf(misses, 100, 1 - target) <= 0.05 < binom.cdf(misses + 1, 100, 1 - target)
    assert (point.name, point.target_recall, point.threshold) == ("p", target, (misses + 1) / 100)
    assert point.recall == pytest.approx((200 - 2 * misses) / 200)
    assert point.specificity == (1.0 if point.threshold > 0.105 else 0.0)
    assert point.bound.sensitivity == pytest.approx(beta.ppf(0.05, 100 - misses, misses + 1))
    assert (point.bound.lesions, point.bound.missed) == (100, misses)


def test_points_rise_in_threshold() -> None:
    points = fit_operating_points(LESIONS, P_CANCER, IS_CANCER)
    assert [point.name for point in points] == ["screen", "balanced"]
    assert points[0].threshold < points[1].threshold


def test_too_few_lesions_certify_the_most_that_they_can() -> None:
    point = fit_operating_point("p", 0.99, LESIONS, P_CANCER, IS_CANCER)
    assert (point.threshold, point.target_recall) == (0.01, 0.99)
    assert point.bound.sensitivity == pytest.approx(0.05 ** (1 / 100))
    with pytest.raises(SettingError):
        certified_threshold(LESIONS, 0.99)


def test_equal_scores_keep_the_bound() -> None:
    threshold, bound = certified_threshold(lesion_scores((0.2,) * 100), 0.9)
    assert (threshold, bound.missed) == (0.2, 4)


def test_without_a_cancer_there_is_no_threshold() -> None:
    with pytest.raises(SettingError, match="no cancer"):
        fit_operating_point("p", 0.95, lesion_scores((), (0.1,)), P_CANCER, np.zeros(250, dtype=bool))
    with pytest.raises(SettingError):
        certified_threshold(lesion_scores(()), 0.9)
