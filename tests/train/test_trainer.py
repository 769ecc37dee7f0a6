"""A whole training run on drawn lesions: its files, and resuming it after a crash."""

import csv
import dataclasses
import json
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from edgeskin.errors import SettingError
from train.cli import app
from train.config import Stage, TrainConfig, read_config
from train.data.split import split_sha256
from train.data.table import DataError, Sample, read_table
from train.fit import curves
from train.fit.module import LesionTraining
from train.fit.run import load_run, read_record
from train.fit.trainer import fit
from train.models.lesion_net import LesionNet

# On a GPU the sums of a step are not taken in the same order twice.
EXACT = {} if torch.cuda.is_available() else {"rtol": 0, "atol": 0}


@pytest.fixture(scope="module")
def samples(lesion_folder: Path) -> list[Sample]:
    return read_table(lesion_folder)


@pytest.fixture(scope="module")
def interrupted(
    samples: list[Sample], micro_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The micro run, crashed at the start of its second epoch."""
    start = LesionTraining.on_train_epoch_start

    def crash(self: LesionTraining) -> None:
        if self.current_epoch == 1:
            raise RuntimeError("power cut")
        start(self)

    out = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LesionTraining, "on_train_epoch_start", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(samples, out, micro_config, "none")
    return out


def checkpoint(run: Path, name: str) -> dict[str, Tensor]:
    return torch.load(run / "checkpoints" / name, weights_only=True)


def test_the_files_of_a_run(micro_run: Path, micro_config: TrainConfig, samples: list[Sample]) -> None:
    record = json.loads((micro_run / "run.json").read_text(encoding="utf-8"))
    assert read_config(record["config"]) == micro_config
    assert record["config"]["seed"] == micro_config.seed
    assert record["images"] == {"train": 32, "val": 16}
    assert record["split_sha256"] == split_sha256(samples)
    assert (micro_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    with (micro_run / "log/version_0/metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in ("train_loss", "val_loss", "val_composite", "val_cancer_auroc", "val_macro_f1"):
        assert [row["epoch"] for row in rows if row[name]] == ["0", "1"]
    best = max(float(row["val_composite"]) for row in rows if row["val_composite"])
    assert record["scores"]["val_composite"] == pytest.approx(best)


def test_frozen_backbone_is_untouched_after_its_stage(interrupted: Path, micro_config: TrainConfig) -> None:
    pl.seed_everything(micro_config.seed)
    at_the_start = LesionNet(micro_config.model, len(micro_config.classes)).state_dict()
    after = checkpoint(interrupted, "last.ckpt")["current_model_state"]
    for name, value in at_the_start.items():
        if name.startswith("backbone."):
            assert torch.equal(after[f"net.{name}"], value), name
    assert not torch.equal(after["net.head.5.weight"], at_the_start["head.5.weight"])


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    interrupted: Path, micro_run: Path, micro_config: TrainConfig, samples: list[Sample]
) -> None:
    assert checkpoint(interrupted, "last.ckpt")["epoch"] == 0
    assert not (interrupted / "weights.safetensors").exists()
    fit(samples, interrupted, micro_config, "none", resume=True)

    ours, theirs = checkpoint(interrupted, "last.ckpt"), checkpoint(micro_run, "last.ckpt")
    assert (ours["epoch"], ours["global_step"]) == (theirs["epoch"], theirs["global_step"]) == (1, 8)
    for part in ("state_dict", "current_model_state"):
        torch.testing.assert_close(ours[part], theirs[part], **EXACT)
    torch.testing.assert_close(
        load_file(interrupted / "weights.safetensors"), load_file(micro_run / "weights.safetensors"), **EXACT
    )
    # The log of the first part is still there, and the curves show both.
    epochs = []
    for part in ("version_0", "version_1"):
        with (interrupted / "log" / part / "metrics.csv").open(encoding="utf-8") as file:
            epochs.append({row["epoch"] for row in csv.DictReader(file)})
    assert epochs == [{"0"}, {"1"}]


def test_every_epoch_can_be_resumed_even_without_a_new_best(
    samples: list[Sample], micro_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three equally good epochs the first stays the best; the last one can be resumed."""
    monkeypatch.setattr(
        LesionTraining, "on_validation_epoch_end", lambda self: self.log("val_composite", 0.5)
    )
    monkeypatch.setattr(curves, "plot_curves", lambda *_: None)
    fit(samples, tmp_path, dataclasses.replace(micro_config, stages=(Stage(3, 32, unfrozen=0),)), "none")
    assert checkpoint(tmp_path, "best.ckpt")["epoch"] == 0
    assert checkpoint(tmp_path, "last.ckpt")["epoch"] == 2


def test_command_with_other_settings(lesion_folder: Path, micro_run: Path, tmp_path: Path) -> None:
    """Cosine schedule, oversampling, early stopping, another selection, weights from a file, and a worker,
    forked from a process whose OpenCV has run in threads (it drew the lesions)."""
    config = tmp_path / "config.yaml"
    config.write_text(
        """
        preprocessing: {size: 64, color_constancy: gray_world}
        model: {backbone: test_efficientnet, hidden: 16}
        loss: {class_weights: false}
        sampler: {cancer_oversampling: 2, epoch_cap: 3}
        optimizer: {schedule: cosine}
        stages: [{epochs: 2, image_size: 32}]
        batch_size: 8
        workers: 1
        patience: 1
        selection: specificity_at_95
        """,
        encoding="utf-8",
    )
    backbone = {
        name.removeprefix("backbone."): value
        for name, value in load_file(micro_run / "weights.safetensors").items()
        if name.startswith("backbone.")
    }
    weights = tmp_path / "backbone.safetensors"
    save_file(backbone, weights)
    options = {"data": lesion_folder, "out": tmp_path / "run", "config": config, "weights": weights}
    result = CliRunner().invoke(app, ["fit", *(f"--{name}={path}" for name, path in options.items())])
    assert result.exit_code == 0, result.output
    _, settings = load_run(tmp_path / "run")
    assert settings.preprocessing.color_constancy == "gray_world"
    assert "val_specificity_at_95" in read_record(tmp_path / "run").scores


def test_a_run_is_not_overwritten(micro_run: Path, micro_config: TrainConfig, samples: list[Sample]) -> None:
    with pytest.raises(SettingError, match="--resume"):
        fit(samples, micro_run, micro_config, "none")


def test_a_run_is_resumed_only_with_its_settings(
    micro_run: Path, micro_config: TrainConfig, samples: list[Sample]
) -> None:
    with pytest.raises(SettingError, match=r"started with other settings \(seed\)"):
        fit(samples, micro_run, dataclasses.replace(micro_config, seed=1), "none", resume=True)
    with pytest.raises(SettingError, match="the images or their split"):
        fit(samples[:-1], micro_run, micro_config, "none", resume=True)


def test_nothing_to_resume(tmp_path: Path, micro_config: TrainConfig, samples: list[Sample]) -> None:
    with pytest.raises(SettingError, match="nothing to resume"):
        fit(samples, tmp_path / "run", micro_config, "none", resume=True)
    assert not (tmp_path / "run").exists()


def test_fewer_images_than_a_batch(tmp_path: Path, micro_config: TrainConfig, samples: list[Sample]) -> None:
    with pytest.raises(SettingError, match=r"32 training images .* 64"):
        fit(samples, tmp_path, dataclasses.replace(micro_config, batch_size=64), "none")


def test_a_class_without_images(tmp_path: Path, micro_config: TrainConfig, samples: list[Sample]) -> None:
    without = [sample for sample in samples if (sample.split, sample.label) != ("val", "DF")]
    with pytest.raises(DataError, match=r"classes without a single image \(1\): DF"):
        fit(without, tmp_path, micro_config, "none")


def test_a_loss_that_is_no_number_stops_the_run(
    tmp_path: Path, micro_config: TrainConfig, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LesionNet, "forward", lambda self, images: self.outputs(images)[0] * float("nan"))
    with pytest.raises(SettingError, match="the loss is nan at step 0"):
        fit(samples, tmp_path, micro_config, "none")
