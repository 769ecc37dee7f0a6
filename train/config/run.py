"""The settings of a training run, with defaults and ranges, as YAML files and run.json hold them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from edgeskin.bundle.plain_data import from_plain
from edgeskin.errors import SettingError
from edgeskin.imaging.preprocess import Preprocessing
from edgeskin.taxonomy import CANCER, ISIC_2019
from train.config.distill import ConsistencyConfig, DistillationConfig, FoldConfig
from train.config.input import AugmentConfig, SamplerConfig
from train.config.loss import LossConfig, MaxRecallConfig
from train.config.model import ModelConfig
from train.config.ranges import require_range
from train.config.schedule import OptimizerConfig, Stage

Selection = Literal["composite", "cancer_auroc", "balanced_accuracy", "macro_f1", "specificity_at_95"]

SHIPPED_RECIPE = Path(__file__).parents[2] / "configs" / "default_bundle.yaml"
"""The settings that the default bundle is trained with."""


@dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    Attributes:
        classes: Codes of the classes, in the order of the network's outputs.
        cancer: Those of them that are cancer.
        melanoma: The class whose misses MaxRecall weighs most.
        seed: Seed of the split, the sampler, the augmentation and the weights.
        preprocessing: How a photo becomes the network's input; validation uses it as it is.
        model: The network.
        loss: The loss.
        augment: The augmentation.
        sampler: What an epoch holds.
        folds: Training images to leave out.
        distillation: Learning from teachers.
        consistency: The same answer for dihedral transforms.
        optimizer: Optimizer, schedule and weight averaging.
        stages: The schedule of image sizes and frozen layers.
        batch_size: Images a step.
        workers: Processes that prepare images.
        selection: The validation metric that selects an epoch.
        selection_threshold: Threshold on P(cancer) for the recall in ``composite``.
        patience: Epochs without improvement after which training stops; 0: never.
        stack_rebalancers: Allow class weights and cancer oversampling together.
    """

    classes: tuple[str, ...] = ISIC_2019
    cancer: tuple[str, ...] = CANCER
    melanoma: str = "MEL"
    seed: int = 17
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=MaxRecallConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    folds: FoldConfig = field(default_factory=FoldConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    consistency: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    stages: tuple[Stage, ...] = (
        Stage(1, 128, unfrozen=0),
        Stage(1, 128, unfrozen=4),
        Stage(4, 128),
        Stage(4, 160),
        Stage(4, 224),
    )
    batch_size: int = 32
    workers: int = 1
    selection: Selection = "composite"
    selection_threshold: float = 0.35
    patience: int = 0
    stack_rebalancers: bool = False

    def __post_init__(self) -> None:
        """Check that the settings fit each other; raise SettingError."""
        unknown = [name for name in (*self.cancer, self.melanoma) if name not in self.classes]
        if unknown:
            raise SettingError(f"cancer classes {unknown} are not among the classes {list(self.classes)}")
        if not self.stages:
            raise SettingError("stages: give at least one")
        if self.batch_size < 2 or self.workers < 0:
            raise SettingError(
                f"batch_size {self.batch_size}, workers {self.workers}: choose at least 2 (for BatchNorm) "
                "and at least 0"
            )
        require_range(self, 0, 1, "selection_threshold")
        require_range(self, 0, math.inf, "patience")
        if self.loss.class_weights and self.sampler.cancer_oversampling > 1 and not self.stack_rebalancers:
            raise SettingError(
                "class_weights and cancer_oversampling rebalance twice; turn one off, or set "
                "stack_rebalancers: true to use both"
            )

    @property
    def epochs(self) -> int:
        """Epochs of all stages."""
        return sum(stage.epochs for stage in self.stages)

    def seed_of(self, epoch: int, rank: int) -> int:
        """The seed of an epoch's augmentation and dropout; each process of a run has its own."""
        return self.seed + epoch + 1_000_003 * rank

    def stage_of(self, epoch: int) -> Stage:
        """The stage that holds an epoch (from 0); the last one for epochs past the end."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage
            epoch -= stage.epochs
        return self.stages[-1]


def load_config(path: Path | None) -> TrainConfig:
    """Read settings from YAML; settings that the file leaves out have the defaults of `TrainConfig`.

    Args:
        path: The file. Without one the shipped recipe is read (`SHIPPED_RECIPE`).

    Raises:
        SettingError: The file cannot be read, or a setting is unknown, of the wrong type or out of range. The
            message names the file and the setting.
    """
    path = SHIPPED_RECIPE if path is None else path
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingError(f"{path}: cannot be read as YAML: {error}") from error
    try:
        return read_config({} if values is None else values)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error


def read_config(values: Mapping[str, Any], where: str = "") -> TrainConfig:
    """The settings from plain data, as a config file and run.json hold them. Raises SettingError."""
    return from_plain(TrainConfig, values, where)
