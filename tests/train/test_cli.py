"""The commands: what they write and print."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgeskin.taxonomy import ISIC_2019
from train.cli import app
from train.data.table import read_table, select


def test_command_on_a_run(micro_run: Path, lesion_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(micro_run, tmp_path / "run")
    result = CliRunner().invoke(app, ["evaluate", str(run), "--data", str(lesion_folder), "--split", "test"])
    assert result.exit_code == 0, result.output
    assert "cancer AUROC" in result.stdout
    assert "melanoma recall" in result.stdout

    out = run / "evaluation-test"
    evaluation = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["provenance"]["split"] == "test"
    assert evaluation["provenance"]["command"] == "python -m train evaluate run --data=DIR --split=test"
    assert set(evaluation["images"]["cancer_auroc"]) == {"value", "low", "high", "undefined", "exact"}
    text = (out / "evaluation.md").read_text(encoding="utf-8")
    assert evaluation["provenance"]["sha256"] in text
    assert evaluation["provenance"]["split_sha256"] in text
    assert f"{evaluation['images']['cancer_auroc']['value']:.3f}" in text
    figure = cv2.imread(str(out / "confusion.png"))
    assert figure is not None
    assert min(figure.shape[:2]) > 400
    with np.load(out / "logits.npz", allow_pickle=False) as saved:
        assert saved["logits"].shape == (24, 8)
        assert saved["logits"].dtype == np.float32
        right = saved["logits"].argmax(axis=1) == [ISIC_2019.index(label) for label in saved["label"]]
        assert right.mean() == pytest.approx(evaluation["images"]["accuracy"]["value"])
        expected = [sample.image_id for sample in select(read_table(lesion_folder), "test")]
        assert saved["image_id"].tolist() == expected


def test_command_on_a_bundle_writes_here(
    shared_micro_bundle: Path, lesion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", str(shared_micro_bundle), "--data", str(lesion_folder), "--split", "val"]
    result = CliRunner().invoke(app, [*arguments, "--precision", "fp32", "--threshold", "1"])
    assert result.exit_code == 0, result.output
    assert "undefined" in result.stdout  # at threshold 1 nothing is found, so there is no precision
    content = (tmp_path / "evaluation-val-fp32" / "evaluation.json").read_text(encoding="utf-8")
    measures = json.loads(content, parse_constant=pytest.fail)["images"]
    assert measures["screening"]["recall"]["value"] == 0
    assert measures["screening"]["precision"]["value"] is None
    elsewhere = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "there")])
    assert elsewhere.exit_code == 0, elsewhere.output
    assert (tmp_path / "there" / "confusion.png").is_file()
    assert (tmp_path / "there" / "reliability.png").is_file()
