"""Out-of-fold teachers: each image is predicted by networks that were not trained on it."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgeskin.errors import SettingError
from edgeskin.taxonomy import ISIC_2019
from train.cli import app
from train.config import FoldConfig, TrainConfig
from train.data.split import left_out, split_sha256
from train.data.table import DataError, Sample, read_table, select
from train.distill import soft_labels
from train.distill.out_of_fold import write_soft_labels
from train.evaluate.predict import open_network, predict
from train.fit.trainer import fit


@pytest.fixture(scope="module")
def samples(lesion_folder: Path) -> list[Sample]:
    return read_table(lesion_folder)


@pytest.fixture(scope="module")
def teachers(
    samples: list[Sample], micro_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Two runs, each of which left one of two folds out."""
    root = tmp_path_factory.mktemp("teachers")
    return [
        fit(samples, root / str(n), dataclasses.replace(micro_config, folds=FoldConfig(2, n)), "none")
        for n in range(2)
    ]


@pytest.fixture(scope="module")
def soft_label_file(
    teachers: list[Path], lesion_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Their soft labels, by the command."""
    out = tmp_path_factory.mktemp("soft_labels") / "soft.npz"
    runs = [str(run) for run in teachers]
    result = CliRunner().invoke(app, ["soft-labels", *runs, "--data", str(lesion_folder), "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out


def test_each_image_is_predicted_by_the_run_that_left_it_out(
    teachers: list[Path], soft_label_file: Path, samples: list[Sample], lesion_folder: Path, tmp_path: Path
) -> None:
    train = select(samples, "train")
    logits = soft_labels.read(soft_label_file, train, ISIC_2019, split_sha256(samples))
    for number, run in enumerate(teachers):
        out = left_out(train, FoldConfig(2, number))
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        assert record["images"]["train"] == (~out).sum()
        expected = predict(open_network(run), train).logits
        np.testing.assert_allclose(logits[out], expected[out], rtol=1e-4, atol=1e-5)
        assert not np.allclose(logits[~out], expected[~out], rtol=1e-3)
    assert write_soft_labels([*teachers, teachers[0]], lesion_folder, tmp_path / "twice.npz") == len(train)
    twice = soft_labels.read(tmp_path / "twice.npz", train, ISIC_2019, split_sha256(samples))
    np.testing.assert_allclose(twice, logits, rtol=1e-5, atol=1e-6)


def test_runs_that_cannot_be_teachers(
    teachers: list[Path], micro_run: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "soft.npz"
    with pytest.raises(DataError, match="left out 16 of 32"):
        write_soft_labels(teachers[:1], lesion_folder, out)
    with pytest.raises(SettingError, match="on every training image"):
        write_soft_labels([*teachers, micro_run], lesion_folder, out)
    for changes, problem in (
        ({"learned_sha256": "0" * 64}, "other images or groups"),
        ({"initial_weights": {"source": "micro 0", "kind": "bundle"}}, "started from a bundle"),
        ({"soft_labels_sha256": "0" * 64}, "or was distilled"),
        ({"teacher": {"source": "micro 0", "kind": "bundle"}}, "or was distilled"),
    ):
        run = tmp_path / str(next(iter(changes)))
        shutil.copytree(teachers[0], run)
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        (run / "run.json").write_text(json.dumps(record | changes), encoding="utf-8")
        with pytest.raises(SettingError, match=problem):
            write_soft_labels([run, teachers[1]], lesion_folder, out)
    assert not out.exists()


def test_a_student_is_distilled_from_soft_labels_and_resumes_with_the_same(
    soft_label_file: Path, samples: list[Sample], lesion_folder: Path, tmp_path: Path
) -> None:
    config = tmp_path / "student.yaml"
    config.write_text(
        "preprocessing: {size: 64}\nmodel: {backbone: test_efficientnet, hidden: 16}\n"
        "optimizer: {ema_every: 1, ema_decay: 0.5}\nbatch_size: 8\nworkers: 0\n"
        "stages: [{epochs: 2, image_size: 64}]\naugment: {mixup: 0.2}\ndistillation: {weight: 0.5}\n",
        encoding="utf-8",
    )
    out = tmp_path / "student"
    options = ["--data", str(lesion_folder), "--out", str(out), "--config", str(config), "--weights", "none"]
    result = CliRunner().invoke(app, ["fit", *options, "--soft-labels", str(soft_label_file)])
    assert result.exit_code == 0, result.output
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["soft_labels_sha256"] == hashlib.sha256(soft_label_file.read_bytes()).hexdigest()
    other = tmp_path / "other.npz"
    train = select(samples, "train")
    soft_labels.write(train, np.zeros((32, 8), np.float32), ISIC_2019, split_sha256(samples), other)
    result = CliRunner().invoke(app, ["fit", *options, "--soft-labels", str(other), "--resume"])
    assert isinstance(result.exception, SettingError)
    assert "the soft labels" in str(result.exception)
