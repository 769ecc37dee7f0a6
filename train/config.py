"""Every setting of a training run, its default and what it may be; read from YAML, written beside the run."""

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from edgeskin.errors import SettingError
from edgeskin.preprocess import Preprocessing
from edgeskin.taxonomy import CANCER, ISIC_2019

Schedule = Literal["one_cycle", "cosine"]
Selection = Literal["composite", "cancer_auroc", "balanced_accuracy", "macro_f1", "specificity_at_95"]


@dataclass(frozen=True)
class ModelConfig:
    """backbone: any convolutional timm name. dropout: before each of the head's two linear layers.

    drop_path: stochastic depth, the rate at which the last residual block is passed over in training, less
    in those before it (Huang et al., "Deep networks with stochastic depth", 2016); 0 for a backbone without.
    """

    backbone: str = "efficientnet_b3"
    hidden: int = 512
    dropout: tuple[float, float] = (0.3, 0.2)
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        _within(self, "drop_path", 0, 0.9)


@dataclass(frozen=True)
class LossConfig:
    """The terms of MaxRecall, with their published values; see train.loss for the formulas.

    Each term is off at its neutral value: ``class_weights`` False, ``temperature`` 1, smoothings 0,
    multipliers and ``hard_weight`` 1, ``recall_weight`` 0.
    """

    class_weights: bool = True
    temperature: float = 1.5
    cancer_smoothing: float = 0.01
    benign_smoothing: float = 0.15
    benign_to_cancer: float = 0.5
    cancer_miss_multiplier: float = 4.0
    melanoma_miss_multiplier: float = 6.0
    hard_weight: float = 2.0
    recall_weight: float = 0.3

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise SettingError(f"loss temperature {self.temperature}: choose a positive number")
        for name in ("cancer_smoothing", "benign_smoothing", "benign_to_cancer"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"loss {name} {getattr(self, name)}: choose 0 to 1")
        for name in ("cancer_miss_multiplier", "melanoma_miss_multiplier", "hard_weight", "recall_weight"):
            if getattr(self, name) < 0:
                raise SettingError(f"loss {name} {getattr(self, name)}: choose 0 or more")


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths and probabilities of the training augmentation; 0 turns a part off.

    low_resolution, circular_mask, artifacts: of the whole picture before it is cropped, in every class alike,
    so that neither a small picture nor a dark border nor a pen mark gives a class away; see train.augment.
    mixup: of each batch with itself, shares from Beta(mixup, mixup) (Zhang et al., "mixup", 2018).
    """

    crop_scale: tuple[float, float] = (0.7, 1.0)
    rotation: float = 180.0
    flips: bool = True
    jitter: float = 0.2
    gamma: float = 0.2
    illuminant: float = 0.08
    clahe: float = 0.1
    blur: float = 0.1
    noise: float = 0.1
    downscale: float = 0.0
    jpeg: float = 0.0
    coarse_dropout: float = 0.2
    low_resolution: float = 0.0
    circular_mask: float = 0.0
    artifacts: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        smallest, largest = self.crop_scale
        if not 0 < smallest <= largest <= 1:
            raise SettingError(f"crop_scale {self.crop_scale}: choose two shares of the area, rising, to 1")
        shares = ("jitter", "gamma", "illuminant", "clahe", "blur", "noise", "downscale", "jpeg")
        for name in (*shares, "coarse_dropout", "low_resolution", "circular_mask", "artifacts"):
            _within(self, name, 0, 1)
        _within(self, "rotation", 0, 180)
        _within(self, "mixup", 0, 10)


@dataclass(frozen=True)
class SamplerConfig:
    """cancer_oversampling: times a cancer image comes an epoch. epoch_cap: at most this many images of a
    class an epoch, drawn anew every epoch (0: all); class weights are those of the capped counts.
    """

    cancer_oversampling: int = 1
    epoch_cap: int = 0

    def __post_init__(self) -> None:
        _within(self, "cancer_oversampling", 1, 100)
        _within(self, "epoch_cap", 0, math.inf)


@dataclass(frozen=True)
class FoldConfig:
    """Leaves fold ``left_out`` (from 0) of ``count`` folds of the training images out; count 0: none."""

    count: int = 0
    left_out: int = 0

    def __post_init__(self) -> None:
        if self.count < 0 or self.count == 1 or not 0 <= self.left_out < max(1, self.count):
            raise SettingError(
                f"folds: left_out {self.left_out} of {self.count}: choose 0 folds, or 2 and more, of them one"
            )


@dataclass(frozen=True)
class DistillationConfig:
    """Soft labels of teachers, as `train.teach` writes them: their share of the loss (0: none), and the
    temperature of both softmaxes; see `train.loss.distillation`.
    """

    weight: float = 0.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        _within(self, "weight", 0, 1)
        _within(self, "temperature", 0.1, 100)


@dataclass(frozen=True)
class Stage:
    """One part of the schedule: how long, at what size, and how much of the backbone learns.

    unfrozen: the last so many of the backbone's stages learn (0: the head alone, -1: everything).
    """

    epochs: int
    image_size: int
    unfrozen: int = -1


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with weight decay on matrices only; the schedule covers the whole run."""

    learning_rate: float = 4e-4
    head_learning_rate: float = 2e-3
    weight_decay: float = 0.02
    schedule: Schedule = "one_cycle"
    warmup: float = 0.15
    gradient_clip: float = 1.0
    ema_decay: float = 0.99
    ema_every: int = 5

    def __post_init__(self) -> None:
        for name in ("learning_rate", "head_learning_rate"):
            _within(self, name, 1e-9, 10)
        for name in ("weight_decay", "warmup", "ema_decay"):
            _within(self, name, 0, 1)
        _within(self, "gradient_clip", 0, math.inf)
        _within(self, "ema_every", 1, math.inf)


@dataclass(frozen=True)
class TrainConfig:
    """A whole run. ``stack_rebalancers`` permits class weights and cancer oversampling together.

    The loss's own terms favour cancers further; each is switched in LossConfig.
    """

    classes: tuple[str, ...] = ISIC_2019
    cancer: tuple[str, ...] = CANCER
    melanoma: str = "MEL"
    seed: int = 17
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    folds: FoldConfig = field(default_factory=FoldConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
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
        unknown = [name for name in (*self.cancer, self.melanoma) if name not in self.classes]
        if unknown:
            raise SettingError(f"cancer classes {unknown} are not among the classes {list(self.classes)}")
        if not self.stages or any(stage.epochs < 1 or stage.image_size < 32 for stage in self.stages):
            raise SettingError("stages: give at least one, each of at least 1 epoch and 32 pixels")
        if self.batch_size < 2 or self.workers < 0:
            raise SettingError(
                f"batch_size {self.batch_size}, workers {self.workers}: at least 2 (for BatchNorm) and 0"
            )
        _within(self, "selection_threshold", 0, 1)
        _within(self, "patience", 0, math.inf)
        if self.selection not in get_args(Selection):
            raise SettingError(
                f"selection {self.selection!r}: choose one of {', '.join(get_args(Selection))}"
            )
        if self.optimizer.schedule not in get_args(Schedule):
            known = ", ".join(get_args(Schedule))
            raise SettingError(f"schedule {self.optimizer.schedule!r}: choose one of {known}")
        if self.loss.class_weights and self.sampler.cancer_oversampling > 1 and not self.stack_rebalancers:
            raise SettingError(
                "class_weights and cancer_oversampling re-balance twice; turn one off, "
                "or set stack_rebalancers: true to mean it"
            )

    @property
    def epochs(self) -> int:
        return sum(stage.epochs for stage in self.stages)

    def seed_of(self, epoch: int, rank: int) -> int:
        """The seed of an epoch's augmentation and dropout, another one in each process of a run."""
        return self.seed + epoch + 1_000_003 * rank

    def stage_of(self, epoch: int) -> Stage:
        """The stage that holds an epoch (from 0); the last one for epochs past the end."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage
            epoch -= stage.epochs
        return self.stages[-1]


def load_config(path: Path | None) -> TrainConfig:
    """The defaults with the file's values in their place.

    Raises SettingError naming the file and the key when one is unknown or of the wrong shape.
    """
    if path is None:
        return TrainConfig()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SettingError(f"{path}: cannot be read as YAML: {error}") from error
    try:
        return from_dict(TrainConfig, values)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error


T = TypeVar("T")


def _within(settings: Any, name: str, low: float, high: float) -> None:
    value = getattr(settings, name)
    if not low <= value <= high:
        raise SettingError(f"{name} {value}: choose {low} to {high}")


def from_dict(cls: type[T], values: Any, where: str = "") -> T:
    """Build a (nested) settings dataclass from plain data; an unknown key is an error."""
    if not isinstance(values, dict):
        raise SettingError(f"{where or 'the file'} holds {type(values).__name__}, not a mapping of settings")
    hints = get_type_hints(cls)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise SettingError(f"unknown settings {unknown} in {where or 'the file'}; known: {', '.join(hints)}")
    settings = {key: _value(hints[key], value, key) for key, value in values.items()}
    try:
        return cls(**settings)
    except TypeError as error:  # a setting without a default is missing
        raise SettingError(f"{where or 'the file'}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, where)
    if get_origin(hint) is tuple:
        kind, *rest = get_args(hint)
        length = None if rest == [...] else 1 + len(rest)
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            raise SettingError(f"{where}: {value!r} is not a list of {length or 'any number of'} values")
        return tuple(_value(kind, item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is not hint:
        raise SettingError(f"{where}: {value!r} is not of type {hint.__name__}")
    return value
