"""The folder of a run, read back, and its record."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from edgeskin.bundle.bundle import SHIPPED, open_bundle
from edgeskin.bundle.manifest import Normalization, WeightsSource
from edgeskin.errors import SettingError
from edgeskin.results import to_plain
from train.config import TrainConfig
from train.data.table import read_table, select
from train.fit.run import (
    SELECTED,
    load_run,
    new_record,
    read_record,
    recorded_normalization,
    resumed_record,
    write_record,
)
from train.models.backbones import IMAGENET
from train.models.lesion_net import LesionNet


def test_the_loaded_run_is_the_selected_averaged_network(micro_run: Path) -> None:
    net, config = load_run(micro_run)
    assert not net.training
    saved = torch.load(micro_run / SELECTED, weights_only=True)
    expected = LesionNet(config.model, len(config.classes)).eval()
    expected.load_state_dict(
        {name[4:]: value for name, value in saved["state_dict"].items() if name.startswith("net.")}
    )
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(net(images), expected(images))
    name = "net.head.5.weight"
    assert not torch.equal(saved["state_dict"][name], saved["current_model_state"][name])


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"run\.json: not found"):
        load_run(tmp_path)


def test_a_run_of_a_version_with_fewer_settings_can_be_resumed(
    micro_run: Path, micro_config: TrainConfig, lesion_folder: Path, tmp_path: Path
) -> None:
    samples = read_table(lesion_folder)
    train = select(samples, "train")
    run = Path(shutil.copytree(micro_run, tmp_path / "run"))
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del record["config"]["augment"]["jpeg"], record["config"]["augment"]["mixup"]
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    current = new_record(micro_config, samples, train, "none")
    assert to_plain(resumed_record(run, current)) == record
    with pytest.raises(SettingError, match=r"other settings \(the teacher\)"):
        resumed_record(run, dataclasses.replace(current, teacher=WeightsSource("another")))
    other = dataclasses.replace(micro_config, augment=dataclasses.replace(micro_config.augment, jpeg=0.5))
    with pytest.raises(SettingError, match=r"other settings \(augment\)"):
        resumed_record(run, new_record(other, samples, train, "none"))


def test_a_record_is_written_whole_or_not_at_all(
    micro_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_record(micro_run)
    write_record(record, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]

    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_record(dataclasses.replace(record, epoch=None), tmp_path)
    assert read_record(tmp_path) == record


@pytest.mark.parametrize("name", ["default", "lite"])
def test_records_of_0_11_are_read(name: str, tmp_path: Path) -> None:
    """In run.json of 0.11.0, as the bundles' manifests hold it, scores are at the top level."""
    manifest = json.loads((SHIPPED[name] / "manifest.json").read_text(encoding="utf-8"))
    values = manifest["training"]["run"]
    (tmp_path / "run.json").write_text(json.dumps(values), encoding="utf-8")
    record = read_record(tmp_path)
    assert record == open_bundle(name).manifest.training.run
    assert record.scores == {"val_cancer_auroc": values["val_cancer_auroc"]}
    assert recorded_normalization(record) == IMAGENET
    assert record.config == values["config"]


def test_a_record_has_the_normalization_of_its_backbone(micro_run: Path, tmp_path: Path) -> None:
    """Runs of 0.11.0 used ImageNet's for every backbone, and still do."""
    record = read_record(micro_run)
    assert record.normalization == IMAGENET
    other = dataclasses.replace(record, normalization=Normalization((0.5,) * 3, (0.25,) * 3))
    write_record(other, tmp_path)
    assert read_record(tmp_path) == other
    assert recorded_normalization(other) == other.normalization
    assert recorded_normalization(dataclasses.replace(other, normalization=None)) == IMAGENET


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ([], "expected a mapping"),
        ({"config": {}}, "split_sha256, initial_weights: missing"),
        ({"config": {}, "split_sha256": 1, "initial_weights": {"source": "hub"}}, "split_sha256"),
        ({"config": {}, "split_sha256": "", "initial_weights": {}}, r"initial_weights\.source"),
        (
            {"config": {}, "split_sha256": "", "initial_weights": {"source": "hub"}, "val_x": "1"},
            r"scores\.val_x",
        ),
    ],
)
def test_malformed_records_are_refused(values: Any, path: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(SettingError, match=path):
        read_record(tmp_path)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(SettingError, match=r"run\.json"):
        read_record(tmp_path)


def test_weights_that_are_no_file_are_refused(
    micro_config: TrainConfig, lesion_folder: Path, tmp_path: Path
) -> None:
    samples = read_table(lesion_folder)
    with pytest.raises(SettingError, match=r"nowhere\.safetensors: no such file"):
        new_record(micro_config, samples, samples, str(tmp_path / "nowhere.safetensors"))
