"""torch's cross-entropy with label smoothing and class weights, and the class weights of every loss."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train.config import CrossEntropyConfig


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """`torch.nn.CrossEntropyLoss`: the mean over the images, weighted where there are class weights.

    Args:
        config: Label smoothing, and whether to use class weights.
        counts: Training images of each class in an epoch (C,), for the class weights.
    """

    def __init__(self, config: CrossEntropyConfig, counts: Sequence[int]) -> None:
        """Build torch's loss from the settings."""
        weight = class_weights(counts) if config.class_weights else None
        super().__init__(weight, label_smoothing=config.label_smoothing)


def class_weights(counts: Sequence[int]) -> Tensor:
    """Weights that favour rare classes: 1 / sqrt(n_c + 1), divided by its mean over the classes.

    Args:
        counts: Training images n_c of each class in an epoch (C,).

    Returns:
        float32 (C,), of mean 1.
    """
    weights = (torch.tensor(counts, dtype=torch.float64) + 1).rsqrt()
    return (weights / weights.mean()).float()
