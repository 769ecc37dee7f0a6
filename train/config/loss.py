"""Settings of the losses: one dataclass each, which a config file chooses by ``name``."""

import math
from dataclasses import dataclass
from typing import Literal

from edgeskin.errors import SettingError
from train.config.ranges import require_range


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
        require_range(self, 0, 1, "cancer_smoothing", "benign_smoothing", "benign_to_cancer")
        multipliers = ("cancer_miss_multiplier", "melanoma_miss_multiplier", "hard_weight")
        require_range(self, 0, math.inf, *multipliers, "recall_weight")


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
        require_range(self, 0, 1, "label_smoothing")


LossConfig = MaxRecallConfig | CrossEntropyConfig
"""The losses by ``name``.

A mapping without a name is MaxRecall. This is how the settings of 0.11.0 are read, which had no name: its
runs and bundles keep the loss that they were trained with, plain cross-entropy included (MaxRecall, all terms
off).
"""
