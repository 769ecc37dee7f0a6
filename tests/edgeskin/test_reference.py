"""References: values of rows, ranks with ties, bins, and an even sample of a long table, by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest

from edgeskin.bundle.manifest import MeasureReference
from edgeskin.monitoring.reference import (
    MOST_REFERENCE,
    RANKS,
    Measure,
    Sample,
    bins_of,
    cells_of,
    fit_reference,
    measures_of,
    values_of,
)
from edgeskin.results import QUALITY_MEASURES
from edgeskin.taxonomy import ISIC_2019

NUMBER = Measure("x", "x")
LETTER = Measure("x", "x", ("a", "b", "c"), {"a": 0, "b": 1, "c": 2})


def fitted(values: np.ndarray, measure: Measure = NUMBER) -> MeasureReference:
    return fit_reference(np.asarray(values, np.float64)[:, None], [measure])["x"]


def test_names_are_stable() -> None:
    names = [measure.name for measure in measures_of(ISIC_2019)]
    assert names[:10] == [
        "retake", "out_of_scope", "risk", "predicted_class", "confidence_level", "cancer_probability",
        "confidence_score", "ood_score", "ood_features", "ood_picture",
    ]  # fmt: skip
    assert names[10:] == [f"quality_{name}" for name in QUALITY_MEASURES]


def test_a_picture_counts_only_where_it_could_have_got_a_status() -> None:
    measures = measures_of(ISIC_2019)[:4]
    rows = [
        {"status": "assessed", "risk": "HIGH", "predicted_class": "BCC"},
        {"status": "out_of_scope", "risk": None, "predicted_class": ""},
        {"status": "retake"},
    ]
    nan = math.nan
    np.testing.assert_array_equal(
        values_of(rows, measures), [[0, 0, 2, 2], [0, 1, nan, nan], [1, nan, nan, nan]]
    )


@pytest.mark.parametrize(
    ("column", "cell"),
    [("risk", "high"), ("status", "fine"), ("ood_score", "many"), ("ood_score", "nan"), ("ood_score", [1])],
)
def test_what_a_column_cannot_hold_is_refused(column: str, cell: object) -> None:
    with pytest.raises(ValueError, match=column):
        values_of([{column: cell}], measures_of(ISIC_2019))


def test_ranks_of_49_pictures_without_ties() -> None:
    """The ranks at RANKS of 49 + 1 gaps are 1, 5, 10, 20, 30, 40, 45 and 49; tenths are the ranks 5 to 45."""
    one = fitted(np.random.default_rng(0).permutation(np.arange(1, 50)))
    assert len(RANKS) == 8
    assert one.bounds == (1, 5, 10, 20, 30, 40, 45, 49)
    assert one.sizes == (1, 4, 5, 10, 10, 10, 5, 4, 1)
    assert one.upper == (5, 10, 15, 20, 25, 30, 35, 40, 45)
    assert one.counts == (5, 5, 5, 5, 5, 5, 5, 5, 5, 4)
    values = np.array([0.5, 1.5, 5.5, 50, 50])
    cells = cells_of(values, one, np.random.default_rng(0))
    assert cells.tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 2]
    assert bins_of(values, one).tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins_of(np.array([5.0, 45.0, 45.1]), one).tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_categories_are_counted_each() -> None:
    one = fitted(np.repeat([0, 1, 2], [70, 0, 30]), LETTER)
    assert (one.upper, one.counts) == ((0.5, 1.5), (70, 0, 30))
    assert bins_of(np.array([1.0, 2.0, 2.0]), one).tolist() == [0, 1, 2]
    assert sum(one.sizes) == 101


def test_a_constant_has_a_bin_for_what_is_above_it() -> None:
    one = fitted(np.zeros(400))
    assert (one.upper, one.counts) == ((0.0,), (400, 0))
    assert cells_of(np.ones(3), one, np.random.default_rng(0)).tolist() == [0] * 8 + [3]


@pytest.mark.parametrize("distinct", [1, 2, 5, 10**6])
def test_a_new_picture_falls_into_every_gap_with_equal_chance(distinct: int) -> None:
    """Whatever the distribution is, ties included: the exact law that the test of drift rests on."""
    rng = np.random.default_rng(3)
    runs, pictures = 3000, 49
    counts = np.zeros(9)
    for seed in range(runs):
        values = rng.integers(0, distinct, pictures + 1).astype(float) ** 2
        one = fit_reference(values[:-1, None], [NUMBER], seed)["x"]
        counts += cells_of(values[-1:], one, rng)
    expected = runs * np.array([1, 4, 5, 10, 10, 10, 5, 4, 1]) / (pictures + 1)
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 20.1  # exceeded with a chance of 1% at 8 degrees of freedom


def test_no_picture_no_reference() -> None:
    values = np.array([[math.nan, 1.0]] * 3)
    assert list(fit_reference(values, [Measure("a", "a"), Measure("b", "b")])) == ["b"]


def test_every_row_of_a_long_table_is_kept_with_the_same_chance() -> None:
    rows = 3 * MOST_REFERENCE
    sample = Sample(1)
    for start in range(0, rows, 700):
        sample.add(np.arange(start, min(start + 700, rows), dtype=float)[:, None])
    kept = sample.values[:, 0]
    assert len(set(kept.tolist())) == MOST_REFERENCE
    thirds = np.histogram(kept, [0, MOST_REFERENCE, 2 * MOST_REFERENCE, rows])[0]
    # Hypergeometric: 3,333 in each, standard deviation 38.
    assert np.abs(thirds - MOST_REFERENCE / 3).max() < 4 * 38.5


def test_a_short_table_is_kept_whole() -> None:
    sample = Sample(2)
    sample.add(np.array([[1.0, 2.0], [3.0, 4.0]]))
    sample.add(np.empty((0, 2)))
    assert sample.values.tolist() == [[1, 2], [3, 4]]


def test_gaps_are_fractions_of_the_whole() -> None:
    one = fitted(np.arange(999.0))
    shares = [Fraction(size, 1000) for size in one.sizes]
    assert [float(sum(shares[: i + 1])) for i in range(8)] == list(RANKS)
