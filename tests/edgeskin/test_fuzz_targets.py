"""The fuzzer's targets, without the fuzzer: they accept the inputs that fuzzing starts from."""

import re
from pathlib import Path

import pytest

from edgeskin.bundle.bundle import open_bundle
from tests.conftest import ROOT
from tests.fuzz import targets


@pytest.mark.parametrize("name", targets.TARGETS)
def test_seeds_raise_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "dicom":
        pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    monkeypatch.setattr(targets, "FOLDER", tmp_path)
    target = targets.TARGETS[name]
    for seed in target.seeds():
        target.run(seed)
        target.run(seed[: len(seed) // 2])


def test_manifests_to_start_from_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "FOLDER", tmp_path)
    for seed in targets.TARGETS["manifest"].seeds():
        targets.TARGETS["manifest"].run(seed)
        assert open_bundle(tmp_path / "bundle").manifest.name == "micro"


def test_nox_runs_every_target() -> None:
    listed = re.search(
        r"^FUZZED = \((.*)\)$", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed[1])) == set(targets.TARGETS)
