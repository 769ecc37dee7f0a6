"""Measures against hand-worked predictions."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeskin.bundle.manifest import DecisionRules, OperatingPoint
from edgeskin.decision.calibration import temperature_scaling
from train.data.table import DataError, Sample
from train.evaluate.bootstrap import Estimate, bootstrap_weights
from train.evaluate.measures import Measures, by_lesion, measure

RULES = DecisionRules(
    ("MEL", "NV", "BKL"),
    ("MEL",),
    temperature_scaling(1.0, 3),
    (OperatingPoint("screen", 0.25, 0.95, 1.0, 1.0),),
)


# image, lesion, label, source, probabilities of MEL, NV, BKL
ROWS = [
    ("a", "L1", "MEL", "X", (0.7, 0.2, 0.1)),
    ("b", "L1", "MEL", "X", (0.3, 0.6, 0.1)),
    ("c", "L2", "MEL", "Y", (0.1, 0.8, 0.1)),
    ("d", "L3", "NV", "X", (0.2, 0.7, 0.1)),
    ("e", "L4", "NV", "X", (0.5, 0.3, 0.2)),
    ("f", "L5", "BKL", "X", (0.05, 0.25, 0.7)),
]


AGES = {"a": 39.0, "b": 40.0, "c": 59.0, "d": 60.0}


def predicted() -> tuple[list[Sample], np.ndarray]:
    """The rows as samples and logits; the first three are of women, the first nevus is proven."""
    samples = [
        Sample(
            Path(image), image, label, lesion, None, lesion, AGES.get(image),
            "female" if image < "d" else None, None, "histo" if image == "d" else "follow_up", "test", source,
        )
        for image, lesion, label, source, _ in ROWS
    ]  # fmt: skip
    return samples, np.log(np.array([p for *_, p in ROWS], np.float32))


@pytest.fixture(scope="module")
def by_hand() -> Measures:
    return measure(*predicted(), RULES)


def values(*estimates: Estimate) -> tuple[float, ...]:
    return tuple(estimate.value for estimate in estimates)


def test_cancers_by_hand(by_hand: Measures) -> None:
    """At 0.25 a, b and e are found. Of nine pairs six are in order."""
    found = by_hand.screening
    assert found.threshold == 0.25
    assert values(found.recall, found.precision, found.f1, found.specificity) == pytest.approx((2 / 3,) * 4)
    assert by_hand.cancer_auroc.value == pytest.approx(6 / 9)


def test_classes_by_hand(by_hand: Measures) -> None:
    """By argmax a, d and f are right, b and c are read as nevi and e as melanoma."""
    assert by_hand.confusion == ((1, 2, 0), (1, 1, 0), (0, 0, 1))
    assert values(by_hand.accuracy, by_hand.balanced_accuracy) == pytest.approx((1 / 2, 11 / 18))
    assert by_hand.macro_f1.value == pytest.approx((0.4 + 0.4 + 1) / 3)
    expected = {"MEL": (3, 1 / 3, 1 / 2, 2 / 3), "NV": (2, 1 / 2, 1 / 3, 1 / 2), "BKL": (1, 1, 1, 0)}
    for name, (images, *numbers) in expected.items():
        one = by_hand.classes[name]
        assert one.images == images
        assert values(one.recall, one.precision, one.referred) == pytest.approx(tuple(numbers))


def test_thresholds_by_hand(by_hand: Measures) -> None:
    """At 0.45 only a and e are found."""
    assert [s.threshold for s in by_hand.thresholds] == pytest.approx(np.arange(0.20, 0.61, 0.05))
    assert by_hand.thresholds[1] == by_hand.screening
    at = by_hand.thresholds[5]
    assert values(at.recall, at.precision, at.f1, at.specificity) == pytest.approx((1 / 3, 1 / 2, 0.4, 2 / 3))


@pytest.mark.hazard("H-13")
def test_subgroups_by_hand(by_hand: Measures) -> None:
    """In X five of six pairs are in order, both cancers found, e is a false alarm; Y has no benign lesion."""
    sources = by_hand.subgroups["source"]
    x = sources["X"]
    assert values(x.cancer_auroc, x.recall, x.specificity) == pytest.approx((5 / 6, 1, 2 / 3))
    assert (sources["Y"].images, sources["Y"].cancers) == (1, 1)
    assert math.isnan(sources["Y"].cancer_auroc.value)
    assert sources["Y"].cancer_auroc.undefined == 2000
    assert math.isnan(sources["Y"].specificity.value)
    assert {name: one.images for name, one in by_hand.subgroups["age"].items()} == {
        "under 40": 1, "40 to 59": 2, "60 and over": 1, "not known": 2
    }  # fmt: skip
    assert {name: one.images for name, one in by_hand.subgroups["sex"].items()} == {
        "female": 3,
        "not known": 3,
    }
    assert {name: one.images for name, one in by_hand.subgroups["nevus"].items()} == {
        "histology-proven": 1, "others": 1
    }  # fmt: skip


def test_lesions_by_hand() -> None:
    """L1's two images are one lesion of mean probabilities 0.5, 0.4, 0.1: its class and P(cancer) by hand."""
    samples, logits = predicted()
    lesions, log_p = by_lesion(samples, logits, RULES.calibration)
    assert [lesion.image_id for lesion in lesions] == ["a", "c", "d", "e", "f"]
    np.testing.assert_allclose(np.exp(log_p[0]), (0.5, 0.4, 0.1), rtol=1e-6)
    measures = measure(lesions, log_p, RULES)
    assert measures.confusion == ((1, 1, 0), (1, 1, 0), (0, 0, 1))
    assert measures.screening.recall == Estimate(
        0.5, pytest.approx(0.0126, abs=1e-4), pytest.approx(0.9874, abs=1e-4), exact=True
    )
    inconsistent = [replace(samples[0], label="NV"), *samples[1:]]
    with pytest.raises(DataError, match="different labels: L1"):
        by_lesion(inconsistent, logits, RULES.calibration)


def test_intervals_draw_lesions(by_hand: Measures) -> None:
    assert (by_hand.images, by_hand.lesions, by_hand.groups) == (6, 5, 5)
    weights = bootstrap_weights([lesion for _, lesion, *_ in ROWS])
    drawn = [(a + b) / (a + b + c) for a, b, c, *_ in weights if a + b + c]  # c is the one missed
    assert by_hand.screening.recall.undefined == len(weights) - len(drawn)
    bounds = (by_hand.screening.recall.low, by_hand.screening.recall.high)
    assert bounds == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))))
