"""CSV tables as people have them."""

import csv
import os
from pathlib import Path

import pytest

from edgeskin.errors import SettingError
from edgeskin.photo.tables import read_table

pytestmark = pytest.mark.hazard("H-22")

COLUMNS = ("path", "label")
ROWS = [{"path": "a.jpg", "label": "MEL"}, {"path": "é b.jpg", "label": "NV"}]


def written(tmp_path: Path, content: str | bytes) -> Path:
    table = tmp_path / "table.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    return table


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("dialect", ["excel", "unix"])
def test_tables_of_other_programs(tmp_path: Path, encoding: str, dialect: str) -> None:
    """What Python's own writer makes, by the rules of Excel and of Unix."""
    table = tmp_path / "table.csv"
    with table.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, COLUMNS, dialect=dialect)
        writer.writeheader()
        writer.writerows(ROWS)
    assert read_table(table, COLUMNS) == ROWS


@pytest.mark.parametrize(
    "content",
    [
        "path,label\ra.jpg,MEL\ré b.jpg,NV\r",
        "\n\npath, label \r\na.jpg,MEL\r\n\r\né b.jpg,NV",
        '"path","label"\n"a.jpg","MEL"\n"é b.jpg",NV\n,\n',
    ],
    ids=["old-mac", "blank-rows", "quotes"],
)
def test_other_line_ends_blank_rows_and_quotes(tmp_path: Path, content: str) -> None:
    assert read_table(written(tmp_path, content), COLUMNS) == ROWS


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("path,label\na.jpg\nb.jpg\n", 2),
        ("path,label\na.jpg,MEL\nb.jpg,NV,extra\n", 3),
        ('path,label\na.jpg,MEL\n"b.jpg,NV\nc.jpg,NV\n', 3),
        ('path,label\n"a".jpg,MEL\n', 2),
        (f"path,label\na.jpg,MEL\n{'x' * 200_000},NV\n", 3),
        ("path,label\na.jpg,MEL\nb\0.jpg,NV\n", 3),
        ("path;label\na.jpg;MEL\n", 1),
        ("path\tlabel\na.jpg\tMEL\n", 1),
        ("image,label\na.jpg,MEL\n", 1),
        ("path,label,label\na.jpg,MEL,NV\n", 1),
        ("path,label,age,age\na.jpg,MEL,30,70\n", 1),
        ("path,label\na.jpg,MEL\n".encode("utf-16"), 1),
        ("path,label\na.jpg,MEL\n".encode("utf-16-be"), 1),
        ("path,label\na.jpg,MEL\né.jpg,NV\n".encode("latin-1"), 3),
    ],
    ids=[
        "short", "long", "quote", "after-a-quote", "huge-cell", "nul", "semicolons", "tabs", "no-column",
        "column-twice", "other-column-twice", "utf-16", "utf-16-without-mark", "latin-1",
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_the_row(tmp_path: Path, content: str | bytes, row: int) -> None:
    table = written(tmp_path, content)
    with pytest.raises(SettingError) as caught:
        read_table(table, COLUMNS)
    assert str(caught.value).startswith(f"{table}: row {row}: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_an_empty_table_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(SettingError, match=r"table\.csv"):
        read_table(written(tmp_path, content), COLUMNS)
    with pytest.raises(SettingError, match=r"missing\.csv"):
        read_table(tmp_path / "missing.csv", COLUMNS)


def test_columns_without_a_name_may_be_many(tmp_path: Path) -> None:
    """As spreadsheets write what was once filled."""
    table = written(tmp_path, "path,label,,\na.jpg,MEL,,\n")
    assert read_table(table, COLUMNS) == [{"path": "a.jpg", "label": "MEL", "": ""}]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_named_also_where_no_column_is_asked_for(tmp_path: Path, separator: str) -> None:
    table = written(tmp_path, f"status{separator}risk\nassessed{separator}LOW\n")
    with pytest.raises(SettingError, match=r"row 1: .*commas"):
        read_table(table, ())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no FIFOs")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "table.csv")
    with pytest.raises(SettingError, match="regular file"):
        read_table(tmp_path / "table.csv", COLUMNS)
