"""What is monitored, and how it is distributed over the pictures of a reference.

`quantize` fits the reference of a bundle to validation, and `edgeskin monitor --reference` fits one to a
table of results, both by `fit_reference`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeskin.arrays import Float64s
from edgeskin.bundle.manifest import MeasureReference
from edgeskin.results import QUALITY_MEASURES, RISKS

RANKS = (0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.98)
"""Shares of the reference at which its ranks are divided into cells."""
TENTHS = tuple(share / 10 for share in range(1, 10))
"""Quantiles that bound the bins of a number."""
LEAST_REFERENCE = 300
"""Pictures below which a reference tells too little."""
MOST_REFERENCE = 10_000
"""Rows of a table that are kept as reference; of more, a random sample of so many."""
SEED = 1
"""Of the random numbers of a reference; those of the pictures that are compared with it must be others."""


@dataclass(frozen=True)
class Measure:
    """A property of pictures whose distribution is monitored.

    Attributes:
        name: Stable name, for programs.
        column: The column of `edgeskin.results.Assessment.to_row` that it is read from.
        categories: In a fixed order; empty for a number.
        codes: The position of the category of each text, NaN where the picture does not count; empty for a
            number.
    """

    name: str
    column: str
    categories: tuple[str, ...] = ()
    codes: Mapping[str, float] = field(default_factory=dict)

    def value(self, row: Mapping[str, Any]) -> float:
        """The number, or the position of the category, of one row; NaN where it has none.

        Raises ValueError for what the column cannot hold.
        """
        cell = row.get(self.column)
        if cell is None or cell == "":
            return math.nan
        if self.codes:
            if not isinstance(cell, str) or cell not in self.codes:
                raise ValueError(f"{self.column} {cell!r:.60} is not one of {', '.join(self.codes)}")
            return self.codes[cell]
        try:
            value = float(cell)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"{self.column} {cell!r:.60} is not a finite number")
        return value


def measures_of(classes: Sequence[str]) -> tuple[Measure, ...]:
    """What is monitored of a bundle with these classes. Pictures that cannot be read count nowhere."""
    numbers = ("cancer_probability", "confidence_score", "ood_score", "ood_features", "ood_picture")
    return (
        _rate("retake", {"assessed": 0, "out_of_scope": 0, "retake": 1}),
        _rate("out_of_scope", {"assessed": 0, "out_of_scope": 1, "retake": math.nan}),
        _categorical("risk", RISKS),
        _categorical("predicted_class", classes),
        _categorical("confidence_level", RISKS),
        *(Measure(name, name) for name in numbers),
        *(Measure(f"quality_{name}", f"quality_{name}") for name in QUALITY_MEASURES),
    )


def values_of(rows: Iterable[Mapping[str, Any]], measures: Sequence[Measure]) -> Float64s:
    """The value of each measure, (n, measures), NaN where a row has none. Raises as `Measure.value`."""
    values = [[measure.value(row) for measure in measures] for row in rows]
    return np.array(values, np.float64).reshape(len(values), len(measures))


def fit_reference(
    values: Float64s, measures: Sequence[Measure], seed: int = SEED
) -> dict[str, MeasureReference]:
    """The distribution of each measure that any picture has a value of.

    Args:
        values: Of n independent pictures, (n, measures); NaN where a picture has none.
        measures: What the columns hold.
        seed: Of the random numbers that rank pictures of equal value.
    """
    fitted = {}
    for position, measure in enumerate(measures):
        column = values[~np.isnan(values[:, position]), position]
        if len(column):
            fitted[measure.name] = _fit(column, measure, np.random.default_rng([seed, position]))
    return fitted


class Sample:
    """At most MOST_REFERENCE rows of a longer table, each of its rows with the same chance.

    Algorithm R of Vitter, "Random sampling with a reservoir" (ACM TOMS 11, 1985).
    """

    def __init__(self, measures: int) -> None:
        """Start without rows, each of which holds so many values."""
        self._kept = np.empty((MOST_REFERENCE, measures))
        self._seen = 0
        self._rng = np.random.default_rng(SEED)

    def add(self, values: Float64s) -> None:
        """Add rows, (n, measures), in the order of the table."""
        places = np.arange(self._seen, self._seen + len(values))
        self._seen += len(values)
        is_later = places >= MOST_REFERENCE
        places[is_later] = self._rng.integers(0, places[is_later] + 1)
        is_kept = places < MOST_REFERENCE
        self._kept[places[is_kept]] = values[is_kept]

    @property
    def values(self) -> Float64s:
        """The rows that are kept, (n, measures)."""
        return self._kept[: self._seen]


def cells_of(values: Float64s, reference: MeasureReference, rng: np.random.Generator) -> Float64s:
    """How many pictures fall into each cell of a reference's ranks, (cells,).

    Args:
        values: Of new pictures, (n,).
        reference: Of the same measure.
        rng: Draws the random numbers that rank pictures of equal value.
    """
    own = rng.random((len(values), 1))
    bounds, ties, column = np.array(reference.bounds), np.array(reference.ties), values[:, None]
    is_above = (column > bounds) | ((column == bounds) & (own > ties))
    return np.bincount(is_above.sum(axis=1), minlength=len(reference.sizes)).astype(np.float64)


def bins_of(values: Float64s, reference: MeasureReference) -> Float64s:
    """How many pictures fall into each bin of a reference that is shown, (bins,)."""
    places = np.searchsorted(np.array(reference.upper), values)
    return np.bincount(places, minlength=len(reference.counts)).astype(np.float64)


def _fit(values: Float64s, measure: Measure, rng: np.random.Generator) -> MeasureReference:
    pictures = len(values)
    ties = rng.random(pictures)
    order = np.lexsort((ties, values))
    ranks = np.clip(np.round(np.array(RANKS) * (pictures + 1)).astype(int), 1, pictures)
    ranks = np.unique(ranks)
    chosen = order[ranks - 1]
    if measure.categories:
        upper = np.arange(len(measure.categories) - 1) + 0.5
    else:
        upper = np.unique(np.quantile(values, TENTHS, method="inverted_cdf"))
    counts = np.bincount(np.searchsorted(upper, values), minlength=len(upper) + 1)
    return MeasureReference(
        pictures=pictures,
        bounds=tuple(values[chosen].tolist()),
        ties=tuple(ties[chosen].tolist()),
        sizes=tuple(np.diff([0, *ranks, pictures + 1]).tolist()),
        upper=tuple(upper.tolist()),
        counts=tuple(counts.tolist()),
    )


def _categorical(name: str, categories: Sequence[str]) -> Measure:
    codes = {category: float(position) for position, category in enumerate(categories)}
    return Measure(name, name, tuple(categories), codes)


def _rate(status: str, codes: Mapping[str, float]) -> Measure:
    """The share of pictures with a status, among those that it could have been given to."""
    return Measure(status, "status", ("no", "yes"), codes)
