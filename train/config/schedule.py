"""Settings of the optimizer and of the stages of a run."""

import math
from dataclasses import dataclass
from typing import Literal

from edgeskin.errors import SettingError
from train.config.ranges import require_range

Schedule = Literal["one_cycle", "cosine"]


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
        require_range(self, 1e-9, 10, "learning_rate", "head_learning_rate")
        require_range(self, 0, 1, "weight_decay", "warmup", "ema_decay")
        require_range(self, 0, math.inf, "gradient_clip")
        require_range(self, 1, math.inf, "ema_every")
