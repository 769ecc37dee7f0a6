"""Reports: stored predictions, and the files for the ISIC challenge's scorer."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgeskin.decision.calibration import probabilities, temperature_scaling
from edgeskin.taxonomy import ISIC_2019
from tests.conftest import MICRO_PRIORS
from train.cli import app
from train.evaluate import report
from train.evaluate.evaluation import evaluate
from train.evaluate.metrics import partial_auroc, roc


def test_stored_predictions_are_read_back(tmp_path: Path, micro_run: Path, lesion_folder: Path) -> None:
    evaluation, predictions = evaluate(micro_run, lesion_folder, "test")
    ages = [
        replace(sample, age=50.0 if position % 2 else None)
        for position, sample in enumerate(predictions.samples)
    ]
    report.write(evaluation, replace(predictions, samples=ages), tmp_path)
    provenance, again = report.read(tmp_path)
    assert repr(provenance) == repr(evaluation.provenance)  # nan is not equal to itself
    assert again.samples == [replace(sample, image=Path(sample.image_id)) for sample in ages]
    np.testing.assert_array_equal(again.logits, predictions.logits)


def test_the_official_isic_scorer_agrees(
    shared_micro_bundle: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore

    arguments = ["evaluate", str(shared_micro_bundle), "--data", str(lesion_folder), "--split", "test"]
    result = CliRunner().invoke(app, [*arguments, "--isic-csv", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of pandas, about the scorer
        score = ClassificationScore.from_file(
            tmp_path / "isic_truth.csv",
            tmp_path / "isic_submission.csv",
            ClassificationMetric.BALANCED_ACCURACY,
        )
    images = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))["images"]
    assert score.overall == pytest.approx(images["balanced_accuracy"]["value"], abs=1e-6)
    for name, row in score.per_category.iterrows():
        assert row["auc"] == pytest.approx(images["classes"][name]["auroc"]["value"], abs=1e-6)
    # The scorer's area above 80% sensitivity reaches down to the axis, that of ISIC 2024 to the line at 0.8.
    _, predictions = report.read(tmp_path)
    p = probabilities(predictions.logits, temperature_scaling(1.5, 8)) / MICRO_PRIORS
    p /= p.sum(axis=1, keepdims=True)
    for position, name in enumerate(ISIC_2019):
        truth = np.array([sample.label == name for sample in predictions.samples])
        fpr, tpr = roc(truth, p[:, position])
        last = np.flatnonzero(tpr >= 0.8)[0]
        left = np.interp(0.8, tpr[last - 1 : last + 1], fpr[last - 1 : last + 1])
        below = 0.8 * (1 - left)
        ours = partial_auroc(truth, p[:, position])
        assert score.per_category.loc[name, "auc_sens_80"] == pytest.approx(ours + below, abs=1e-6)
