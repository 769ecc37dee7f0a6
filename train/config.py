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

Schedule = Literal["one_cycle", "cosine"]
Selection = Literal["composite", "cancer_auroc", "balanced_accuracy", "macro_f1", "specificity_at_95"]

SHIPPED_RECIPE = Path(__file__).parents[1] / "configs" / "default_bundle.yaml"
"""The settings that the default bundle is trained with."""


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
        backbone: Any convolutional timm model.
        hidden: Width of the head's hidden layer.
        dropout: Rates before each of the head's two linear layers.
        drop_path: Stochastic depth (Huang et al., "Deep networks with stochastic depth", 2016): the rate at
            which training skips the last residual block. Earlier blocks have lower rates. 0 turns it off.
    """

    backbone: str = "efficientnet_b3"
    hidden: int = 512
    dropout: tuple[float, float] = (0.3, 0.2)
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges; raise SettingError."""
        _require_range(self, 0, 0.9, "drop_path")


@dataclass(frozen=True)
class MaxRecallConfig:
    """The terms of MaxRecall, with their published values; `train.losses.max_recall` has the formulas.

    A term is off at its neutral value: ``class_weights`` False, ``temperature`` 1, smoothings 0, multipliers
    and ``hard_weight`` 1, ``recall_weight`` 0.
    """

    name: Literal["max_recall"] = "max_recall"
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
        """Check the ranges; raise SettingError."""
        if self.temperature <= 0:
            raise SettingError(f"temperature {self.temperature}: choose a positive number")
        _require_range(self, 0, 1, "cancer_smoothing", "benign_smoothing", "benign_to_cancer")
        multipliers = ("cancer_miss_multiplier", "melanoma_miss_multiplier", "hard_weight")
        _require_range(self, 0, math.inf, *multipliers, "recall_weight")


@dataclass(frozen=True)
class CrossEntropyConfig:
    """torch's cross-entropy.

    Attributes:
        name: The name of this loss in a config file.
        label_smoothing: Share of the target that is spread evenly over all classes, the true one included.
        class_weights: Whether rare classes weigh more, as `train.losses.cross_entropy.class_weights` has it.
    """

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = 0.0
    class_weights: bool = False

    def __post_init__(self) -> None:
        """Check the range; raise SettingError."""
        _require_range(self, 0, 1, "label_smoothing")


LossConfig = MaxRecallConfig | CrossEntropyConfig
"""The losses by ``name``.

A mapping without a name is MaxRecall. This is how the settings of 0.11.0 are read, which had no name: its
runs and bundles keep the loss that they were trained with, plain cross-entropy included (MaxRecall, all terms
off).
"""


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths and probabilities of the training augmentation; 0 turns a part off.

    Attributes:
        crop_scale: Smallest and largest share of the area that a random crop keeps.
        rotation: Largest rotation in degrees.
        flips: Whether to mirror at random.
        jitter: Relative change of brightness, contrast and saturation.
        gamma: Largest absolute logarithm of the gamma.
        illuminant: Largest relative change of each channel.
        clahe: Probability of adaptive histogram equalization.
        blur: Probability of Gaussian blur.
        noise: Probability of sensor noise.
        downscale: Probability of a reduction to fewer pixels and back.
        jpeg: Probability of JPEG compression.
        coarse_dropout: Probability of each of three grey patches.
        low_resolution: Probability that the whole image is stored at a low resolution. This and the next two
            apply to every class at the same rate, so that small images, dark borders and marks are no
            shortcuts to the class; see `train.input.augment`.
        circular_mask: Probability of a dermoscope's dark border.
        artifacts: Probability of ruler marks, hairs, gel bubbles or pen marks.
        mixup: Each batch is blended with itself, reversed; the shares are from Beta(mixup, mixup) (Zhang et
            al., "mixup", 2018).
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
        """Check the ranges; raise SettingError."""
        smallest, largest = self.crop_scale
        if not 0 < smallest <= largest <= 1:
            raise SettingError(f"crop_scale {self.crop_scale}: choose two rising shares of the area, to 1")
        strengths = ("jitter", "gamma", "illuminant")
        probabilities = ("clahe", "blur", "noise", "downscale", "jpeg", "coarse_dropout")
        whole_image = ("low_resolution", "circular_mask", "artifacts")
        _require_range(self, 0, 1, *strengths, *probabilities, *whole_image)
        _require_range(self, 0, 180, "rotation")
        _require_range(self, 0, 10, "mixup")


@dataclass(frozen=True)
class SamplerConfig:
    """What an epoch holds.

    Attributes:
        cancer_oversampling: How often each cancer image occurs in an epoch.
        epoch_cap: Largest number of images of a class in an epoch, drawn again each epoch; 0 keeps all.
            Class weights follow the capped counts.
    """

    cancer_oversampling: int = 1
    epoch_cap: int = 0

    def __post_init__(self) -> None:
        """Check the ranges; raise SettingError."""
        _require_range(self, 1, 100, "cancer_oversampling")
        _require_range(self, 0, math.inf, "epoch_cap")


@dataclass(frozen=True)
class FoldConfig:
    """Leaves fold ``left_out`` (from 0) of ``count`` folds of the training images out; count 0: none."""

    count: int = 0
    left_out: int = 0

    def __post_init__(self) -> None:
        """Check the ranges; raise SettingError."""
        if self.count < 0 or self.count == 1 or not 0 <= self.left_out < max(1, self.count):
            raise SettingError(
                f"folds: left_out {self.left_out} of {self.count}: choose a count of 0, or of 2 or more and "
                "a left_out below it"
            )


@dataclass(frozen=True)
class DistillationConfig:
    """Distillation from a teacher or from soft labels; see `train.losses.distillation`.

    Attributes:
        weight: Share of the distillation in the loss; 0 turns it off.
        temperature: Temperature of both softmaxes.
    """

    weight: float = 0.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        """Check the ranges; raise SettingError."""
        _require_range(self, 0, 1, "weight")
        _require_range(self, 0.1, 100, "temperature")


@dataclass(frozen=True)
class ConsistencyConfig:
    """The same answer for an image and for its dihedral transforms; see `train.losses.consistency`.

    Attributes:
        weight: Factor of the term in the loss; 0 turns it off.
        share: Share of each batch that is also seen transformed, which costs as much more time.
    """

    weight: float = 0.0
    share: float = 0.25

    def __post_init__(self) -> None:
        """Check the ranges; raise SettingError."""
        _require_range(self, 0, 100, "weight")
        _require_range(self, 0.01, 1, "share")


@dataclass(frozen=True)
class Stage:
    """One part of the schedule.

    Attributes:
        epochs: Its length.
        image_size: Side of the training images in pixels.
        unfrozen: How many of the backbone's last stages learn; 0: only the head, -1: everything.
    """

    epochs: int
    image_size: int
    unfrozen: int = -1

    def __post_init__(self) -> None:
        """Check the ranges; raise SettingError."""
        if self.epochs < 1 or self.image_size < 32:
            raise SettingError("a stage needs at least 1 epoch and images of 32 pixels")


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
        """Check the ranges; raise SettingError."""
        _require_range(self, 1e-9, 10, "learning_rate", "head_learning_rate")
        _require_range(self, 0, 1, "weight_decay", "warmup", "ema_decay")
        _require_range(self, 0, math.inf, "gradient_clip")
        _require_range(self, 1, math.inf, "ema_every")


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
        _require_range(self, 0, 1, "selection_threshold")
        _require_range(self, 0, math.inf, "patience")
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


def _require_range(settings: object, low: float, high: float, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not low <= value <= high:
            raise SettingError(f"{name} {value}: choose {low} to {high}")
