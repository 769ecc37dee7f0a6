"""Prediction sets and their most serious class, by hand."""

import numpy as np
import pytest

from edgeskin.decision.prediction_sets import most_serious, prediction_sets
from edgeskin.taxonomy import CANCER, ISIC_2019


def test_a_set_always_has_the_most_probable_class() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    members = prediction_sets(p, (0.6, 0.25, 0.0))
    np.testing.assert_array_equal(members, [[True, True, True], [False, False, True]])
    np.testing.assert_array_equal(prediction_sets(p[0], (0.6, 0.25, 0.0)), members[0])


def test_a_class_is_in_the_set_from_its_threshold_on() -> None:
    p = np.array([0.5, 0.3, 0.2])
    assert prediction_sets(p, (0.9, 0.3, 0.2)).tolist() == [True, True, True]
    above = float(np.nextafter(0.3, 1))
    assert prediction_sets(p, (0.9, above, 0.2)).tolist() == [True, False, True]


CLASSES = (*ISIC_2019, "own")
IS_CANCER = np.isin(CLASSES, (*CANCER, "own"))
SHARES = np.array([0.05, 0.1, 0.05, 0.05, 0.5, 0.05, 0.05, 0.05, 0.1])
CASES = [
    (["NV", "AK", "BCC"], "BCC"),
    (["SCC", "MEL", "NV"], "MEL"),
    (["SCC", "BCC"], "SCC"),
    (["NV", "BKL", "DF"], "BKL"),  # the most probable of those that are no cancer
    (["own", "NV"], "own"),  # a cancer that SEVERITY does not list
    (["own", "AK"], "AK"),
]


@pytest.mark.parametrize(("members", "expected"), CASES)
def test_the_most_serious_class(members: list[str], expected: str) -> None:
    chosen = np.isin(CLASSES, members)[None]
    assert CLASSES[most_serious(SHARES[None], chosen, CLASSES, IS_CANCER)[0]] == expected


def test_many_sets_at_once() -> None:
    chosen = np.stack([np.isin(CLASSES, members) for members, _ in CASES])
    found = most_serious(np.tile(SHARES, (len(CASES), 1)), chosen, CLASSES, IS_CANCER)
    assert [CLASSES[position] for position in found] == [expected for _, expected in CASES]
