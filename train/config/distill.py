"""Settings of folds, of learning from teachers, and of consistency."""

from dataclasses import dataclass

from edgeskin.errors import SettingError
from train.config.ranges import require_range


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
        require_range(self, 0, 1, "weight")
        require_range(self, 0.1, 100, "temperature")


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
        require_range(self, 0, 100, "weight")
        require_range(self, 0.01, 1, "share")
