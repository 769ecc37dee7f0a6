"""The Python code of docs/batch.md runs on what its commands write."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgeskin.batch import evaluation, runner
from edgeskin.decision.limitations import SITES
from edgeskin.photo import archive, listing
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
