"""Settings: YAML over the defaults, and everything that is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from edgeskin.errors import SettingError
from train.config import (
    LossConfig,
    SamplerConfig,
    Stage,
    TrainConfig,
    from_dict,
    load_config,
)

ROOT = Path(__file__).parents[2]


def loaded(folder: Path, text: str) -> TrainConfig:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def test_without_a_file_the_defaults() -> None:
    assert load_config(None) == TrainConfig()


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """
        seed: 3
        loss: {temperature: 1}
        model: {dropout: [0, 0.1]}
        stages:
          - {epochs: 2, image_size: 64, unfrozen: 0}
          - {epochs: 1, image_size: 96}
        preprocessing: {size: 96, color_constancy: none}
        """,
    )
    defaults = TrainConfig()
    assert config.seed == 3
    assert config.loss == LossConfig(temperature=1.0)
    assert config.model.dropout == (0.0, 0.1)
    assert config.stages == (Stage(2, 64, 0), Stage(1, 96, -1))
    assert (config.preprocessing.size, config.preprocessing.color_constancy) == (96, "none")
    assert (config.optimizer, config.classes) == (defaults.optimizer, defaults.classes)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, "# nothing\n") == TrainConfig()


def test_the_shipped_files_load() -> None:
    files = list((ROOT / "configs").glob("*.yaml"))
    assert files
    for file in files:
        load_config(file)


def test_json_and_back() -> None:
    config = TrainConfig(stages=(Stage(1, 64),), sampler=SamplerConfig(epoch_cap=5))
    assert from_dict(TrainConfig, json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 1", r"unknown settings \['learning_rate'\] in the file; known: classes"),
        ("loss: {temprature: 1}", r"unknown settings \['temprature'\] in loss"),
        ("batch_size: many", "batch_size: 'many' is not of type int"),
        ("batch_size: 2.5", "batch_size: 2.5 is not of type int"),
        ("workers: true", "workers: True is not of type int"),
        ("stack_rebalancers: 1", "stack_rebalancers: 1 is not of type bool"),
        # YAML reads 1e-4, without a point, as text.
        ("optimizer: {learning_rate: 1e-4}", "learning_rate: '1e-4' is not of type float"),
        ("loss: 3", "loss holds int, not a mapping"),
        ("- 1", "the file holds list, not a mapping"),
        ("classes: MEL", "classes: 'MEL' is not a list"),
        ("stages: 3", "stages: 3 is not a list"),
        ("stages: [{image_size: 64}]", "stages: .*missing.*epochs"),
        ("stages: []", "give at least one"),
        ("stages: [{epochs: 0, image_size: 64}]", "at least 1 epoch"),
        ("augment: {crop_scale: [0.7]}", r"crop_scale: \[0.7\] is not a list of 2 values"),
        ("cancer: [MEL, XYZ]", r"cancer classes \['XYZ'\] are not among the classes"),
        ("melanoma: XYZ", r"\['XYZ'\] are not among the classes"),
        ("selection: luck", "selection 'luck': choose one of composite"),
        ("optimizer: {schedule: steps}", "schedule 'steps': choose one of one_cycle, cosine"),
        ("preprocessing: {color_constancy: max}", "color_constancy 'max'"),
        ("batch_size: 1", "batch_size 1"),
        ("augment: {crop_scale: [0.9, 0.7]}", "crop_scale"),
        ("augment: {rotation: 270}", "rotation 270"),
        ("sampler: {cancer_oversampling: 0}", "cancer_oversampling 0"),
        ("optimizer: {ema_decay: 1.5}", "ema_decay 1.5"),
        ("selection_threshold: 2", "selection_threshold 2"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        loaded(tmp_path, text)
    assert str(tmp_path / "config.yaml") in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"nowhere\.yaml: cannot be read"):
        load_config(tmp_path / "nowhere.yaml")


def test_two_rebalancers_only_when_meant() -> None:
    twice: dict[str, Any] = {"loss": LossConfig(class_weights=True), "sampler": SamplerConfig(2)}
    with pytest.raises(SettingError, match="re-balance twice"):
        TrainConfig(**twice)
    assert TrainConfig(**twice, stack_rebalancers=True).sampler.cancer_oversampling == 2
    assert TrainConfig(loss=LossConfig(class_weights=False), sampler=SamplerConfig(2))


def test_stages_by_epoch() -> None:
    stages = (Stage(1, 64, 0), Stage(2, 96), Stage(1, 128))
    config = TrainConfig(stages=stages)
    assert config.epochs == 4
    assert [stages.index(config.stage_of(epoch)) for epoch in (0, 1, 2, 3, 9)] == [0, 1, 1, 2, 2]
