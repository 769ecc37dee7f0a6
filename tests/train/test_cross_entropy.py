"""Cross-entropy is torch's own, and replaces MaxRecall with all terms off."""

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from edgeskin.taxonomy import CANCER, ISIC_2019
from train.config import CrossEntropyConfig, MaxRecallConfig, load_config
from train.losses.cross_entropy import CrossEntropyLoss, class_weights
from train.losses.max_recall import MaxRecallLoss

COUNTS = (3100, 9000, 2300, 600, 1900, 170, 180, 440)
OFF_IN_0_11 = MaxRecallConfig(
    class_weights=False,
    temperature=1.0,
    cancer_smoothing=0.1,
    benign_smoothing=0.1,
    benign_to_cancer=0.571428571,
    cancer_miss_multiplier=1.0,
    melanoma_miss_multiplier=1.0,
    hard_weight=1.0,
    recall_weight=0.0,
)
"""The loss of the shipped bundles as 0.11.0 wrote it."""


@pytest.fixture
def logits() -> Tensor:
    return 3 * torch.randn(40, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def targets() -> Tensor:
    return torch.arange(40) % 8


def test_the_recipe_of_0_11_keeps_its_loss_under_its_new_name(logits: Tensor, targets: Tensor) -> None:
    """0.11.0 spread a smoothing e over the C - 1 other classes: e / 7 each, 4/7 of it over four cancers.

    torch spreads s over all C classes, so that s / C = e / (C - 1), or s = 0.1 * 8 / 7.
    """
    config = load_config(None).loss
    assert isinstance(config, CrossEntropyConfig)
    assert config.label_smoothing == pytest.approx(0.1 * 8 / 7, abs=1e-9)
    before = MaxRecallLoss(OFF_IN_0_11, ISIC_2019, CANCER, "MEL", COUNTS)
    now = CrossEntropyLoss(config, COUNTS)
    first, second = (logits.clone().requires_grad_() for _ in range(2))
    before(first, targets).backward()
    now(second, targets).backward()
    torch.testing.assert_close(now(logits, targets), before(logits, targets), rtol=0, atol=1e-6)
    torch.testing.assert_close(second.grad, first.grad, rtol=0, atol=1e-7)


def test_without_smoothing_it_is_torchs_cross_entropy(logits: Tensor, targets: Tensor) -> None:
    loss = CrossEntropyLoss(CrossEntropyConfig(), COUNTS)(logits, targets)
    torch.testing.assert_close(loss, functional.cross_entropy(logits, targets))


def test_class_weights_are_torchs(logits: Tensor, targets: Tensor) -> None:
    loss = CrossEntropyLoss(CrossEntropyConfig(class_weights=True), COUNTS)(logits.float(), targets)
    weights = class_weights(COUNTS)
    torch.testing.assert_close(loss, functional.cross_entropy(logits.float(), targets, weights))


def test_class_weights_by_hand() -> None:
    """Counts 3, 8, 15: 1/2, 1/3, 1/4, with a mean of 13/36."""
    weights = class_weights((3, 8, 15))
    np.testing.assert_allclose(weights, (18 / 13, 12 / 13, 9 / 13), rtol=1e-6)
    assert weights.mean().item() == pytest.approx(1)
