"""The losses, one a module, and `build_loss`, which makes the one that the settings name."""

from collections.abc import Sequence

from torch import nn

from edgeskin.errors import SettingError
from train.config import MaxRecallConfig, TrainConfig
from train.losses.cross_entropy import CrossEntropyLoss
from train.losses.max_recall import MaxRecallLoss


def build_loss(config: TrainConfig, counts: Sequence[int]) -> nn.Module:
    """The loss that ``config.loss`` names, a module of logits (n, C) and class indices (n,).

    Args:
        config: The settings of the run.
        counts: Training images of each class in an epoch (C,), for the class weights.

    Raises:
        SettingError: A class has no images, or MaxRecall has no cancer or no benign class.
    """
    empty = [name for name, count in zip(config.classes, counts, strict=True) if count < 1]
    if empty:
        raise SettingError(f"no training images of {empty}; add some or remove the class from the list")
    if isinstance(config.loss, MaxRecallConfig):
        return MaxRecallLoss(config.loss, config.classes, config.cancer, config.melanoma, counts)
    return CrossEntropyLoss(config.loss, counts)
