"""Out-of-fold teachers: each image is predicted by those that have not seen it; a student learns of it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgeskin.errors import SettingError
from train import soft_labels
from train.cli import app
from train.config import DistillationConfig, FoldConfig, TrainConfig
from train.data import DataError, Sample, read_table, select
from train.fit import fit
from train.predict import open_network, predict
from train.split import left_out
from train.teach import teach


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


def test_each_image_is_predicted_by_the_run_that_left_it_out(
    teachers: list[Path], samples: list[Sample], lesion_folder: Path
) -> None:
    taught, logits = teach(teachers, lesion_folder)
    train = select(samples, "train")
    assert taught == train
    for number, run in enumerate(teachers):
        out = left_out(train, FoldConfig(2, number))
        assert json.loads((run / "run.json").read_text(encoding="utf-8"))["images"]["train"] == (~out).sum()
        expected = predict(open_network(run), train)
        np.testing.assert_allclose(logits[out], expected[out], rtol=1e-4, atol=1e-5)
        assert not np.allclose(logits[~out], expected[~out], rtol=1e-3)
    twice = teach([*teachers, teachers[0]], lesion_folder)[1]
    np.testing.assert_allclose(twice, logits, rtol=1e-5, atol=1e-6)


def test_an_image_that_no_run_left_out(teachers: list[Path], micro_run: Path, lesion_folder: Path) -> None:
    with pytest.raises(DataError, match="16 of 32 training images were left out by no run"):
        teach(teachers[:1], lesion_folder)
    with pytest.raises(SettingError, match="has learned every training image"):
        teach([*teachers, micro_run], lesion_folder)


def test_commands_from_teachers_to_student(teachers: list[Path], lesion_folder: Path, tmp_path: Path) -> None:
    """A student of soft labels alone comes nearer to its teachers than one that never heard them."""
    taught = tmp_path / "soft.npz"
    runs = [str(run) for run in teachers]
    result = CliRunner().invoke(app, ["teach", *runs, "--data", str(lesion_folder), "--out", str(taught)])
    assert result.exit_code == 0, result.output
    config = tmp_path / "student.yaml"
    config.write_text(
        "preprocessing: {size: 64}\nmodel: {backbone: test_efficientnet, hidden: 16}\n"
        "optimizer: {ema_every: 1, ema_decay: 0.5}\nbatch_size: 8\nworkers: 0\n"
        "stages: [{epochs: 2, image_size: 64}]\ndistillation: {weight: 1.0}\n",
        encoding="utf-8",
    )
    out = tmp_path / "student"
    options = ["--data", str(lesion_folder), "--out", str(out), "--config", str(config), "--weights", "none"]
    result = CliRunner().invoke(app, ["fit", *options, "--soft-labels", str(taught)])
    assert result.exit_code == 0, result.output
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert len(record["soft_labels_sha256"]) == 64
    other = tmp_path / "other.npz"
    train = select(read_table(lesion_folder), "train")
    soft_labels.write(train, np.zeros((32, 8), np.float32), other)
    result = CliRunner().invoke(app, ["fit", *options, "--soft-labels", str(other), "--resume"])
    assert isinstance(result.exception, SettingError)
    assert "the soft labels" in str(result.exception)


def test_the_loss_weighs_labels_and_teachers(
    samples: list[Sample], micro_config: TrainConfig, tmp_path: Path
) -> None:
    """With weight 0 in the limit the run is the one without teachers; with weight it is another."""
    train = select(samples, "train")
    path = tmp_path / "soft.npz"
    rng = np.random.default_rng(0)
    soft_labels.write(train, rng.normal(size=(len(train), 8)).astype(np.float32), path)
    weights = {}
    for weight in (1e-12, 0.5):
        settings = dataclasses.replace(micro_config, distillation=DistillationConfig(weight))
        run = fit(samples, tmp_path / str(weight), settings, "none", soft_labels=path)
        weights[weight] = (run / "weights.safetensors").read_bytes()
    assert weights[1e-12] != weights[0.5]


def test_soft_labels_read_in_the_order_of_the_samples(samples: list[Sample], tmp_path: Path) -> None:
    logits = np.arange(len(samples) * 8, dtype=np.float32).reshape(-1, 8)
    soft_labels.write(samples, logits, tmp_path / "soft.npz")
    np.testing.assert_array_equal(soft_labels.read(tmp_path / "soft.npz", samples[::-1], 8), logits[::-1])


def test_soft_labels_that_do_not_fit(
    samples: list[Sample], micro_config: TrainConfig, tmp_path: Path
) -> None:
    path = tmp_path / "soft.npz"
    soft_labels.write(samples[1:], np.zeros((len(samples) - 1, 8), np.float32), path)
    with pytest.raises(SettingError, match="without 1 of the training images"):
        soft_labels.read(path, samples, 8)
    with pytest.raises(SettingError, match="7 classes"):
        soft_labels.read(path, samples[1:], 7)
    path.write_bytes(b"no archive")
    with pytest.raises(SettingError, match="cannot be read as soft labels"):
        soft_labels.read(path, samples, 8)
    with pytest.raises(SettingError, match="give both"):
        fit(samples, tmp_path / "run", micro_config, "none", soft_labels=path)
    with_weight = dataclasses.replace(micro_config, distillation=DistillationConfig(0.5))
    with pytest.raises(SettingError, match="give both"):
        fit(samples, tmp_path / "run", with_weight, "none")
