"""Out-of-fold teachers: each image is predicted by those that have not seen it; a student learns of it."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from typer.testing import CliRunner

from edgeskin.errors import SettingError
from edgeskin.preprocess import Preprocessing
from edgeskin.taxonomy import ISIC_2019
from train import fit as fitting
from train import soft_labels
from train.cli import app
from train.config import AugmentConfig, DistillationConfig, FoldConfig, TrainConfig
from train.data import DataError, Sample, read_table, select
from train.fit import LesionTraining, fit
from train.loading import LesionImages, SoftLabelled, batches
from train.model import LesionNet
from train.predict import open_network, predict
from train.split import left_out, split_sha256
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


@pytest.fixture(scope="module")
def taught(teachers: list[Path], lesion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What they teach, by the command."""
    out = tmp_path_factory.mktemp("taught") / "soft.npz"
    runs = [str(run) for run in teachers]
    result = CliRunner().invoke(app, ["teach", *runs, "--data", str(lesion_folder), "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out


def test_each_image_is_predicted_by_the_run_that_left_it_out(
    teachers: list[Path], taught: Path, samples: list[Sample], lesion_folder: Path, tmp_path: Path
) -> None:
    train = select(samples, "train")
    logits = soft_labels.read(taught, train, ISIC_2019, split_sha256(samples))
    for number, run in enumerate(teachers):
        out = left_out(train, FoldConfig(2, number))
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        assert record["images"]["train"] == (~out).sum()
        expected = predict(open_network(run), train).logits
        np.testing.assert_allclose(logits[out], expected[out], rtol=1e-3, atol=1e-4)  # half precision
        assert not np.allclose(logits[~out], expected[~out], rtol=1e-3)
    assert teach([*teachers, teachers[0]], lesion_folder, tmp_path / "twice.npz") == len(train)
    twice = soft_labels.read(tmp_path / "twice.npz", train, ISIC_2019, split_sha256(samples))
    np.testing.assert_allclose(twice, logits, rtol=1e-3, atol=1e-4)


def test_teachers_one_at_a_time_teach_what_they_teach_together(
    teachers: list[Path], taught: Path, samples: list[Sample], lesion_folder: Path, tmp_path: Path
) -> None:
    train, split = select(samples, "train"), split_sha256(samples)
    parts = [tmp_path / f"{number}.npz" for number in range(2)]
    for number, (run, part) in enumerate(zip(teachers, parts, strict=True)):
        options = ["--data", str(lesion_folder), "--out", str(part), "--partial"]
        result = CliRunner().invoke(app, ["teach", str(run), *options])
        assert result.exit_code == 0, result.output
        out = left_out(train, FoldConfig(2, number))
        assert soft_labels.load(part).image_ids == [s.image_id for s, o in zip(train, out, strict=True) if o]
    expected = soft_labels.read(taught, train, ISIC_2019, split)
    for sources in (parts, [parts[0], teachers[1]]):
        assert teach(sources, lesion_folder, tmp_path / "joined.npz") == len(train)
        joined = soft_labels.read(tmp_path / "joined.npz", train, ISIC_2019, split)
        np.testing.assert_array_equal(joined, expected)
    with pytest.raises(DataError, match="16 of 32 training images were left out by no run"):
        teach(parts[:1], lesion_folder, tmp_path / "half.npz")
    with pytest.raises(SettingError, match="without 16 of the training images"):
        soft_labels.read(parts[0], train, ISIC_2019, split)
    soft_labels.write(train, expected, ISIC_2019, "0" * 64, tmp_path / "other.npz")
    with pytest.raises(SettingError, match=r"other\.npz: of other classes or another split"):
        teach([tmp_path / "other.npz"], lesion_folder, tmp_path / "half.npz")


def test_runs_that_cannot_teach(
    teachers: list[Path], micro_run: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "soft.npz"
    with pytest.raises(DataError, match="16 of 32 training images were left out by no run"):
        teach(teachers[:1], lesion_folder, out)
    with pytest.raises(SettingError, match="has learned every training image"):
        teach([*teachers, micro_run], lesion_folder, out)
    for changes, problem in (
        ({"learned_sha256": "0" * 64}, "its folds were others"),
        ({"initial_weights": {"kind": "bundle"}}, "started from a bundle"),
        ({"soft_labels_sha256": "0" * 64}, "or was taught"),
        ({"teacher": {"kind": "bundle"}}, "or was taught"),
    ):
        run = tmp_path / str(next(iter(changes)))
        shutil.copytree(teachers[0], run)
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        (run / "run.json").write_text(json.dumps(record | changes), encoding="utf-8")
        with pytest.raises(SettingError, match=problem):
            teach([run, teachers[1]], lesion_folder, out)
    assert not out.exists()


def test_a_student_learns_from_what_was_taught_and_resumes_with_nothing_else(
    taught: Path, samples: list[Sample], lesion_folder: Path, tmp_path: Path
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
    result = CliRunner().invoke(app, ["fit", *options, "--soft-labels", str(taught)])
    assert result.exit_code == 0, result.output
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["soft_labels_sha256"] == hashlib.sha256(taught.read_bytes()).hexdigest()
    other = tmp_path / "other.npz"
    train = select(samples, "train")
    soft_labels.write(train, np.zeros((32, 8), np.float32), ISIC_2019, split_sha256(samples), other)
    result = CliRunner().invoke(app, ["fit", *options, "--soft-labels", str(other), "--resume"])
    assert isinstance(result.exception, SettingError)
    assert "the soft labels" in str(result.exception)


def test_the_loss_is_the_weighted_mean_of_both(micro_config: TrainConfig) -> None:
    settings = dataclasses.replace(micro_config, distillation=DistillationConfig(0.3, 2.0))
    module = LesionTraining(settings, [10] * 8, LesionNet(settings.model, 8))
    logits, soft = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 3, 4, 5])
    hard = module.loss(logits, targets)
    p, q = (functional.softmax(values / 2, dim=1) for values in (soft, logits))
    relative_entropy = (p * (p.log() - q.log())).sum(dim=1).mean()
    expected = 0.7 * hard + 0.3 * 4 * relative_entropy
    torch.testing.assert_close(module._loss(logits, targets, soft), expected)
    torch.testing.assert_close(module._loss(logits, targets), hard)


def test_mixup_blends_the_teachers_of_both_images(
    micro_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the second image's share at 1, the loss is that of its own label and teachers."""
    settings = dataclasses.replace(
        micro_config, augment=AugmentConfig(mixup=0.2), distillation=DistillationConfig(0.5)
    )
    module = LesionTraining(settings, [10] * 8, LesionNet(settings.model, 8)).eval()
    monkeypatch.setattr(fitting, "mixed", lambda images, alpha: (images.flip(0).float(), 0.0))
    monkeypatch.setattr(module, "log", lambda *args, **options: None)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    targets, soft = torch.tensor([0, 1, 2, 3]), torch.randn(4, 8)
    expected = module._loss(module(images.flip(0)), targets.flip(0), soft.flip(0))
    torch.testing.assert_close(module.training_step((images, targets, soft), 0), expected)


def test_a_teacher_sees_what_the_student_sees(
    micro_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mixed images; both labels' losses then share what the teacher says of the mixture."""
    settings = dataclasses.replace(
        micro_config, augment=AugmentConfig(mixup=0.2), distillation=DistillationConfig(0.5)
    )
    net, teacher = (LesionNet(settings.model, 8) for _ in range(2))
    module = LesionTraining(settings, [10] * 8, net, teacher).eval()
    monkeypatch.setattr(fitting, "mixed", lambda images, alpha: (images.roll(1, 0).float(), 0.25))
    monkeypatch.setattr(module, "log", lambda *args, **options: None)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    targets = torch.tensor([0, 1, 2, 3])
    said = teacher.eval()(module._normalized(images.roll(1, 0)))
    logits = module(images.roll(1, 0))
    hard = 0.25 * module.loss(logits, targets) + 0.75 * module.loss(logits, targets.flip(0))
    loss = module.training_step((images, targets), 0)
    torch.testing.assert_close(loss, 0.5 * hard + 0.5 * fitting.distillation(logits, said, 2.0))
    assert not any("teacher" in name for name in module.state_dict())
    loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_each_image_comes_with_its_own_teachers(samples: list[Sample], micro_config: TrainConfig) -> None:
    train = select(samples, "train")
    soft = np.repeat(np.arange(len(train), dtype=np.float32)[:, None], 8, axis=1)
    images = LesionImages(train, ISIC_2019, Preprocessing(size=64))
    order = list(reversed(range(len(train))))
    loaded = list(batches(SoftLabelled(images, soft), 8, workers=0, sampler=order))
    assert torch.cat([rows for *_, rows in loaded])[:, 0].tolist() == order
    assert torch.cat([labels for _, labels, _ in loaded]).tolist() == [images[i][1] for i in order]


def test_soft_labels_read_in_the_order_of_the_samples(samples: list[Sample], tmp_path: Path) -> None:
    logits = np.arange(len(samples) * 8, dtype=np.float32).reshape(-1, 8)
    soft_labels.write(samples, logits, ISIC_2019, "split", tmp_path / "soft.npz")
    read = soft_labels.read(tmp_path / "soft.npz", samples[::-1], ISIC_2019, "split")
    np.testing.assert_array_equal(read, logits[::-1])


def test_soft_labels_that_do_not_fit(
    samples: list[Sample], micro_config: TrainConfig, tmp_path: Path
) -> None:
    path = tmp_path / "soft.npz"
    logits = np.zeros((len(samples) - 1, 8), np.float32)
    soft_labels.write(samples[1:], logits, ISIC_2019, "split", path)
    with pytest.raises(SettingError, match="without 1 of the training images"):
        soft_labels.read(path, samples, ISIC_2019, "split")
    for classes, split in ((ISIC_2019[::-1], "split"), (ISIC_2019, "other")):
        with pytest.raises(SettingError, match="write it anew from runs like this one"):
            soft_labels.read(path, samples[1:], classes, split)
    whole = path.read_bytes()
    np.save(tmp_path / "bare.npy", logits)
    for content in (b"no archive", b"", whole[: len(whole) // 2], (tmp_path / "bare.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(SettingError, match="cannot be read as soft labels"):
            soft_labels.read(path, samples, ISIC_2019, "split")
    with pytest.raises(SettingError, match="takes one of the two"):
        fit(samples, tmp_path / "run", micro_config, "none", soft_labels=path)
    with_weight = dataclasses.replace(micro_config, distillation=DistillationConfig(0.5))
    with pytest.raises(SettingError, match="takes one of the two"):
        fit(samples, tmp_path / "run", with_weight, "none")
