"""Rows of tables of results: what is read, and what is refused with its file and row."""

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeskin import Assessment, Classifier
from edgeskin.errors import SettingError
from edgeskin.monitoring.reference import measures_of, values_of
from edgeskin.monitoring.rows import ROWS_AT_ONCE, Origin, read_results
from edgeskin.taxonomy import ISIC_2019
from tests.edgeskin.series import draw, failed, write_table

MEASURES = measures_of(ISIC_2019)


@pytest.fixture(scope="module")
def classifier(shared_micro_bundle: Path) -> Classifier:
    return Classifier(shared_micro_bundle, "fp32", threads=1)


@pytest.fixture(scope="module")
def results(classifier: Classifier, lesion_jpg: Path) -> list[Assessment]:
    """An error among pictures that are more than are read at once."""
    drawn = draw(classifier, lesion_jpg, ROWS_AT_ONCE + 20, 0, retakes=0.1)
    return [*drawn[:7], failed(drawn[0]), *drawn[7:]]


@pytest.fixture
def origin(classifier: Classifier) -> Origin:
    return Origin(classifier.bundle, own_threshold=True)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_kind_holds_what_the_assessments_do(
    kind: str, results: list[Assessment], origin: Origin, tmp_path: Path
) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    table = write_table(tmp_path / f"results.{kind}", results)
    chunks = list(read_results(table, MEASURES, origin))
    assert [len(chunk.values) + chunk.errors for chunk in chunks] == [ROWS_AT_ONCE, 21]
    assert sum(chunk.errors for chunk in chunks) == 1
    expected = values_of((one.to_row() for one in results if one.status != "error"), MEASURES)
    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks]), expected)
    assert (origin.precision, origin.threshold) == ("fp32", 0.3)


def test_rows_may_be_flat_in_jsonl_too(results: list[Assessment], origin: Origin, tmp_path: Path) -> None:
    table = tmp_path / "results.jsonl"
    table.write_text("".join(f"{json.dumps(one.to_row())}\n" for one in results[:7]), encoding="utf-8")
    (chunk,) = read_results(table, MEASURES, origin)
    np.testing.assert_array_equal(chunk.values, values_of((r.to_row() for r in results[:7]), MEASURES))


def rewritten(path: Path, results: list[Assessment], changes: dict[str, Any]) -> Path:
    """A table whose third row is changed."""
    rows = [one.to_row() for one in results[:5]]
    rows[2] |= changes
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"model_sha256": "0" * 64},
        {"model_sha256": None},
        {"precision": "int8"},
        {"precision": "fp16"},
        {"threshold": 0.2},
        {"threshold": "much"},
        {"status": "fine"},
        {"status": ""},
        {"ood_score": "nan"},
        {"cancer_probability": "high"},
        {"predicted_class": "WART"},
    ],
    ids=str,
)
def test_a_row_of_another_origin_or_with_another_content_is_refused(
    changes: dict[str, Any], results: list[Assessment], origin: Origin, tmp_path: Path
) -> None:
    table = rewritten(tmp_path / "results.csv", results, changes)
    with pytest.raises(SettingError, match=r"results\.csv: row 3: "):
        list(read_results(table, MEASURES, origin))


@pytest.mark.parametrize(
    "changes",
    [
        {"risk": ["LOW"]},
        {"risk": {}},
        {"status": ["assessed"]},
        {"status": ""},
        {"predicted_class": 1},
        {"cancer_probability": 10**400},
        {"cancer_probability": [0.5]},
        {"threshold": 10**400},
        {"precision": ["fp32"]},
        {"model_sha256": ["0"]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_json_of_another_kind_is_refused(
    changes: dict[str, Any], results: list[Assessment], origin: Origin, tmp_path: Path
) -> None:
    rows = [one.to_row() for one in results[:5]]
    table = tmp_path / "results.jsonl"
    table.write_text(
        "".join(f"{json.dumps(row)}\n" for row in [*rows[:2], {**rows[2], **changes}, *rows[3:]])
    )
    with pytest.raises(SettingError, match=r"results\.jsonl: row 3: "):
        list(read_results(table, MEASURES, origin))


def test_parquet_reads_only_the_columns_that_it_needs(
    results: list[Assessment], origin: Origin, tmp_path: Path
) -> None:
    """A column of yours may hold anything; one of edgeskin's may not."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    from pyarrow import parquet

    rows = pyarrow.Table.from_pylist([one.to_row() for one in results[:5]])
    own = rows.append_column("mine", [[[1]] * 5]).append_column("mine", [["x" * 10_000] * 5])
    parquet.write_table(own, tmp_path / "r.parquet")
    assert len(list(read_results(tmp_path / "r.parquet", MEASURES, origin))) == 1
    parquet.write_table(rows.append_column("risk", [["LOW"] * 5]), tmp_path / "r.parquet")
    with pytest.raises(SettingError, match="risk"):
        list(read_results(tmp_path / "r.parquet", MEASURES, origin))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no FIFOs")
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_pipe_is_refused_and_not_waited_for(kind: str, origin: Origin, tmp_path: Path) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    os.mkfifo(tmp_path / f"r.{kind}")
    with pytest.raises(SettingError, match="regular file"):
        list(read_results(tmp_path / f"r.{kind}", MEASURES, origin))


def test_a_table_without_the_bundles_hash_says_so(
    results: list[Assessment], origin: Origin, tmp_path: Path
) -> None:
    rows = [one.to_row() for one in results[:5]]
    table = tmp_path / "r.jsonl"
    for row in rows:
        del row["model_sha256"]
    table.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(SettingError, match="row 1: no model_sha256"):
        list(read_results(table, MEASURES, origin))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", b"path,label\na.jpg,MEL\n"),
        ("cells.csv", b"status,precision\nassessed\n"),
        ("quote.csv", b'status,precision\n"assessed,fp32\n'),
        ("latin.csv", b"status,image\nassessed,\xe9.jpg\n"),
        ("part.jsonl", b'{"status": "assessed", "mod'),
        ("list.jsonl", b"[1]\n"),
        ("text.jsonl", b'{"status": "assessed", "model": "micro"}\n'),
        ("no.parquet", b"PAR1"),
        ("results.xlsx", b""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_table_of_results_is_refused(
    name: str, content: bytes, origin: Origin, tmp_path: Path
) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingError, match=name):
        list(read_results(tmp_path / name, MEASURES, origin))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_missing_table_is_refused(kind: str, origin: Origin, tmp_path: Path) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    with pytest.raises(SettingError, match="none"):
        list(read_results(tmp_path / f"none.{kind}", MEASURES, origin))


def test_without_pyarrow_the_extra_is_named(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingError, match=r"r\.parquet: .*edgeskin\[parquet\]"):
        list(read_results(tmp_path / "r.parquet", MEASURES, origin))


def test_an_own_reference_may_have_another_threshold(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path
) -> None:
    with Classifier(shared_micro_bundle, "fp32", threads=1, sensitivity=0.9) as other:
        table = write_table(tmp_path / "r.csv", draw(other, lesion_jpg, 5, 0, retakes=0))
        assert len(list(read_results(table, MEASURES, Origin(other.bundle, own_threshold=False)))) == 1
        with pytest.raises(SettingError, match="row 1"):
            list(read_results(table, MEASURES, Origin(other.bundle, own_threshold=True)))
