"""The gate on hand-made probabilities: each check fails alone, by a known amount."""

import math

import numpy as np
import pytest

from edgeskin.bundle.manifest import DecisionRules, OperatingPoint
from edgeskin.decision.calibration import temperature_scaling
from quantize.fitting.labels import Labels
from quantize.gate import Comparison, check, compare, mcnemar

pytestmark = pytest.mark.hazard("H-09")

CLASSES = ("MEL", "NV", "DF")
MEL, NV, DF = range(3)
TARGETS = np.repeat([MEL, NV, DF], [40, 40, 20])
IDS = tuple(f"image{i}" for i in range(100))
LABELS = Labels(IDS, tuple(f"lesion{i}" for i in range(100)), TARGETS, CLASSES, ("MEL",))
# Every class is right, and P(MEL) is 0.4 for cancers and 0.3 for benign lesions.
P = np.array([[0.4, 0.35, 0.25], [0.3, 0.4, 0.3], [0.3, 0.3, 0.4]])[TARGETS]


def rules_at(threshold: float = 0.1, priors: tuple[float, ...] = ()) -> DecisionRules:
    point = OperatingPoint("screen", threshold, 0.95, 1.0, 1.0)
    return DecisionRules(CLASSES, ("MEL",), temperature_scaling(1.0, len(CLASSES)), (point,), priors)


def view_logits(p: np.ndarray) -> np.ndarray:
    """One view an image: p (n, C) -> (n, 1, C)."""
    return np.log(p)[:, None]


def compared(p: np.ndarray, threshold: float = 0.1, labels: Labels = LABELS) -> Comparison:
    """FP32 gives P, and INT8 gives p."""
    fp32, int8 = (view_logits(P), rules_at()), (view_logits(p), rules_at(threshold))
    return compare("native", labels, fp32, int8, replicates=200)


def failures(comparison: Comparison) -> dict[str, float]:
    return {check.name: check.value for check in comparison.checks if not check.passed}


def test_the_same_network_passes() -> None:
    same = compared(P.copy())
    assert same.passed
    assert [check.value for check in same.checks] == [0] * 8
    assert same.fp32 == same.int8
    assert same.fp32.class_recall == {"MEL": 1, "NV": 1, "DF": 1}
    assert (same.lost, same.gained, same.logit_rmse, same.mcnemar_recall) == ((), (), 0, 1)
    assert (same.auroc_change.value, same.auroc_change.low, same.auroc_change.high) == (0, 0, 0)


def test_a_missed_cancer_fails_the_recall() -> None:
    p = P.copy()
    p[7] = [0.39, 0.36, 0.25]
    lost = compared(p, threshold=0.395)
    assert failures(lost) == {"cancer recall drop": pytest.approx(1 / 40)}
    assert not lost.passed
    assert lost.lost == ("image7",)
    assert lost.recall_change.value == pytest.approx(-1 / 40)
    assert lost.recall_change.low < -1 / 40 < lost.recall_change.high <= 0
    # FP32 refers all 60 benign lesions at 0.1, and INT8 none.
    assert lost.mcnemar_specificity == pytest.approx(2 * 0.5**60)
    assert lost.specificity_change.value == 1
    assert lost.shift.max == pytest.approx(0.01)
    assert lost.shift.median == 0


def test_referring_more_benign_lesions_fails_the_specificity() -> None:
    """Two of 60 benign lesions rise above the threshold, a drop of 3.3 points; one alone, 1.7, passes."""
    for count, failed in ((1, {}), (2, {"cancer specificity drop": pytest.approx(2 / 60)})):
        p, threshold = P.copy(), 0.35
        p[40 : 40 + count] = [0.36, 0.38, 0.26]
        fp32, int8 = (view_logits(P), rules_at(threshold)), (view_logits(p), rules_at(threshold))
        assert failures(compare("native", LABELS, fp32, int8, replicates=10)) == failed


def test_a_gained_cancer_is_reported() -> None:
    labels, fp32 = LABELS, view_logits(P)
    gained = compare("native", labels, (fp32, rules_at(0.5)), (fp32, rules_at(0.35)), replicates=10)
    assert len(gained.gained) == 40
    assert gained.checks[1].value == -1
    assert gained.passed


def test_cancers_among_benign_fail_the_auroc() -> None:
    p = P.copy()
    p[40:50] = [0.41, 0.42, 0.17]  # ten of 60 benign lesions score above every cancer
    assert failures(compared(p)) == {"cancer AUROC drop": pytest.approx(10 / 60)}


def test_other_classes_fail_the_agreement() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat([MEL, NV, DF], [100, 700, 200])
    names = tuple(str(i) for i in range(1000))
    labels = Labels(names, names, targets, CLASSES, ("MEL",))
    before = P[[0, 40, 99]][targets]
    # 16 wrong ones become right and 16 right ones wrong, so that no recall changes.
    wrong = rng.choice(np.flatnonzero(targets == NV), 32, replace=False)
    before[wrong[:16]] = before[wrong[:16]][:, [0, 2, 1]] + [0, -0.05, 0.05]
    after = before.copy()
    after[wrong] = after[wrong][:, [0, 2, 1]]
    after[wrong[16:]] += [0, -0.05, 0.05]
    outputs = [(view_logits(p), rules_at()) for p in (before, after)]
    comparison = compare("native", labels, *outputs, replicates=10)
    assert failures(comparison) == {"share given another class": pytest.approx(0.032)}


@pytest.mark.parametrize(("count", "passes"), [(1, True), (2, False)])
def test_a_class_may_lose_one_lesion(count: int, passes: bool) -> None:
    p = P.copy()
    p[80 : 80 + count] = [0.3, 0.4, 0.3]  # dermatofibromas classed as nevi
    comparison = compared(p)
    assert comparison.passed == passes
    assert failures(comparison) == ({} if passes else {"DF recall drop": pytest.approx(2 / 20)})


def test_the_limit_of_a_class_counts_lesions() -> None:
    """Of 20 images of two lesions, one lesion is half of the class."""
    lesions = tuple(f"lesion{i if i < 80 else 80 + i % 2}" for i in range(100))
    labels = Labels(IDS, lesions, TARGETS, CLASSES, ("MEL",))
    assert compared(P.copy(), labels=labels).checks[-1].limit == 0.5
    assert compared(P.copy()).checks[-1].limit == 0.05
    assert compared(P.copy()).checks[5].limit == 1 / 40


def test_nan_fails() -> None:
    p = P.copy()
    p[3] = np.nan
    assert not compared(p).passed
    assert not check("a drop", math.nan, 1.0).passed


def test_a_drop_equal_to_the_limit_passes() -> None:
    assert 0.95 - 0.945 > 0.005
    assert check("a drop", 0.95 - 0.945, 0.005).passed
    assert not check("a drop", 0.0051, 0.005).passed


@pytest.mark.parametrize(
    ("only_one", "only_other", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (6, 0, 2 / 64), (0, 6, 2 / 64), (8, 2, 2 * (1 + 10 + 45) / 1024), (3, 3, 1.0)],
)
def test_mcnemar_by_hand(only_one: int, only_other: int, p: float) -> None:
    one = np.repeat([True, False, True, False], [only_one, only_other, 5, 7])
    other = np.repeat([False, True, True, False], [only_one, only_other, 5, 7])
    assert mcnemar(one, other) == pytest.approx(p)
