"""Distillation against SciPy's relative entropy."""

import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from train.losses.distillation import distillation


def test_distillation_is_the_relative_entropy_of_scipy() -> None:
    generator = torch.Generator().manual_seed(4)
    logits, soft = (3 * torch.randn(6, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    ours = distillation(logits, soft, temperature=2.0)
    divergences = entropy(softmax(soft.numpy() / 2, axis=1), softmax(logits.numpy() / 2, axis=1), axis=1)
    assert ours.item() == pytest.approx(4 * divergences.mean(), rel=1e-9)
    assert distillation(soft, soft, temperature=3.0).item() == pytest.approx(0, abs=1e-12)
