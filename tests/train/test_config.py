"""Settings: YAML over the defaults, and everything that is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError
from train.config import (
    CrossEntropyConfig,
    FoldConfig,
    MaxRecallConfig,
    SamplerConfig,
    Stage,
    TrainConfig,
    load_config,
    read_config,
)

ROOT = Path(__file__).parents[2]


def loaded(folder: Path, text: str) -> TrainConfig:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def test_without_a_file_the_shipped_recipe() -> None:
    assert load_config(None) == load_config(ROOT / "configs" / "default_bundle.yaml")
    assert load_config(None) != TrainConfig()


def test_the_shipped_recipe_is_that_of_the_shipped_bundle() -> None:
    """In all but the loss, whose smoothing 0.11.0 defined otherwise (see test_cross_entropy)."""
    run = open_bundle().manifest.training.run
    shipped = read_config(run.config)
    assert load_config(None) == dataclasses.replace(shipped, loss=load_config(None).loss)


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("loss: {name: max_recall, temperature: 2}", MaxRecallConfig(temperature=2.0)),
        ("loss: {name: cross_entropy, label_smoothing: 0.1}", CrossEntropyConfig(label_smoothing=0.1)),
        ("loss: {name: cross_entropy, class_weights: true}", CrossEntropyConfig(class_weights=True)),
        ("seed: 1", MaxRecallConfig()),
    ],
)
def test_losses_by_name(tmp_path: Path, text: str, loss: MaxRecallConfig | CrossEntropyConfig) -> None:
    assert loaded(tmp_path, text).loss == loss


@pytest.mark.parametrize("name", ["default", "lite"])
def test_the_settings_of_bundles_of_0_11_are_read(name: str) -> None:
    """Their loss has no name: it was MaxRecall, with all terms off."""
    values = open_bundle(name).manifest.training.run.config["loss"]
    assert "name" not in values
    assert read_config({"loss": values}).loss == MaxRecallConfig(**values)


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
    assert config.loss == MaxRecallConfig(temperature=1.0)
    assert config.model.dropout == (0.0, 0.1)
    assert config.stages == (Stage(2, 64, 0), Stage(1, 96, -1))
    assert (config.preprocessing.size, config.preprocessing.color_constancy) == (96, "none")
    assert (config.optimizer, config.classes) == (defaults.optimizer, defaults.classes)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, "# nothing\n") == TrainConfig()


def test_the_shipped_files_load() -> None:
    files = list((ROOT / "configs").rglob("*.yaml"))
    assert files
    for file in files:
        load_config(file)


def test_teachers_differ_only_in_the_fold_left_out() -> None:
    configs = [load_config(ROOT / "configs" / "teachers" / f"fold-{number}.yaml") for number in range(4)]
    assert configs == [dataclasses.replace(configs[0], folds=FoldConfig(4, number)) for number in range(4)]
    assert configs[0].loss == load_config(None).loss


def test_json_and_back() -> None:
    config = TrainConfig(stages=(Stage(1, 64),), sampler=SamplerConfig(epoch_cap=5))
    assert read_config(json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 1", "learning_rate: unknown; known: classes"),
        ("loss: {temprature: 1}", r"loss\.temprature: unknown"),
        ("loss: {name: hinge}", r"loss\.name: expected one of max_recall, cross_entropy"),
        ("loss: {name: cross_entropy, temperature: 1}", r"loss\.temperature: unknown"),
        ("loss: {name: cross_entropy, label_smoothing: 2}", r"loss: label_smoothing 2\.0"),
        ("batch_size: many", "batch_size: expected int"),
        ("batch_size: 2.5", "batch_size: expected int"),
        ("workers: true", "workers: expected int"),
        ("stack_rebalancers: 1", "stack_rebalancers: expected bool"),
        # YAML reads 1e-4, without a point, as text.
        ("optimizer: {learning_rate: 1e-4}", r"optimizer\.learning_rate: expected float"),
        ("loss: 3", "loss: expected a mapping"),
        ("- 1", "expected a mapping"),
        ("classes: MEL", "classes: expected a list"),
        ("stages: 3", "stages: expected a list"),
        ("stages: [{image_size: 64}]", r"stages\[0\]\.epochs: missing"),
        ("stages: []", "give at least one"),
        ("stages: [{epochs: 0, image_size: 64}]", r"stages\[0\]: .*at least 1 epoch"),
        ("augment: {crop_scale: [0.7]}", r"augment\.crop_scale: expected 2 values"),
        ("cancer: [MEL, XYZ]", r"cancer classes \['XYZ'\] are not among the classes"),
        ("melanoma: XYZ", r"\['XYZ'\] are not among the classes"),
        ("selection: luck", "selection: expected one of composite"),
        ("optimizer: {schedule: steps}", r"optimizer\.schedule: expected one of one_cycle, cosine"),
        ("preprocessing: {color_constancy: max}", r"preprocessing\.color_constancy: expected one of"),
        ("batch_size: 1", "batch_size 1"),
        ("augment: {crop_scale: [0.9, 0.7]}", "crop_scale"),
        ("augment: {rotation: 270}", "rotation 270"),
        ("augment: {low_resolution: 1.5}", r"low_resolution 1\.5"),
        ("augment: {circular_mask: -0.1}", r"circular_mask -0\.1"),
        ("augment: {artifacts: 2}", r"artifacts 2\.0"),
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


def test_two_rebalancers_only_when_asked_for() -> None:
    twice: dict[str, Any] = {"loss": MaxRecallConfig(class_weights=True), "sampler": SamplerConfig(2)}
    with pytest.raises(SettingError, match="rebalance twice"):
        TrainConfig(**twice)
    assert TrainConfig(**twice, stack_rebalancers=True).sampler.cancer_oversampling == 2
    assert TrainConfig(loss=MaxRecallConfig(class_weights=False), sampler=SamplerConfig(2))


def test_stages_by_epoch() -> None:
    stages = (Stage(1, 64, 0), Stage(2, 96), Stage(1, 128))
    config = TrainConfig(stages=stages)
    assert config.epochs == 4
    assert [stages.index(config.stage_of(epoch)) for epoch in (0, 1, 2, 3, 9)] == [0, 1, 1, 2, 2]
