"""What a run's folder holds, read back."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from edgeskin.errors import SettingError
from train.config import TrainConfig
from train.data.table import read_table
from train.fit.run import SELECTED, load_run, record_of, same_run
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
    run = Path(shutil.copytree(micro_run, tmp_path / "run"))
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del record["config"]["augment"]["jpeg"], record["config"]["augment"]["mixup"]
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    current = record_of(micro_config, samples, "none")
    assert same_run(run, current) == record
    with pytest.raises(SettingError, match=r"other settings \(the teacher\)"):
        same_run(run, current | {"teacher": {"source": "another"}})
    other = dataclasses.replace(micro_config, augment=dataclasses.replace(micro_config.augment, jpeg=0.5))
    with pytest.raises(SettingError, match=r"other settings \(augment\)"):
        same_run(run, record_of(other, samples, "none"))
