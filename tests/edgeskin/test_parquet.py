"""Parquet tables that pyarrow wrote: what is read, and what is refused before it takes memory."""

import os
from pathlib import Path
from typing import Any

import pytest

from edgeskin.errors import SettingError
from edgeskin.photo.parquet import MOST_TEXT, iter_parquet

pyarrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
parquet = pytest.importorskip("pyarrow.parquet")

pytestmark = pytest.mark.hazard("H-22")


def written(folder: Path, columns: Any, **options: Any) -> Path:
    table = columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns)
    parquet.write_table(table, folder / "list.parquet", **options)
    return folder / "list.parquet"


def rows(table: Path) -> list[dict[str, Any]]:
    return list(iter_parquet(table, "path", ("label", "age")))


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string(), "category"], ids=str)
@pytest.mark.parametrize("encoding", [True, False], ids=["dictionary", "plain"])
def test_texts_and_numbers_are_read_in_their_order(kind: Any, encoding: bool, tmp_path: Path) -> None:
    names = [f"é{number}.jpg" for number in range(5000)]
    texts = pyarrow.array(names, pyarrow.string() if kind == "category" else kind)
    labels = pyarrow.array(["MEL", None, "NV", "NV", ""] * 1000)
    if kind == "category":
        texts, labels = texts.dictionary_encode(), labels.dictionary_encode()
    ages = pyarrow.array([30.5, None, 70, 71, 72] * 1000)
    other = pyarrow.array([[1]] * 5000)
    table = written(
        tmp_path, {"other": other, "age": ages, "label": labels, "path": texts}, use_dictionary=encoding
    )
    expected = zip(names, labels.to_pylist(), ages.to_pylist(), strict=True)
    assert rows(table) == [{"path": path, "label": label, "age": age} for path, label, age in expected]


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"image": ["a.jpg"]}, "no column path"),
        ({"path": [b"a.jpg"]}, "path"),
        ({"path": [["a.jpg"]]}, "path"),
        ({"path": [7]}, "path"),
        ({"path": ["a.jpg"], "label": [["MEL"]]}, "label"),
        ({"path": ["a.jpg"], "age": [{"years": 7}]}, "age"),
        (pyarrow.Table.from_arrays([["a.jpg"], ["b.jpg"]], ["path", "path"]), "path"),
        (pyarrow.Table.from_arrays([["a.jpg"], ["NV"], ["MEL"]], ["path", "label", "label"]), "label"),
    ],
    ids=["none", "binary", "nested", "number", "nested-label", "struct", "twice", "label-twice"],
)
def test_columns_of_another_kind_or_there_twice_are_refused(columns: Any, named: str, tmp_path: Path) -> None:
    table = written(tmp_path, columns)
    with pytest.raises(SettingError, match=rf"list\.parquet: .*{named}"):
        rows(table)


def peak_of_refusing(table: Path) -> int:
    """Bytes that pyarrow holds at most until it refuses a list for its length."""
    usual, pool = pyarrow.default_memory_pool(), pyarrow.proxy_memory_pool(pyarrow.system_memory_pool())
    pyarrow.set_memory_pool(pool)
    try:
        with pytest.raises(SettingError, match="longer than"):
            next(iter_parquet(table, "path"))
    finally:
        pyarrow.set_memory_pool(usual)
    return int(pool.max_memory())


@pytest.mark.parametrize("encoding", [True, False], ids=["dictionary", "plain"])
def test_a_small_file_of_huge_texts_takes_no_memory(encoding: bool, tmp_path: Path) -> None:
    """50 rows of 2 MB each, in a file of a few kB."""
    table = written(tmp_path, {"path": ["x" * 2**21] * 50}, use_dictionary=encoding, compression="zstd")
    assert table.stat().st_size < 2**17
    assert peak_of_refusing(table) < 2**20


def test_a_text_that_many_rows_share_is_in_memory_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file's own sizes are wrong, which is as if they were not looked at."""
    monkeypatch.setattr("edgeskin.photo.parquet._require_moderate", lambda *_: None)
    table = written(tmp_path, {"path": ["x" * 2**21] * 50}, compression="zstd")
    assert peak_of_refusing(table) < 2**25


@pytest.mark.parametrize("encoding", [True, False], ids=["dictionary", "plain"])
def test_a_text_may_have_4_kb(encoding: bool, tmp_path: Path) -> None:
    longest = "é" * (MOST_TEXT // 2)
    assert rows(written(tmp_path, {"path": [longest]}, use_dictionary=encoding)) == [{"path": longest}]
    with pytest.raises(SettingError, match="longer than"):
        rows(written(tmp_path, {"path": ["a", f"{longest}a"]}, use_dictionary=encoding))


def test_bytes_that_are_no_utf_8_are_refused(tmp_path: Path) -> None:
    """pyarrow checks texts only once they become Python's."""
    broken = pyarrow.Array.from_buffers(
        pyarrow.string(), 1, [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0"), pyarrow.py_buffer(b"\xff")]
    )
    with pytest.raises(SettingError, match=r"list\.parquet: cannot be read"):
        rows(written(tmp_path, {"path": broken}))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no FIFOs")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.parquet")
    with pytest.raises(SettingError, match="regular file"):
        rows(tmp_path / "list.parquet")
