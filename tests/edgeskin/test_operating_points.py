"""Risk levels, and certified thresholds against exact binomial bounds and those of 0.11.0."""

import numpy as np
import pytest

from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import LesionScores, OperatingPoint
from edgeskin.decision.operating_points import certified_threshold, risk_levels, rules_for_sensitivity
from edgeskin.errors import SettingError
from edgeskin.results import Precision

pytestmark = pytest.mark.hazard("H-01")

# scipy.stats.beta.ppf(0.05, n - k, k + 1) for k misses among n lesions.
BOUNDS_OF_100 = (
    0.9704869503929601,
    0.9534401885464611,
    0.9383807996039593,
    0.92428920625017,
    0.9108037498411201,
)


def scores(cancer: list[float], bounds: tuple[float, ...]) -> LesionScores:
    return LesionScores(tuple(sorted(cancer)), (), bounds)


def points(*thresholds: float) -> list[OperatingPoint]:
    return [OperatingPoint("screen", threshold, 0.95, 0.95, 0.7) for threshold in thresholds]


@pytest.mark.parametrize(
    ("p_cancer", "level"), [(0.0, 0), (0.2999, 0), (0.3, 1), (0.5999, 1), (0.6, 2), (1.0, 2)]
)
def test_risk_changes_exactly_at_the_thresholds(p_cancer: float, level: int) -> None:
    assert risk_levels(np.array([p_cancer]), points(0.3, 0.6)).tolist() == [level]


def test_a_single_point_knows_no_medium() -> None:
    assert risk_levels(np.array([0.29, 0.3, 0.9]), points(0.3)).tolist() == [0, 2, 2]


def test_points_between_the_first_and_the_last_do_not_part_risks() -> None:
    assert risk_levels(np.array([0.1, 0.3, 0.5, 0.8]), points(0.2, 0.4, 0.7)).tolist() == [0, 1, 1, 2]


def test_the_threshold_is_the_score_after_the_misses() -> None:
    cancer = [place / 101 for place in range(1, 101)]
    for sensitivity, missed in ((0.97, 0), (0.95, 1), (0.93, 2), (0.91, 4)):
        threshold, bound = certified_threshold(scores(cancer, BOUNDS_OF_100), sensitivity)
        assert (threshold, bound.missed, bound.lesions) == ((missed + 1) / 101, missed, 100)
        assert (bound.sensitivity, bound.confidence) == (BOUNDS_OF_100[missed], 0.95)
        assert bound.sensitivity >= sensitivity


def test_a_sensitivity_that_is_a_bound_is_certified_by_it() -> None:
    cancer = [place / 101 for place in range(1, 101)]
    for missed, bound in enumerate(BOUNDS_OF_100):
        assert certified_threshold(scores(cancer, BOUNDS_OF_100), bound)[1].missed == missed
        above = float(np.nextafter(bound, 1))
        if missed:
            assert certified_threshold(scores(cancer, BOUNDS_OF_100), above)[1].missed == missed - 1


def test_equal_scores_certify_no_more_than_was_allowed() -> None:
    """Of 100 four may be missed at 0.9; five share the lowest score, so that none is."""
    threshold, bound = certified_threshold(scores([0.1] * 5 + [0.5] * 95, BOUNDS_OF_100), 0.9)
    assert (threshold, bound.missed) == (0.1, 4)
    assert bound.sensitivity == BOUNDS_OF_100[4]


def test_too_few_lesions_name_what_they_certify() -> None:
    with pytest.raises(SettingError, match=r"0\.98\D.* 100 \D*0\.97 ") as caught:
        certified_threshold(scores([0.5] * 100, BOUNDS_OF_100), 0.98)
    assert caught.value.code == "setting"
    with pytest.raises(SettingError, match=r" 2 \D*0\.8 "):
        certified_threshold(scores([0.5] * 2, ()), 0.8)


CERTIFIED = [
    ("default", "int8", 0.8, 0.138496, 46, 0.8011114892310696, 0.8142747505755947),
    ("default", "int8", 0.85, 0.113225, 33, 0.8503010979982336, 0.7881811204911742),
    ("default", "int8", 0.9, 0.061444, 20, 0.9010253043845963, 0.6891788181120491),
    ("default", "int8", 0.95, 0.045235, 8, 0.9506084998125404, 0.634689178818112),
    ("default", "int8", 0.98, 0.026532, 1, 0.9836911842667821, 0.5049884881043745),
    ("default", "int8", 0.989, 0.021277, 0, 0.9896876847067256, 0.43745203376822717),
    ("default", "fp32", 0.8, 0.133117, 46, 0.8011114892310696, 0.8104374520337683),
    ("default", "fp32", 0.85, 0.10932, 33, 0.8503010979982336, 0.7835763622409824),
    ("default", "fp32", 0.9, 0.061555, 20, 0.9010253043845963, 0.6930161166538756),
    ("default", "fp32", 0.95, 0.038986, 8, 0.9506084998125404, 0.6047582501918649),
    ("default", "fp32", 0.98, 0.025472, 1, 0.9836911842667821, 0.5042210283960092),
    ("default", "fp32", 0.989, 0.022779, 0, 0.9896876847067256, 0.47889485801995396),
    ("lite", "int8", 0.8, 0.15167, 46, 0.8011114892310696, 0.7935533384497314),
    ("lite", "int8", 0.85, 0.125604, 33, 0.8503010979982336, 0.7666922486569455),
    ("lite", "int8", 0.9, 0.084014, 20, 0.9010253043845963, 0.6838066001534919),
    ("lite", "int8", 0.95, 0.046328, 8, 0.9506084998125404, 0.5395241749808135),
    ("lite", "int8", 0.98, 0.024657, 1, 0.9836911842667821, 0.4297774366845741),
    ("lite", "int8", 0.989, 0.019751, 0, 0.9896876847067256, 0.3883346124328473),
    ("lite", "fp32", 0.8, 0.156399, 46, 0.8011114892310696, 0.8019953952417498),
    ("lite", "fp32", 0.85, 0.123957, 33, 0.8503010979982336, 0.7636224098234843),
    ("lite", "fp32", 0.9, 0.08502, 20, 0.9010253043845963, 0.6853415195702226),
    ("lite", "fp32", 0.95, 0.047264, 8, 0.9506084998125404, 0.5395241749808135),
    ("lite", "fp32", 0.98, 0.025813, 1, 0.9836911842667821, 0.43745203376822717),
    ("lite", "fp32", 0.989, 0.020134, 0, 0.9896876847067256, 0.3906369915579432),
]
"""What 0.11.0 certified: threshold, misses among 289 lesions, bound, and the specificity by lesion."""


@pytest.mark.hazard("H-10")
@pytest.mark.parametrize(
    ("bundle", "precision", "sensitivity", "threshold", "missed", "bound", "specificity"), CERTIFIED
)
def test_shipped_bundles_certify_what_0_11_0_did(
    bundle: str,
    precision: Precision,
    sensitivity: float,
    threshold: float,
    missed: int,
    bound: float,
    specificity: float,
) -> None:
    rules = rules_for_sensitivity(open_bundle(bundle).manifest.decision_rules[precision], sensitivity)
    screen = rules.operating_points[0]
    assert (screen.name, screen.threshold, screen.target_recall) == ("screen", threshold, sensitivity)
    assert screen.bound is not None
    assert (screen.bound.missed, screen.bound.lesions) == (missed, 289)
    assert screen.bound.sensitivity == pytest.approx(bound, abs=1e-12)
    assert screen.recall == pytest.approx(1 - missed / 289)
    assert screen.specificity == pytest.approx(specificity)
    assert rules.confidence is None
    assert rules.screening_threshold == threshold


@pytest.mark.hazard("H-10")
def test_higher_points_stay_and_lower_ones_go() -> None:
    rules = open_bundle().manifest.decision_rules["int8"]
    assert [point.name for point in rules.operating_points] == ["screen", "balanced"]
    balanced = rules.operating_points[1]
    assert rules_for_sensitivity(rules, 0.98).operating_points[1:] == (balanced,)
    assert rules_for_sensitivity(rules, 0.8).operating_points[1:] == ()


@pytest.mark.hazard("H-10")
@pytest.mark.parametrize("sensitivity", [0.09, 0.799, 1.0, 1.2, -1.0, float("nan")])
def test_sensitivities_out_of_range_are_refused(sensitivity: float) -> None:
    rules = open_bundle().manifest.decision_rules["int8"]
    with pytest.raises(SettingError, match=r"0\.8 "):
        rules_for_sensitivity(rules, sensitivity)


def test_a_sensitivity_that_289_lesions_cannot_certify_is_refused() -> None:
    with pytest.raises(SettingError, match=r"289 .* 0\.989 "):
        rules_for_sensitivity(open_bundle().manifest.decision_rules["int8"], 0.99)


def test_the_bound_holds_as_often_as_its_confidence() -> None:
    """Thresholds chosen on 100 uniform scores, whose true sensitivity is 1 - threshold."""
    rng = np.random.default_rng(0)
    drawn = [scores(rng.random(100).tolist(), BOUNDS_OF_100) for _ in range(2000)]
    true = np.array([1 - certified_threshold(one, 0.9)[0] for one in drawn])
    # 95% or a little more, since misses are whole numbers.
    assert 0.945 <= (true >= 0.9).mean() <= 0.985
