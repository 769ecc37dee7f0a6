"""Confidence and its parts, worked by hand."""

import numpy as np
import pytest

from edgeskin.bundle.manifest import ConfidenceRule
from edgeskin.decision.confidence import PARTS, confidence_parts, confidences
from edgeskin.results import ConfidenceParts

RULE = ConfidenceRule((0.1, 0.2, 0.3, 0.4), (0.1, 0.5), (0.0, 0.2, 0.4), low=0.4, high=0.7)


def test_parts_by_hand() -> None:
    """P 0.2, threshold 0.05, the second bin; views at 0.1 and 0.3."""
    margin = 1 - (1 / 19) / (1 / 4)  # odds 1 / 4 against 1 / 19
    parts = confidence_parts(np.array([0.2]), np.array([[0.1, 0.3]]), 0.05, RULE.bounds, RULE.gaps)
    np.testing.assert_allclose(parts, [[0.6, 0.8, margin, 0.8]])
    one = confidences(np.array([0.2]), np.array([[0.1, 0.3]]), 0.05, RULE).of(0)
    assert one.score == pytest.approx(0.06 + 0.16 + 0.3 * margin + 0.32)
    assert one.level == "HIGH"
    assert one.parts == ConfidenceParts(*parts[0].tolist())
    assert tuple(vars(one.parts)) == PARTS


@pytest.mark.parametrize(
    ("p", "views", "level"),
    [(0.05, [0.0, 1.0], "LOW"), (0.5, [0.5, 0.5], "HIGH"), (0.3, [0.0, 0.6], "MEDIUM")],
)
def test_levels(p: float, views: list[float], level: str) -> None:
    assert confidences(np.array([p]), np.array([views]), 0.05, RULE).of(0).level == level


def test_levels_change_exactly_at_their_bounds() -> None:
    """Views that agree have a stability of 1, which alone makes this score: 1 at P 0.5."""
    stable = ConfidenceRule((0.0, 0.0, 0.0, 1.0), (), (0.0,), low=1.0, high=1.0)
    assert confidences(np.array([0.5]), np.array([[0.5, 0.5]]), 0.05, stable).of(0).level == "HIGH"


def test_margin_is_0_at_the_threshold_and_stability_is_0_at_its_worst() -> None:
    parts = confidence_parts(np.array([0.3]), np.array([[0.0, 1.0]]), 0.3, (), (0.0,))
    assert parts[0, 2:].tolist() == pytest.approx([0, 0])


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_extreme_probabilities_stay_finite(p: float) -> None:
    assert np.isfinite(confidences(np.array([p]), np.array([[p, p]]), 0.05, RULE).score).all()


def test_many_pictures_are_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    p, views = rng.random(50), rng.random((50, 8))
    together = confidences(p, views, 0.05, RULE)
    for place in range(50):
        one = confidences(p[place : place + 1], views[place : place + 1], 0.05, RULE).of(0)
        assert together.of(place).level == one.level
        assert together.of(place).score == pytest.approx(one.score, abs=1e-12)
