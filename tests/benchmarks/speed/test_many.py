"""The script still fits the command: it runs on the micro bundle, and its table renders."""

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from benchmarks.speed import many


def test_it_runs(
    shared_micro_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_result(*_: object) -> None:
        raise AssertionError("--quick writes no result")

    monkeypatch.setattr(many, "write_result", write_result)
    monkeypatch.setattr(sys, "argv", ["many", "--quick", "--bundle", str(shared_micro_bundle)])
    many.main()
    printed = capsys.readouterr().out
    assert printed.count(many.PREDICT) >= 2
    assert f" {many.QUICK} " in printed


def test_pictures_differ_and_lists_name_them(tmp_path: Path) -> None:
    lists = many.write_pictures(tmp_path, 20)
    listed = [path.read_text(encoding="utf-8").split() for path in lists]
    assert [len(names) for names in listed] == [2, 3, 21]
    contents = {(tmp_path / name).read_bytes() for name in listed[2][1:]}
    assert len(contents) == 20
    assert cv2.imread(str(tmp_path / listed[0][1])).shape == (450, 600, 3)


def test_a_share_is_of_the_engine_with_as_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(rate: float) -> dict[str, Any]:
        return {"pictures_per_second": {"median": rate}, "MB": {"median": 200}}

    names = [f"{kind}, workers: {workers}" for kind in (many.ENGINE, many.PREDICT) for workers in (1, 2)]
    content = {
        "command": "python", "machine": {"processor": "CPU", "threads": "2"}, "isa": "avx2",
        "results": {
            "pictures of a round": 10,
            "rounds": dict(zip(names, map(one, (10, 20, 9.5, 19.8)), strict=True)),
            "once": [{"run": names[3], "pictures": 100, "pictures_per_second": 19.9, "MB": 201}],
            "killed": {"pictures": 10, "kills": 2, "same table": False},
        },
    }  # fmt: skip
    table = many.table(json.loads(json.dumps(content)))
    assert "NOT the same" in table.caption
    shares = [row[3] for row in table.rows]
    assert shares == ["1.000", "1.000", "0.950", "0.990", ""]
