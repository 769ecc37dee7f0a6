"""Measures of labelled pictures, against published and hand-worked numbers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeskin.batch.evaluation import LabelledScores, auroc, wilson
from edgeskin.taxonomy import CANCER, ISIC_2019

SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), min_size=2, max_size=12)


def row(p: float | None, risk: str | None) -> dict[str, Any]:
    return {"cancer_probability": p, "risk": risk}


@pytest.mark.parametrize(
    ("found", "images", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_newcombe(found: int, images: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    one = wilson(found, images)
    assert one is not None
    assert one.value == found / images
    assert (one.low, one.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_no_images_have_no_share() -> None:
    assert wilson(0, 0) is None
    assert auroc(np.array([0.5]), np.array([])) is None


@given(SCORES, SCORES)
def test_auroc_and_its_variance_are_those_of_all_pairs(cancer: list[float], benign: list[float]) -> None:
    """DeLong's placements counted pair by pair."""
    pairs = np.array([[(c > b) + 0.5 * (c == b) for b in benign] for c in cancer])
    variance = pairs.mean(1).var(ddof=1) / len(cancer) + pairs.mean(0).var(ddof=1) / len(benign)
    one = auroc(np.array(cancer), np.array(benign))
    assert one is not None
    assert one.value == pytest.approx(pairs.mean())
    if variance > 1e-12:
        half = 1.959964 * variance**0.5
        assert one.low == pytest.approx(max(0, pairs.mean() - half), abs=1e-6)
        assert one.high == pytest.approx(min(1, pairs.mean() + half), abs=1e-6)


def test_intervals_that_cannot_be_estimated_are_all_of_it() -> None:
    for cancer, benign in (([0.9], [0.1, 0.2]), ([0.8, 0.9], [0.1, 0.2])):
        one = auroc(np.array(cancer), np.array(benign))
        assert one is not None
        assert (one.value, one.low, one.high) == (1, 0, 1)


def test_measures_of_a_case_worked_by_hand() -> None:
    """4 cancers of which one is LOW and one unread; 3 benign of which one is MEDIUM; 2 labels unknown."""
    scores = LabelledScores(ISIC_2019, CANCER)
    for label, p, risk in (
        ("MEL", 0.9, "HIGH"), ("BCC", 0.4, "MEDIUM"), ("cancer", 0.1, "LOW"), ("MEL", None, None),
        ("NV", 0.05, "LOW"), ("benign", 0.2, "LOW"), ("BKL", 0.5, "MEDIUM"), ("NV", None, None),
        ("nevus", 0.1, "LOW"), ("nevus", 0.1, "LOW"),
    ):  # fmt: skip
        scores.add(label, row(p, risk))
    of = scores.evaluation()
    assert of is not None
    assert (of.labelled, of.cancers, of.benign) == (8, 3, 3)
    assert (of.missed, of.referred) == (1, 1)
    assert (of.unassessed_cancers, of.unassessed_benign) == (1, 1)
    assert of.unknown == {"nevus": 2}
    assert of.sensitivity is not None
    assert of.specificity is not None
    assert of.auroc is not None
    assert of.sensitivity.value == pytest.approx(2 / 3)
    assert of.specificity.value == pytest.approx(2 / 3)
    # Pairs won by a cancer: 0.9 three, 0.4 two, 0.1 one of three.
    assert of.auroc.value == pytest.approx(6 / 9)


def test_without_labels_there_is_no_evaluation() -> None:
    assert LabelledScores(ISIC_2019, CANCER).evaluation() is None
