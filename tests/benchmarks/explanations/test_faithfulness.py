"""The tests that an explanation can fail, on cases worked by hand."""

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import trapezoid

from benchmarks.explanations.faithfulness import (
    CHANCE,
    Network,
    border,
    falls,
    lesions_hidden,
    mean,
    painted,
    peak_in,
    perturbed,
    rank_correlation,
    ruler,
    shuffled,
    summary,
    with_ruler,
)
from edgeskin import Classifier


@pytest.fixture(scope="module")
def network(shared_micro_bundle: Path) -> Network:
    return Network(Classifier(shared_micro_bundle))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 220, (64, 64, 3), dtype=np.uint8)


def test_what_is_hidden_has_the_colour_of_the_skin(picture: np.ndarray) -> None:
    part = np.zeros((64, 64), bool)
    part[20:30] = True
    hidden = painted(picture, part)
    assert (hidden[part] == hidden[25, 0]).all()
    np.testing.assert_array_equal(hidden[~part], picture[~part])


def test_deletion_and_insertion_are_areas_under_p_cancer(network: Network, picture: np.ndarray) -> None:
    heat = np.linspace(1, 0, 64 * 64, dtype=np.float32).reshape(64, 64)  # from the first row to the last
    p = []
    for step in range(11):
        hidden = np.arange(64 * 64).reshape(64, 64) < 64 * 64 * step // 10
        odds = network.log_odds([painted(picture, hidden), painted(picture, ~hidden)])
        p.append(1 / (1 + np.exp(-odds)))
    expected = trapezoid(np.array(p), dx=0.1, axis=0)
    measured = perturbed(network, picture, heat)
    assert (measured["deletion"], measured["insertion"]) == pytest.approx(tuple(expected), abs=1e-6)


def test_the_fall_is_that_of_the_log_odds(network: Network, picture: np.ndarray) -> None:
    hottest = np.zeros((64, 64), bool)
    hottest[8:24, 30:50] = True
    before, after = network.log_odds([picture, painted(picture, hottest)])
    measured = falls(network, picture, hottest, np.random.default_rng(0))
    assert measured["hottest_fall"] == pytest.approx(before - after)
    nothing = falls(network, picture, np.zeros((64, 64), bool), np.random.default_rng(0))
    assert np.isnan(nothing["hottest_fall"])


def test_a_shuffled_head_has_the_same_weights_elsewhere(network: Network) -> None:
    head = network.classifier.head
    other = shuffled(head, np.random.default_rng(0))
    for one, moved in ((head.weight1, other.weight1), (head.weight2, other.weight2)):
        assert (one != moved).any()
        np.testing.assert_array_equal(np.sort(one, axis=None), np.sort(moved, axis=None))


def test_a_ruler_is_drawn_along_the_lower_edge_alone(picture: np.ndarray) -> None:
    changed = (with_ruler(picture) != picture).any(axis=2)
    np.testing.assert_array_equal(changed & ~ruler(64), np.zeros((64, 64), bool))
    assert changed[ruler(64)].mean() > 0.95
    assert border(100).mean() == pytest.approx(1 - 0.8**2)


def test_peaks_and_ranks() -> None:
    heat = np.zeros((10, 10), np.float32)
    assert np.isnan(peak_in(border(10), heat))
    heat[5, 5] = 1
    assert peak_in(border(10), heat) == 0
    heat[0, 3] = 2
    assert peak_in(border(10), heat) == 1
    assert rank_correlation(np.float32([[1, 2], [3, 9]]), np.float32([[2, 3], [5, 6]])) == 1
    assert np.isnan(rank_correlation(np.ones((2, 2), np.float32), np.eye(2, dtype=np.float32)))
    assert mean([1, np.nan, 0]) == 0.5


def test_means_are_over_the_cancers_found_or_over_all() -> None:
    def row(is_cancer: bool, referred: bool, value: float) -> dict[str, object]:
        keys = ("deletion", "insertion", "hottest_fall", "inside", "peak_inside", "peak_at_border")
        method = dict.fromkeys(
            (*keys, "peak_at_border_with_ruler", "peak_there_without", "peak_on_ruler"), value
        )
        return {
            "is_cancer": is_cancer,
            "referred": referred,
            "referred_in_one_view": referred,
            "referred_when_hidden": value > 3,
            "mask_area": 0.5,
            "grad-cam": method | {"elsewhere_fall": 2.0},
            CHANCE: {"deletion": value, "insertion": value},
        }

    rows = [row(True, True, 1), row(True, True, 5), row(True, False, 6), row(False, False, 4)]
    measured = summary("grad-cam", rows)
    assert (measured["deletion"], measured["hottest_fall"], measured["hottest_falls_more"]) == (3, 3, 0.5)
    assert (measured["inside"], measured["inside_when_right"], measured["inside_when_wrong"]) == (
        4,
        pytest.approx(10 / 3),
        6,
    )
    assert summary(CHANCE, rows) == {"deletion": 3, "insertion": 3}
    hidden = {"cancers_referred": 2, "still_referred": 1, "backgrounds": 4, "backgrounds_referred": 3}
    assert lesions_hidden(rows) == hidden
