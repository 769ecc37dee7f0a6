"""From a run to a bundle: the command, a failed gate, and what is refused before any work."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgeskin import Classifier
from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError
from edgeskin.monitoring.reference import fit_reference, measures_of, values_of
from quantize import gate, recipes
from quantize.build import GateError, build, open_source
from quantize.cli import app
from quantize.fitting.ood_comparison import SCORES
from tests.training_fixtures import write_index
from train.data.split import split_sha256
from train.data.table import read_table
from train.evaluate.evaluation import evaluate


def with_ood_images(lesion_folder: Path, run: Path, folder: Path) -> tuple[Path, Path]:
    """Add four images of noise to the drawn lesions as known OOD images, and adapt a copy of the run."""
    rng, rows = np.random.default_rng(0), []
    for number in range(4):
        noise = folder / f"noise{number}.png"
        assert cv2.imwrite(str(noise), rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))
        rows.append((noise, noise.stem, "OOD", "ood_val"))
    data = write_index(folder / "data", read_table(lesion_folder), rows)
    copy = shutil.copytree(run, folder / "run")
    record = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    record["split_sha256"] = split_sha256(read_table(data))
    (copy / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return data, copy


def command(run: Path, data: Path, out: Path, *options: str) -> list[str]:
    return [str(run), "--data", str(data), "--out", str(out), "--calibration-images", "16", *options]


@pytest.fixture
def first_recipe_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", dict(list(recipes.RECIPES.items())[:1]))


@pytest.mark.hazard("H-09")
def test_from_run_to_bundle(
    micro_run: Path,
    lesion_folder: Path,
    tmp_path: Path,
    first_recipe_only: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sixteen images decide nothing, so the limits of the gate are first impossible and then absent."""
    data, run = with_ood_images(lesion_folder, micro_run, tmp_path)
    out = tmp_path / "bundles" / "micro"
    limits = ("MAX_CANCER_RECALL_DROP", "MAX_CLASS_RECALL_DROP", "MAX_AUROC_DROP", "MAX_OTHER_CLASS")
    monkeypatch.setattr(gate, "MAX_OTHER_CLASS", -1.0)
    failed = CliRunner().invoke(app, command(run, data, out))
    assert isinstance(failed.exception, GateError)
    assert failed.exit_code == 1
    assert "share given another class" in str(failed.exception)
    assert sorted(path.name for path in out.parent.iterdir()) == ["micro.gate.json", "micro.gate.md"]
    report = json.loads((out.parent / "micro.gate.json").read_text(encoding="utf-8"))
    assert report["passed"] is False
    assert [attempt["passed"] for attempt in report["attempts"]] == [False]
    assert len(report["attempts"][0]["comparisons"]) == 1
    text = (out.parent / "micro.gate.md").read_text(encoding="utf-8")
    share = next(
        check["value"]
        for check in report["attempts"][0]["comparisons"][0]["checks"]
        if check["name"] == "share given another class"
    )
    assert f"**{share:.4f} " in text

    for limit in limits:
        monkeypatch.setattr(gate, limit, 1.0)
    passed = CliRunner().invoke(app, command(run, data, out, "--version", "7"))
    assert passed.exit_code == 0, passed.exception
    assert passed.stdout.strip() == str(out)
    assert [path.name for path in out.parent.iterdir()] == ["micro"]
    manifest = open_bundle(out).manifest
    assert (manifest.name, manifest.version) == ("micro", "7")
    assert manifest.gate["passed"] is True
    assert manifest.training.images["train"]["MEL"] == {"drawn": 4}
    assert manifest.training.run.config["model"]["backbone"] == "test_efficientnet"
    assert manifest.validation["int8"]["images"] == 16
    assert (out / "gate.md").is_file()
    rules = manifest.decision_rules["int8"]
    assert manifest.gate["attempts"][0]["rules"]["operating_points"][0]["threshold"] == (
        rules.operating_points[0].threshold
    )
    assert manifest.gate["fp32"]["lesion_scores"] is None

    # The runtime decides as the gate does.
    evaluation, predictions = evaluate(out, data, "val", "int8")
    point = rules.operating_points[0]
    assert evaluation.provenance.same_split
    assert evaluation.images.screening.recall.value == point.recall
    # Eight cancers certify no more. None of their cross-fitted scores is below the threshold.
    assert point.bound.sensitivity == pytest.approx(0.05 ** (1 / 8))
    assert rules.lesion_scores.cancer[0] == point.threshold
    figures = manifest.gate["attempts"][0]["comparisons"][0]["int8"]
    assert evaluation.images.cancer_auroc.value == figures["auroc"]
    assert evaluation.images.accuracy.value == figures["accuracy"]
    assert set(manifest.ood["compared"]) == set(SCORES)
    assert manifest.ood["others"] == 4
    classifier = Classifier(out, quality_gate=False, scope_gate=False)
    for sample, distances in list(zip(predictions.samples, predictions.ood, strict=True))[::5]:
        ood = classifier.assess(sample.image).ood
        assert (ood.features, ood.picture) == pytest.approx(tuple(distances), abs=1e-4)
        assert ood.threshold == rules.ood_threshold

    # The reference for monitoring is what the runtime's own results on validation would give.
    assert len({sample.group for sample in predictions.samples}) == 16
    measures = measures_of(manifest.classes)
    for precision in ("int8", "fp32"):
        with Classifier(out, precision, threads=1) as served:
            rows = [served.assess(sample.image).to_row() for sample in predictions.samples]
        fitted = fit_reference(values_of(rows, measures), measures)
        assert set(fitted) == set(manifest.reference[precision])
        for measure, one in manifest.reference[precision].items():
            assert (one.pictures, one.sizes) == (fitted[measure].pictures, fitted[measure].sizes)
            assert one.bounds == pytest.approx(fitted[measure].bounds, abs=1e-4)
            assert one.counts == fitted[measure].counts


def test_refusals_before_any_work(
    micro_run: Path, lesion_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=r"33 calibration images: .* 32"):
        build(micro_run, lesion_folder, tmp_path / "out", "n", "1", calibration_images=33)
    with pytest.raises(SettingError, match="another split"):
        build(micro_run, data_folder, tmp_path / "out", "n", "1")
    assert not list(tmp_path.iterdir())


def test_images_are_chosen_by_the_seed(micro_run: Path, lesion_folder: Path) -> None:
    source = open_source(micro_run, lesion_folder, 16)
    assert (len(source.train), len(source.val), len(source.calibration)) == (32, 16, 16)
    # Two images of each class calibrate; cancers that do not calibrate rank layers first.
    assert sorted(sample.label for sample in source.calibration) == sorted(2 * source.config.classes)
    assert len(source.cancers) == 16
    assert not {sample.image_id for sample in source.cancers[:8]} & {
        sample.image_id for sample in source.calibration
    }
    assert source.seed == source.config.seed
    assert open_source(micro_run, lesion_folder, 16, seed=1).ordered != source.ordered
