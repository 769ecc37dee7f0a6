"""The test of drift: its parts by hand, its false alarms and its power by simulation, and whole tables."""

import itertools
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import MeasureReference
from edgeskin.errors import BundleError, SettingError
from edgeskin.monitoring.drift import (
    FALSE_ALARM_RATE,
    LEAST_PICTURES,
    Bin,
    MeasureDrift,
    SequentialTest,
    find_drift,
    holm,
    stability_index,
    urn_log_probability,
)
from edgeskin.monitoring.reference import LEAST_REFERENCE, Measure, fit_reference, measures_of, values_of
from edgeskin.results import to_plain
from edgeskin.taxonomy import ISIC_2019
from tests.edgeskin.series import draw, failed, write_table

MEASURES = len(measures_of(ISIC_2019))
Draw = Callable[[np.random.Generator, int], np.ndarray]
"""Draws so many values of a measure."""


def fitted(values: np.ndarray, seed: int) -> MeasureReference:
    return fit_reference(values[:, None], [Measure("x", "x")], seed)["x"]


def p_value(reference: np.ndarray, pictures: np.ndarray, seed: int) -> float:
    test = SequentialTest(fitted(reference, seed), seed + 10**6)
    test.add(pictures)
    return test.p_value()


def test_the_urn_by_hand() -> None:
    """1/2 then 2/3, since the second ball finds one more of its colour."""
    assert math.exp(urn_log_probability(np.ones(2), np.array([2.0, 0.0]))) == pytest.approx(1 / 3)
    assert math.exp(urn_log_probability(np.array([2.0, 1.0]), np.array([1.0, 1.0]))) == pytest.approx(
        2 / 3 * 1 / 4
    )


def test_all_sequences_of_the_urn_sum_to_one() -> None:
    urn = np.array([2.0, 1.0, 3.0])
    sequences = itertools.product(range(3), repeat=4)
    drawn = (np.bincount(sequence, minlength=3).astype(float) for sequence in sequences)
    assert sum(math.exp(urn_log_probability(urn, one)) for one in drawn) == pytest.approx(1)


def test_holm_by_hand() -> None:
    """Times 4, 3, 2 and 1 by rising p-value, and never less than for a smaller one."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1]


def test_the_stability_index_by_hand() -> None:
    """(75.5 - 50.5) / 101 ln(75.5 / 50.5) + (25.5 - 50.5) / 101 ln(25.5 / 50.5)."""
    psi, expected = stability_index(np.array([50.0, 50.0, 0.0]), np.array([75.0, 25.0, 0.0]))
    assert psi == pytest.approx(0.26868, abs=1e-5)
    assert expected == pytest.approx(0.02)


def test_the_expected_index_is_its_mean_without_drift() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([0.05, 0.15, 0.1, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.1])
    drawn = [
        stability_index(rng.multinomial(1000, shares) * 1.0, rng.multinomial(400, shares) * 1.0)
        for _ in range(400)
    ]
    indices, expected = np.array(drawn).T
    assert expected[0] == pytest.approx(9 * (1 / 1000 + 1 / 400))
    assert indices.mean() == pytest.approx(expected[0], rel=0.1)


@pytest.mark.parametrize("distinct", [3, 10**6])
def test_false_alarms_of_one_measure_over_60_looks(distinct: int) -> None:
    """Without drift at most 5% of series ever have p <= 0.05, in the worst case; here 3,000 pictures."""
    alarms = 0
    for seed in range(200):
        values = np.random.default_rng(seed).integers(0, distinct, 3400) * 1.0
        alarms += p_value(values[:400], values[400:], seed) <= 0.05
    assert alarms / 200 <= 0.05


def test_false_alarms_over_all_measures_and_looks() -> None:
    """Half of the measures are copies of one another, as risk and P(cancer) nearly are."""
    alarms = 0
    for seed in range(60):
        values = np.random.default_rng(seed).normal(size=(1300, MEASURES))
        values[:, : MEASURES // 2] = values[:, :1]
        p_values = [p_value(one[:300], one[300:], 100 * seed + i) for i, one in enumerate(values.T)]
        alarms += min(holm(p_values)) <= FALSE_ALARM_RATE
    assert alarms / 60 <= FALSE_ALARM_RATE


def normal(shift: float) -> Draw:
    return lambda rng, count: rng.normal(shift, 1, count)


def rate(share: float) -> Draw:
    return lambda rng, count: (rng.random(count) < share) * 1.0


def first_class(share: float) -> Draw:
    """Eight classes, of which the first two share 70%."""
    shares = [share, 0.7 - share, 0.1, 0.04, 0.1, 0.02, 0.02, 0.02]
    return lambda rng, count: rng.choice(8, count, p=shares) * 1.0


@pytest.mark.parametrize(
    ("reference", "before", "after", "pictures"),
    [
        (1000, normal(0), normal(1), 150),
        (1000, normal(0), normal(0.5), LEAST_PICTURES),
        (1000, rate(0.02), rate(0.1), 700),
        (3000, normal(0), normal(0.25), 1000),
        (3000, rate(0.02), rate(0.1), 500),
        (3000, first_class(0.2), first_class(0.3), 1000),
    ],
)
def test_drift_is_found_in_9_of_10_series_in_the_pictures_that_the_document_states(
    reference: int, before: Draw, after: Draw, pictures: int
) -> None:
    """Although all measures share the rate of false alarms."""
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        drawn = before(rng, reference), after(rng, pictures)
        found += p_value(*drawn, seed) <= FALSE_ALARM_RATE / MEASURES
    assert found / 200 >= 0.9


def test_a_late_shift_is_found_soon() -> None:
    """After 5,000 pictures without drift: half a standard deviation, in 700 pictures."""
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pictures = np.concatenate([rng.normal(size=5000), rng.normal(0.5, 1, 700)])
        found += p_value(rng.normal(size=1000), pictures, seed) <= FALSE_ALARM_RATE / MEASURES
    assert found >= 18


def test_parts_of_a_series_give_what_the_whole_gives() -> None:
    rng = np.random.default_rng(0)
    reference, pictures = fitted(rng.normal(size=500), 0), rng.normal(0.3, 1, 777)
    whole, parts = SequentialTest(reference), SequentialTest(reference)
    whole.add(pictures)
    for part in np.split(pictures, [1, 49, 50, 51, 300, 301]):
        parts.add(part)
    assert parts.p_value() == pytest.approx(whole.p_value(), rel=1e-9)


@pytest.fixture(scope="module")
def classifier(shared_micro_bundle: Path) -> Classifier:
    return Classifier(shared_micro_bundle, "fp32", threads=1)


@pytest.fixture(scope="module")
def reference(classifier: Classifier, lesion_jpg: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 600 pictures."""
    folder = tmp_path_factory.mktemp("reference")
    return write_table(folder / "reference.csv", draw(classifier, lesion_jpg, 600, 1))


def test_no_drift(classifier: Classifier, lesion_jpg: Path, reference: Path, tmp_path: Path) -> None:
    drawn = draw(classifier, lesion_jpg, 400, 2)
    table = write_table(tmp_path / "results.csv", [*drawn, failed(drawn[0]), failed(drawn[0])])
    report = find_drift([table], classifier.bundle, reference)
    assert (report.verdict, report.pictures, report.errors) == ("no_drift", 400, 2)
    assert [one.name for one in report.measures if one.verdict == "drift"] == []
    assert (report.model, report.precision, report.reference) == ("micro", "fp32", "reference.csv")
    by_name = {one.name: one for one in report.measures}
    retakes = sum(one.status == "retake" for one in drawn)
    assert [(one.label, one.pictures) for one in by_name["retake"].bins] == [
        ("no", 400 - retakes),
        ("yes", retakes),
    ]
    assert by_name["risk"].pictures == 400 - retakes
    counts = {one.label: one.pictures for one in by_name["predicted_class"].bins}
    assert counts == {name: sum(one.predicted_class == name for one in drawn) for name in ISIC_2019}
    assert report.not_compared == {}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_drift_in_two_tables_of_every_kind(
    kind: str, classifier: Classifier, lesion_jpg: Path, reference: Path, tmp_path: Path
) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    drawn = draw(classifier, lesion_jpg, 500, 3, sharpness=-1, retakes=0.2)
    tables = [
        write_table(tmp_path / f"1.{kind}", drawn[:250]),
        write_table(tmp_path / f"2.{kind}", drawn[250:]),
    ]
    report = find_drift(tables, classifier.bundle, reference)
    assert report.verdict == "drift"
    assert {one.name for one in report.measures if one.verdict == "drift"} == {"quality_sharpness", "retake"}
    names = ("quality_sharpness", "retake")
    sharpness, retake = (next(one for one in report.measures if one.name == name) for name in names)
    assert sharpness.most_changed == sharpness.bins[0]
    assert (sharpness.shift, retake.shift) == ("lower", "higher")
    assert retake.most_changed.label == "yes"
    assert retake.most_changed.pictures == sum(one.status == "retake" for one in drawn)
    assert sharpness.psi > 10 * sharpness.expected_psi
    p_values = [one.p_value for one in report.measures]
    assert p_values == sorted(p_values)
    # The kinds hold the same numbers.
    csv = [write_table(tmp_path / "all.csv", drawn)]
    assert find_drift(csv, classifier.bundle, reference) == report


def test_a_drift_that_is_found_in_few_pictures_is_one(
    classifier: Classifier, lesion_jpg: Path, reference: Path, tmp_path: Path
) -> None:
    for sharpness, verdict in ((0, "too_few"), (-4, "drift")):
        drawn = draw(classifier, lesion_jpg, LEAST_PICTURES - 100, 4, sharpness)
        table = write_table(tmp_path / "results.csv", drawn)
        assert find_drift([table], classifier.bundle, reference).verdict == verdict


def with_reference(folder: Path, photo: Path, pictures: int) -> Path:
    """Put a reference of drawn pictures into a bundle's manifest."""
    with Classifier(folder, "fp32", threads=1) as classifier:
        rows = [one.to_row() for one in draw(classifier, photo, pictures, 5)]
    measures = measures_of(ISIC_2019)
    fitted = to_plain(fit_reference(values_of(rows, measures), measures))
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes()) | {"reference": {"fp32": fitted, "int8": fitted}}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_the_reference_of_a_bundle(micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    folder = with_reference(micro_bundle, lesion_jpg, 600)
    with Classifier(folder, "fp32", threads=1) as classifier:
        table = write_table(tmp_path / "results.csv", draw(classifier, lesion_jpg, 400, 6))
        report = find_drift([table], classifier.bundle)
        assert (report.verdict, report.reference) == ("no_drift", "bundle")
        assert {one.reference_pictures for one in report.measures if one.name == "retake"} == {600}
    # Another sensitivity has another threshold, and so other risks.
    with Classifier(folder, "fp32", threads=1, sensitivity=0.9) as other:
        table = write_table(tmp_path / "other.csv", draw(other, lesion_jpg, 2, 6, retakes=0))
        with pytest.raises(SettingError, match=r"other.csv: row 1: .*sensitivity"):
            find_drift([table], other.bundle)


def test_a_small_reference_is_no_reference(micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    folder = with_reference(micro_bundle, lesion_jpg, LEAST_REFERENCE - 1)
    with Classifier(folder, "fp32", threads=1) as classifier:
        table = write_table(tmp_path / "r.csv", draw(classifier, lesion_jpg, 3, 6))
        with pytest.raises(SettingError, match="under 300 pictures"):
            find_drift([table], classifier.bundle)
        small = write_table(tmp_path / "small.csv", draw(classifier, lesion_jpg, 3, 7))
        with pytest.raises(SettingError, match=r"small.csv: 3 pictures"):
            find_drift([table], classifier.bundle, small)


def test_a_table_counts_once(
    classifier: Classifier, lesion_jpg: Path, reference: Path, tmp_path: Path
) -> None:
    """Also under another name, as a link, and as a copy; a reference is no table of its own series."""
    table = write_table(tmp_path / "r.csv", draw(classifier, lesion_jpg, 3, 6))
    other = write_table(tmp_path / "other.csv", draw(classifier, lesion_jpg, 3, 7))
    link, copy = tmp_path / "link.csv", tmp_path / "copy.csv"
    link.symlink_to(table)
    shutil.copy(table, copy)
    for twice in (table, tmp_path / ".." / tmp_path.name / "r.csv", link, copy):
        with pytest.raises(SettingError, match="give each table once"):
            find_drift([table, other, twice], classifier.bundle, reference)
        with pytest.raises(SettingError, match="give each table once"):
            find_drift([other, table], classifier.bundle, twice)
    assert find_drift([table, other], classifier.bundle, reference).pictures == 6


def test_the_shift_by_hand() -> None:
    """0.2 * 0.25 + 0.8 * 0.75 = 0.65; the standard error is the root of (1 / 100 + 1 / 100) / 12, 0.041."""
    measure = MeasureDrift("x", "drift", 100, 100, 0.01, 0.1, 0.1, (Bin("a", 50, 20), Bin("b", 50, 80)))
    assert measure.shift == "higher"
    swapped = (Bin("a", 50, 80), Bin("b", 50, 20))
    assert replace(measure, bins=swapped).shift == "lower"
    wider = (Bin("a", 30, 45), Bin("b", 40, 10), Bin("c", 30, 45))
    assert replace(measure, bins=wider).shift is None
    few = (Bin("a", 50, 4), Bin("b", 50, 6))
    assert replace(measure, bins=few, pictures=10).shift is None


def test_a_reference_of_other_categories_is_refused(
    micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    path = with_reference(micro_bundle, lesion_jpg, 400) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["reference"]["fp32"]["risk"] = manifest["reference"]["fp32"]["predicted_class"]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with Classifier(micro_bundle, "fp32", threads=1) as classifier:
        table = write_table(tmp_path / "r.csv", draw(classifier, lesion_jpg, 3, 6))
        with pytest.raises(BundleError, match="risk"):
            find_drift([table], classifier.bundle)


def test_the_shipped_bundles_have_no_reference_yet(tmp_path: Path) -> None:
    for name in ("default", "lite"):
        with pytest.raises(SettingError, match="--reference FILE"):
            find_drift([tmp_path / "r.csv"], open_bundle(name))


def test_measures_that_a_table_lacks_are_named(
    classifier: Classifier, lesion_jpg: Path, reference: Path, tmp_path: Path
) -> None:
    """As in tables of 0.14.0."""
    lines = reference.read_text(encoding="utf-8").splitlines()
    columns = lines[0].split(",")
    kept = [i for i, name in enumerate(columns) if name not in ("quality_hair", "ood_features")]
    rows = [line.split(",") for line in lines[:401]]
    table = tmp_path / "old.csv"
    table.write_text("\n".join(",".join(row[i] for i in kept) for row in rows), encoding="utf-8")
    report = find_drift([table], classifier.bundle, reference)
    assert report.not_compared == {"ood_features": "not_in_table", "quality_hair": "not_in_table"}
    report = find_drift([reference], classifier.bundle, table)
    assert report.not_compared == {"ood_features": "not_in_reference", "quality_hair": "not_in_reference"}
