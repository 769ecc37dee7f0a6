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

_KEYS_OF_0_11 = (
    "config", "split_sha256", "soft_labels_sha256", "teacher", "machine", "versions", "images",
    "learned_sha256", "epoch",
)  # fmt: skip
"""The keys of run.json in 0.11.0, without ``initial_weights`` and the scores."""


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
        np.testing.assert_allclose(logits[out], expected[out], rtol=1e-3, atol=1e-4)  # half precision
        assert not np.allclose(logits[~out], expected[~out], rtol=1e-3)
    assert write_soft_labels([*teachers, teachers[0]], lesion_folder, tmp_path / "twice.npz") == len(train)
    twice = soft_labels.read(tmp_path / "twice.npz", train, ISIC_2019, split_sha256(samples))
    np.testing.assert_allclose(twice, logits, rtol=1e-3, atol=1e-4)


def test_views_are_averaged_where_asked_for(
    teachers: list[Path], samples: list[Sample], lesion_folder: Path, tmp_path: Path
) -> None:
    run, train = teachers[0], select(samples, "train")
    unseen = [s for s, is_out in zip(train, left_out(train, FoldConfig(2, 0)), strict=True) if is_out]
    every = predict(open_network(run, views=8), unseen).view_logits
    for views in (1, 8):
        out = tmp_path / f"{views}.npz"
        options = ["--data", str(lesion_folder), "--out", str(out), "--partial", "--views", str(views)]
        result = CliRunner().invoke(app, ["soft-labels", str(run), *options])
        assert result.exit_code == 0, result.output
        expected = every[:, :views].mean(axis=1)
        np.testing.assert_allclose(soft_labels.load(out).logits, expected, rtol=1e-3, atol=1e-6)
    assert not np.allclose(every[:, 0], every.mean(axis=1), rtol=1e-3, atol=1e-6)
    with pytest.raises(SettingError):
        open_network(run, views=5)


def test_partial_files_join_to_the_soft_labels_of_all_runs(
    teachers: list[Path], soft_label_file: Path, samples: list[Sample], lesion_folder: Path, tmp_path: Path
) -> None:
    train, split = select(samples, "train"), split_sha256(samples)
    parts = [tmp_path / f"{number}.npz" for number in range(2)]
    for number, (run, part) in enumerate(zip(teachers, parts, strict=True)):
        options = ["--data", str(lesion_folder), "--out", str(part), "--partial"]
        result = CliRunner().invoke(app, ["soft-labels", str(run), *options])
        assert result.exit_code == 0, result.output
        out = left_out(train, FoldConfig(2, number))
        assert soft_labels.load(part).image_ids == [s.image_id for s, o in zip(train, out, strict=True) if o]
    expected = soft_labels.read(soft_label_file, train, ISIC_2019, split)
    for sources in (parts, [parts[0], teachers[1]]):
        assert write_soft_labels(sources, lesion_folder, tmp_path / "joined.npz") == len(train)
        joined = soft_labels.read(tmp_path / "joined.npz", train, ISIC_2019, split)
        np.testing.assert_array_equal(joined, expected)
    with pytest.raises(DataError, match="left out 16 of 32"):
        write_soft_labels(parts[:1], lesion_folder, tmp_path / "half.npz")
    with pytest.raises(SettingError, match="16 training images are missing"):
        soft_labels.read(parts[0], train, ISIC_2019, split)


def test_files_that_do_not_fit_the_table(samples: list[Sample], lesion_folder: Path, tmp_path: Path) -> None:
    file, out, logits = tmp_path / "other.npz", tmp_path / "soft.npz", np.zeros((32, 8), np.float32)
    train, split = select(samples, "train"), split_sha256(samples)
    soft_labels.write(train, logits, ISIC_2019, "0" * 64, file)
    with pytest.raises(SettingError, match=r"other\.npz: other classes or another split"):
        write_soft_labels([file], lesion_folder, out)
    renamed = [dataclasses.replace(train[0], image_id="new"), *train[1:]]
    soft_labels.write(renamed, logits, ISIC_2019, split, file)
    with pytest.raises(
        SettingError, match=r"other\.npz: 1 images are not in the training split, such as new"
    ):
        write_soft_labels([file], lesion_folder, out)
    assert not out.exists()


def test_runs_of_0_11_can_be_teachers(
    teachers: list[Path], soft_label_file: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    """Their run.json has a loss without a name and val_* at the top level, and lacks newer keys."""
    runs = []
    for number, teacher in enumerate(teachers):
        runs.append(Path(shutil.copytree(teacher, tmp_path / str(number))))
        record = json.loads((teacher / "run.json").read_text(encoding="utf-8"))
        record["config"]["loss"] = {
            "class_weights": False,
            "temperature": 1.0,
            "cancer_smoothing": 0.1,
            "benign_smoothing": 0.1,
            "benign_to_cancer": 0.571428571,
            "cancer_miss_multiplier": 1.0,
            "melanoma_miss_multiplier": 1.0,
            "hard_weight": 1.0,
            "recall_weight": 0.0,
        }
        old = {name: record[name] for name in _KEYS_OF_0_11} | {"initial_weights": {"source": "none"}}
        (runs[-1] / "run.json").write_text(json.dumps(old | record["scores"]), encoding="utf-8")
    out = tmp_path / "soft.npz"
    result = CliRunner().invoke(
        app, ["soft-labels", *map(str, runs), "--data", str(lesion_folder), "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    one, other = soft_labels.load(out), soft_labels.load(soft_label_file)
    assert one.image_ids == other.image_ids
    np.testing.assert_array_equal(one.logits, other.logits)


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
