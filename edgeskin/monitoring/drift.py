"""Drift: whether the pictures of a table are distributed as those of a reference.

Each measure is tested sequentially, so that the table may grow and be looked at after every picture. Under no
drift the pictures of the reference and the new ones are exchangeable. The next picture then falls into each
gap between the ranks of all pictures so far with equal chance, whatever the distribution is: cells of the
reference's ranks fill up like Polya's urn. The evidence of a window is the likelihood ratio of a forecast
from the windows before it against the urn. Its products from all possible starts of a drift, weighted by
1 / (j (j + 1)) for the j-th window, are a test martingale: its start is 1, and under no drift it ever exceeds
1 / a with a chance of at most a (Ville, 1939), so 1 / (its maximum) is a p-value at every look.

Sources: Vovk, "Testing randomness online" (Statistical Science 36, 2021), for test martingales of ranks;
Shin, Ramdas and Rinaldo, "E-detectors" (NEJSDS 2, 2024), for the sum over starts; Ramdas and Wang,
"Hypothesis testing with e-values" (2025), for p-values at every look. Holm's procedure (Scandinavian Journal
of Statistics 6, 1979) holds the chance of any false alarm over all measures, however they depend on each
other. Bounds on such a chance hold for one series, from its first picture on.
"""

import contextlib
import filecmp
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from edgeskin.arrays import Float64s
from edgeskin.bundle.bundle import Bundle
from edgeskin.bundle.manifest import MeasureReference
from edgeskin.errors import BundleError, SettingError
from edgeskin.monitoring.reference import (
    LEAST_REFERENCE,
    Measure,
    Sample,
    bins_of,
    cells_of,
    fit_reference,
    measures_of,
)
from edgeskin.monitoring.rows import Origin, read_results

FALSE_ALARM_RATE = 0.05
"""The most that the chance of any alarm is, over all measures and looks, while nothing drifts."""
LEAST_PICTURES = 300
"""Pictures below which no drift found means nothing: with a reference of 1,000, a number that shifts by half
a standard deviation is found within so many in 9 of 10 series."""
WINDOW = 50
"""Pictures between two looks."""
MEMORY = 1000
"""Pictures that the forecast of the next window remembers, its weights falling exponentially."""
PRIOR = 100.0
"""Pictures that the forecast's expectation of no drift is worth."""
SEED = 2
"""Of the random numbers of a series; not that of a reference."""

Verdict = Literal["drift", "no_drift", "too_few"]
Reason = Literal["not_in_table", "not_in_reference"]


@dataclass(frozen=True)
class Bin:
    """A category, or an interval of a number. reference, pictures: how many fall into it."""

    label: str
    reference: int
    pictures: int


@dataclass(frozen=True)
class MeasureDrift:
    """A measure compared with its reference.

    Attributes:
        name: Of the measure (`edgeskin.monitoring.reference.measures_of`).
        verdict: ``too_few`` where there are under LEAST_PICTURES and no drift is found.
        pictures: That have a value.
        reference_pictures: Of the reference that have a value.
        p_value: Adjusted for all measures and looks; there is drift at FALSE_ALARM_RATE or below.
        psi: Population stability index, an effect size: 0 for equal shares in all bins.
        expected_psi: What it is on average for so many pictures without drift.
        bins: The shares that it compares.
    """

    name: str
    verdict: Verdict
    pictures: int
    reference_pictures: int
    p_value: float
    psi: float
    expected_psi: float
    bins: tuple[Bin, ...]

    @property
    def most_changed(self) -> Bin:
        """The bin that adds most to the index."""

        def part(one: Bin) -> float:
            ours = (one.pictures + 0.5) / self.pictures
            theirs = (one.reference + 0.5) / self.reference_pictures
            return (ours - theirs) * math.log(ours / theirs)

        return max(self.bins, key=part)

    @property
    def shift(self) -> Literal["higher", "lower"] | None:
        """Whether the pictures mostly lie in higher bins than the reference, or in lower ones.

        That is the Mann-Whitney statistic of the bins, the chance that a new picture lies above one of the
        reference, if it is further from 1/2 than twice its standard error. None if not, as where only the
        spread changes.
        """
        ours = np.array([one.pictures for one in self.bins], np.float64) / self.pictures
        theirs = np.array([one.reference for one in self.bins], np.float64) / self.reference_pictures
        above = float(ours @ (np.cumsum(theirs) - theirs / 2)) - 0.5
        error = math.sqrt((1 / self.pictures + 1 / self.reference_pictures) / 12)
        if abs(above) <= 2 * error:
            return None
        return "higher" if above > 0 else "lower"


@dataclass(frozen=True)
class DriftReport:
    """Tables of results compared with a reference.

    Attributes:
        verdict: ``drift`` if any measure drifts; ``too_few`` if none does and there are under LEAST_PICTURES.
        pictures: That could be read.
        errors: Rows of pictures that could not.
        needed: LEAST_PICTURES.
        false_alarm_rate: FALSE_ALARM_RATE.
        model: Name of the bundle. version, sha256, precision: of the model.
        reference: ``bundle``, or the name of the table.
        measures: All that are compared, by rising p-value.
        not_compared: Why the other measures are not.
    """

    verdict: Verdict
    pictures: int
    errors: int
    needed: int
    false_alarm_rate: float
    model: str
    version: str
    sha256: str
    precision: str
    reference: str
    measures: tuple[MeasureDrift, ...]
    not_compared: Mapping[str, Reason]


class SequentialTest:
    """The test of one measure, in memory that does not grow with the pictures."""

    def __init__(self, reference: MeasureReference, seed: int = SEED) -> None:
        """Start a series. seed: of the random numbers that rank pictures of equal value."""
        self._reference = reference
        self._rng = np.random.default_rng(seed)
        self._waiting = np.empty(0)
        self._urn = np.array(reference.sizes, np.float64)
        self._remembered = np.zeros(len(reference.sizes))
        self._windows = 0
        self._log_sum = -math.inf
        self._log_most = 0.0

    def add(self, values: Float64s) -> None:
        """Add pictures, (n,), in their order; every WINDOW of them is a look."""
        self._waiting = np.concatenate([self._waiting, values])
        whole = len(self._waiting) // WINDOW * WINDOW
        for start in range(0, whole, WINDOW):
            self._look(self._waiting[start : start + WINDOW])
        self._waiting = self._waiting[whole:]

    def p_value(self) -> float:
        """Over all looks, the last one at the last picture. No pictures can be added afterwards."""
        if len(self._waiting):
            self._look(self._waiting)
            self._waiting = np.empty(0)
        return math.exp(-self._log_most)

    def _look(self, values: Float64s) -> None:
        cells = cells_of(values, self._reference, self._rng)
        forecast = self._remembered + PRIOR * self._urn / self._urn.sum()
        log_forecast = float(cells @ np.log(forecast / forecast.sum()))
        log_evidence = log_forecast - urn_log_probability(self._urn, cells)
        self._windows += 1
        j = self._windows
        self._log_sum = float(np.logaddexp(self._log_sum, -math.log(j * (j + 1)))) + log_evidence
        # The starts to come have the weight 1 / (j + 1), and their product is still 1.
        self._log_most = max(self._log_most, float(np.logaddexp(self._log_sum, -math.log(j + 1))))
        self._remembered = self._remembered * (1 - WINDOW / MEMORY) + cells
        self._urn = self._urn + cells


def urn_log_probability(urn: Float64s, drawn: Float64s) -> float:
    """The log probability of one sequence with these counts, (cells,), drawn from Polya's urn, (cells,).

    It is that of the Dirichlet-multinomial distribution, without its number of orders.
    """
    before = sum(map(math.lgamma, urn.tolist())) - math.lgamma(urn.sum())
    after = sum(map(math.lgamma, (urn + drawn).tolist())) - math.lgamma(urn.sum() + drawn.sum())
    return after - before


def stability_index(reference: Float64s, pictures: Float64s) -> tuple[float, float]:
    """The population stability index of two counts, (bins,), and its expectation without drift.

    Half a picture is added to each bin that holds any, so that empty bins have a logarithm. The expectation
    is (bins - 1) (1 / n + 1 / m), that of the chi-square distribution that the index then follows (Yurdakul
    and Naranjo, "Statistical properties of the population stability index", 2020).
    """
    is_used = reference + pictures > 0
    expected = (is_used.sum() - 1) * (1 / reference.sum() + 1 / pictures.sum())
    ours, theirs = pictures[is_used] + 0.5, reference[is_used] + 0.5
    a, b = ours / ours.sum(), theirs / theirs.sum()
    return float(((a - b) * np.log(a / b)).sum()), float(expected)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, so that each may be compared with the rate of all (Holm, 1979)."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = highest
    return adjusted


def find_drift(tables: Sequence[Path], bundle: Bundle, reference: Path | None = None) -> DriftReport:
    """Compare tables of results, in their order, with a bundle's reference or with another table.

    Args:
        tables: Of one series of pictures, the earliest first.
        bundle: Whose results they hold.
        reference: A table of pictures as they should be; None for the bundle's reference.

    Raises:
        SettingError: A table is given twice, is empty or cannot be read, holds results of another bundle,
            precision or threshold, or the reference is missing or too small.
        BundleError: The bundle's reference is of other measures.
    """
    _require_different(tables if reference is None else [*tables, reference])
    manifest = bundle.manifest
    measures = measures_of(manifest.classes)
    origin = Origin(bundle, own_threshold=reference is None)
    fitted = None if reference is None else _reference_of(reference, measures, origin)
    if fitted is None and manifest.reference is None:
        raise SettingError(
            f"the bundle {manifest.name} {manifest.version} has no reference to compare with; give one with "
            "--reference FILE, a table of its results on pictures as they should be, such as those of your "
            f"first month (at least {LEAST_REFERENCE})"
        )
    series: dict[str, _Series] | None = None
    rows = errors = 0
    for table in tables:
        for chunk in read_results(table, measures, origin):
            if series is None:
                assert origin.precision is not None
                fitted = fitted or dict((manifest.reference or {})[origin.precision])
                series = _start(fitted, measures)
            rows, errors = rows + len(chunk.values) + chunk.errors, errors + chunk.errors
            for position, measure in enumerate(measures):
                if measure.name in series:
                    column = chunk.values[:, position]
                    series[measure.name].add(column[~np.isnan(column)])
    if series is None:
        raise SettingError(f"{tables[0]}: holds no results; give a table of `edgeskin predict`")
    compared = _compare(series)
    pictures = rows - errors
    if any(one.verdict == "drift" for one in compared):
        verdict: Verdict = "drift"
    else:
        verdict = "too_few" if pictures < LEAST_PICTURES else "no_drift"
    reasons: dict[str, Reason] = {
        measure.name: "not_in_table" if measure.name in series else "not_in_reference"
        for measure in measures
        if measure.name not in {one.name for one in compared}
    }
    return DriftReport(
        verdict, pictures, errors, LEAST_PICTURES, FALSE_ALARM_RATE, manifest.name, manifest.version,
        bundle.sha256, str(origin.precision), "bundle" if reference is None else reference.name, compared,
        reasons,
    )  # fmt: skip


class _Series:
    """The pictures of one measure so far."""

    def __init__(self, measure: Measure, reference: MeasureReference) -> None:
        self.measure, self.reference = measure, reference
        self.test = SequentialTest(reference)
        self.counts = np.zeros(len(reference.counts))

    def add(self, values: Float64s) -> None:
        self.test.add(values)
        self.counts += bins_of(values, self.reference)

    def compared(self, p_value: float) -> MeasureDrift:
        pictures = int(self.counts.sum())
        of_reference = np.array(self.reference.counts, np.float64)
        psi, expected = stability_index(of_reference, self.counts)
        found: Verdict = "too_few" if pictures < LEAST_PICTURES else "no_drift"
        labels = self.measure.categories or _intervals(self.reference.upper)
        counts = zip(labels, self.reference.counts, self.counts.astype(int).tolist(), strict=True)
        return MeasureDrift(
            self.measure.name,
            "drift" if p_value <= FALSE_ALARM_RATE else found,
            pictures,
            self.reference.pictures,
            p_value,
            psi,
            expected,
            tuple(Bin(*one) for one in counts),
        )


def _require_different(tables: Sequence[Path]) -> None:
    """Raise SettingError if a table is there twice, as the same file or as a copy: it would count twice."""
    for one, other in combinations(tables, 2):
        with contextlib.suppress(OSError):  # reading it names the reason
            if one.samefile(other) or filecmp.cmp(one, other, shallow=False):
                raise SettingError(f"{other}: holds the same as {one}; give each table once")


def _reference_of(table: Path, measures: Sequence[Measure], origin: Origin) -> dict[str, MeasureReference]:
    sample = Sample(len(measures))
    for chunk in read_results(table, measures, origin):
        sample.add(chunk.values)
    if len(sample.values) < LEAST_REFERENCE:
        raise SettingError(
            f"{table}: {len(sample.values)} pictures that can be read are too few for a reference; give at "
            f"least {LEAST_REFERENCE}, better 1,000"
        )
    return fit_reference(sample.values, measures)


def _start(fitted: Mapping[str, MeasureReference], measures: Sequence[Measure]) -> dict[str, _Series]:
    """A series of each measure of the reference that has enough pictures."""
    series = {}
    for measure in measures:
        reference = fitted.get(measure.name)
        if reference is None or reference.pictures < LEAST_REFERENCE:
            continue
        if measure.categories and len(reference.counts) != len(measure.categories):
            raise BundleError(f"the reference of {measure.name} has other categories; pack the bundle anew")
        series[measure.name] = _Series(measure, reference)
    if not series:
        raise SettingError(
            f"the reference has under {LEAST_REFERENCE} pictures; give a larger one with --reference FILE"
        )
    return series


def _compare(series: Mapping[str, _Series]) -> tuple[MeasureDrift, ...]:
    """All measures that have a picture, by rising p-value; those without count in the adjustment."""
    p_values = holm([one.test.p_value() for one in series.values()])
    compared = (
        one.compared(p_value)
        for one, p_value in zip(series.values(), p_values, strict=True)
        if one.counts.any()
    )
    return tuple(sorted(compared, key=lambda one: one.p_value))


def _intervals(upper: Iterable[float]) -> list[str]:
    bounds = [f"{bound:.3g}" for bound in upper]
    between = [f"{low} to {high}" for low, high in pairwise(bounds)]
    return [f"up to {bounds[0]}", *between, f"above {bounds[-1]}"]
