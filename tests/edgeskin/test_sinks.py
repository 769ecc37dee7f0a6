"""Tables of results, read back by other programs."""

import csv
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeskin.batch.sinks import FORMULAS, csv_text, form_of, row_of, write_table
from edgeskin.errors import ResourceError, SettingError
from edgeskin.results import TEXT_COLUMNS, Assessment, ModelInfo

pytestmark = pytest.mark.hazard("H-14")

MODEL = ModelInfo("micro", "0", "aa", "int8", "avx2", ("MEL", "NV"))
ANY_NAME = st.text(st.characters(exclude_categories=())).filter(bool)
UTF8_NAME = st.text(st.characters(exclude_categories=("Cs",))).filter(bool)


def row(name: str, **changes: Any) -> dict[str, Any]:
    assessment = Assessment(image=name, status="assessed", model=MODEL, timing_ms={"total": 1.5})
    return row_of(assessment, "csv") | {"cancer_probability": 0.1 + 0.2, "p_MEL": -1e-9} | changes


def table(folder: Path, rows: list[dict[str, Any]], suffix: str) -> Path:
    out = folder / f"results{suffix}"
    write_table(out, rows, form_of(out))
    return out


def csv_of(rows: list[dict[str, Any]], folder: Path) -> list[dict[str, str]]:
    with table(folder, rows, ".csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@settings(deadline=None)
@given(st.lists(ANY_NAME, min_size=1, max_size=5))
@example(
    ['=cmd|"/c calc"!A1', "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\uff1d1", "a,b", 'a"b', "a\nb", "\udcff"]
)
def test_names_in_csv_stay_one_cell_and_no_formula(folder: Path, names: list[str]) -> None:
    cells = [one["image"] for one in csv_of([row(name) for name in names], folder)]
    assert len(cells) == len(names)
    for name, cell in zip(names, cells, strict=True):
        assert not cell.startswith((*FORMULAS, "\t", "\r"))
        assert cell.isprintable() or any(not char.isprintable() for char in name)
        assert not any(ord(char) < 32 for char in cell)
        if name.isprintable() and not any(sign in name for sign in FORMULAS):
            assert cell == name


@settings(deadline=None)
@given(st.text("=+-@;\"', a\t\n\uff1d", min_size=1), st.text("=+-@;\"', a\t\n\uff1d", min_size=1))
@example("x;=1+1;.jpg", ";-1;\t@x")
@example(' =1+1;.jpg"', 'x;""=1+1""')
def test_no_spreadsheet_finds_a_formula_whatever_its_separator(folder: Path, name: str, error: str) -> None:
    """As those of Germany or France, which take a semicolon; the column ``error`` quotes names."""
    out = table(folder, [row(name, error=f"{error}: damaged")], ".csv")
    for separator in ",;\t":
        with out.open(encoding="utf-8", newline="") as file:
            cells = [cell for line in csv.reader(file, delimiter=separator) for cell in line]
        for cell in cells:
            text = cell.lstrip(' "')
            assert not text.startswith(FORMULAS) or text.startswith(("-1e-09", "-1e-09,")), (separator, cell)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x"), ("\t=1", "\\t=1"), ("\r=1", "\\r=1"),
        (" =1", "' =1"), ("x;=1+1;.jpg", "x;'=1+1;.jpg"), ('x; ""@a', "x;' \"\"@a"), ("a;b", "a;b"),
        ("photos/=1.jpg", "photos/=1.jpg"), ("a\u202eb", "a\\u202eb"),
    ],
)  # fmt: skip
def test_formulas_and_controls_are_neutralised(name: str, cell: str) -> None:
    """As OWASP advises against CSV injection."""
    assert csv_text(name) == cell


def test_numbers_in_csv_are_exact_and_never_quoted(folder: Path) -> None:
    (cells,) = csv_of([row("a.jpg", total_ms=-0.5)], folder)
    assert float(cells["cancer_probability"]) == 0.1 + 0.2
    assert (cells["p_MEL"], cells["total_ms"], cells["risk"]) == ("-1e-09", "-0.5", "")


@settings(deadline=None)
@given(st.lists(UTF8_NAME, min_size=1, max_size=5))
def test_csv_as_pandas_reads_it(folder: Path, names: list[str]) -> None:
    pandas = pytest.importorskip("pandas")
    out = table(folder, [row(name) for name in names], ".csv")
    options: dict[str, Any] = {"dtype": {"image": str}, "keep_default_na": False, "na_values": {"p_NV": ""}}
    frame = pandas.read_csv(out, **options)
    assert list(frame["image"]) == [csv_text(name) for name in names]
    assert list(frame["cancer_probability"]) == pytest.approx([0.1 + 0.2] * len(names), rel=1e-15)
    assert frame["p_NV"].isna().all()


@settings(deadline=None)
@given(st.lists(ANY_NAME, min_size=1, max_size=5))
def test_json_lines_hold_names_as_they_are(folder: Path, names: list[str]) -> None:
    out = table(folder, [row(name) for name in names], ".jsonl")
    lines = out.read_bytes().splitlines()
    assert [json.loads(line)["image"] for line in lines] == names


@settings(deadline=None)
@given(st.lists(UTF8_NAME, min_size=1, max_size=5))
def test_parquet_holds_names_and_numbers_as_they_are(folder: Path, names: list[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [row(name) for name in names]
    assert parquet.read_table(table(folder, rows, ".parquet")).to_pylist() == rows


def test_parquet_types_do_not_depend_on_the_rows(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    empty = dict.fromkeys(row("a"), None)
    schemas = []
    for one in (empty, row("a\udcff.jpg", risk="LOW", quality_blur=3)):
        out = table(tmp_path, [one], ".parquet")
        schemas.append(parquet.read_schema(out).remove_metadata())
        types = {field.name: str(field.type) for field in schemas[-1]}
        assert {name for name, kind in types.items() if kind == "string"} == TEXT_COLUMNS
        assert set(types.values()) == {"string", "double"}
    assert parquet.read_table(out)["image"].to_pylist() == ["a\\udcff.jpg"]
    assert parquet.read_table(out)["quality_blur"].to_pylist() == [3.0]


def test_parquet_of_many_rows_is_in_groups(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "results.parquet"
    write_table(out, (row(f"{number}.jpg") for number in range(8200)), "parquet")
    file = parquet.ParquetFile(out)
    assert [file.metadata.row_group(place).num_rows for place in range(file.num_row_groups)] == [8192, 8]


def test_forms_by_name() -> None:
    assert [form_of(Path(name)) for name in ("a.jsonl", "a.CSV", "a.b.csv")] == ["jsonl", "csv", "csv"]
    for name in ("a.json", "a", "a.xlsx", ".csv"):
        with pytest.raises(SettingError, match=r"\.jsonl"):
            form_of(Path(name))


def test_an_error_keeps_the_earlier_table(tmp_path: Path) -> None:
    out = table(tmp_path, [row("a")], ".csv")
    before = out.read_bytes()

    def rows() -> Any:
        yield row("b")
        raise OSError(28, "No space left on device")

    with pytest.raises(ResourceError, match="No space left"):
        write_table(out, rows(), "csv")
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_table_is_on_the_disk_before_it_replaces_another(
    form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss of power right after the command must find the old table or the new one."""
    if form == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"results.{form}"
    out.write_bytes(b"old")
    synced = []

    def sync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            synced.append((os.fstat(descriptor).st_ino, out.read_bytes()))

    monkeypatch.setattr(os, "fsync", sync)
    write_table(out, [row("a.jpg")], form)
    assert (out.stat().st_ino, b"old") in synced


def test_text_columns_are_those_that_hold_text(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    from edgeskin import Classifier

    with Classifier(shared_micro_bundle) as classifier:
        rows = [one.to_row() for one in classifier.assess_many([lesion_jpg, "missing.jpg"])]
    held = {name for one in rows for name, cell in one.items() if isinstance(cell, str)}
    numbers = {name for one in rows for name, cell in one.items() if isinstance(cell, int | float)}
    assert held <= TEXT_COLUMNS <= set(rows[0])
    assert not numbers & TEXT_COLUMNS
    assert list(rows[0]) == list(rows[1])
