"""The Python code of docs/batch.md runs on what its commands write."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.batch import evaluation, runner
from edgeskin.decision.limitations import SITES
from edgeskin.photo import archive, listing
from edgeskin.results import QUALITY_MEASURES
from tests.docs.documents import ROOT, fenced

BATCH = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")


def test_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    shutil.copy(ROOT / "examples" / "lesion.jpg", "photos")
    Path("list.csv").write_text("path,age,label\nphotos/lesion.jpg,30,MEL\n")
    with zipfile.ZipFile("archive.zip", "w") as packed:
        packed.write("photos/lesion.jpg")
    for name in ("results.csv", "results.parquet"):
        command = [sys.executable, "-m", "edgeskin", "predict", "photos", "--out", name]
        subprocess.run(command, check=True, env={"PYTHONPATH": str(ROOT)})
    names: dict[str, Any] = {}
    for position, code in enumerate(fenced(BATCH, "python")):
        exec(compile(code, f"docs/batch.md, block {position}", "exec"), names)
    assert len(names["urgent"]) == len(names["frame"]) == 1
    assert len(names["errors"]) == len(names["missed"]) == 0
    assert list(names["labelled"]["label"]) == ["MEL"]


def columns() -> dict[str, str]:
    """The JSON key of each column that the document lists."""
    section = BATCH.partition("\n### Columns\n")[2].partition("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", section, re.M))


def value_at(values: Any, key: str) -> Any:
    """What the JSON holds under a key of the document; None where a part on the way is missing."""
    for name in key.split("."):
        if values is None or (name == "code" and isinstance(values, list)):
            return None if values is None else "|".join(one["code"] for one in values)
        part, _, place = name.partition("[")
        values = values.get(part)
        if place == "-1]":
            values = values and values[-1]
    return "|".join(values) if isinstance(values, list) else values


def test_every_column_is_listed_with_the_key_of_its_value() -> None:
    with Classifier() as classifier:
        pictures = [ROOT / "examples" / "lesion.jpg", bytes(9), np.zeros((300, 300, 3), np.uint8)]
        results = list(classifier.assess_many(pictures))
    assert {one.status for one in results} == {"assessed", "error", "retake"}
    for result in results:
        listed = {}
        for column, key in columns().items():
            placeholder, names = (
                ("CLASS", result.model.classes) if key.endswith("CLASS") else ("NAME", QUALITY_MEASURES)
            )
            for name in names if key.endswith(placeholder) else [""]:
                listed[column.replace(placeholder, name)] = key.replace(placeholder, name)
        row, values = result.to_row(), result.to_dict()
        assert list(row) == list(listed)
        for column, key in listed.items():
            assert row[column] == value_at(values, key), column
    assert results[0].to_row()["threshold"] < results[0].to_row()["urgent_threshold"]


def test_its_limits_are_those_of_the_code() -> None:
    for limit in (
        f"{archive.MAX_MEMBERS:,} files",
        f"{archive.MAX_DIRECTORY >> 20} MiB",
        f"{archive.MAX_RATIO} times",
        f"Above {archive.MAX_BYTES >> 20} MiB",
        f"the last {listing.SETTLED_S:g} seconds",
        f"{listing.PATIENCE_S:g} seconds it is an error",
        f"up to {listing.AHEAD_S / 60:g} minutes ahead",
        *(f"`{site}`" for site in SITES),
        f"parts of {runner.PART_SIZE} pictures",
        f"`{evaluation.CANCER}` or `{evaluation.BENIGN}`",
    ):
        assert limit in BATCH.replace("\n", " "), limit
