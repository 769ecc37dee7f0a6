"""Dihedral consistency against torch's divergence."""

import dataclasses

import pytest
import torch
import torch.nn.functional as functional

from train.config import ConsistencyConfig, TrainConfig
from train.fit import module as training
from train.fit.module import LesionTraining
from train.input.dihedral import dihedral_transform
from train.losses.consistency import consistency
from train.models.lesion_net import LesionNet


def test_it_is_half_the_sum_of_both_divergences_of_torch() -> None:
    one, other = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    log_p, log_q = one.log_softmax(1), other.log_softmax(1)
    both = sum(
        functional.kl_div(a, b, reduction="batchmean", log_target=True)
        for a, b in ((log_p, log_q), (log_q, log_p))
    )
    torch.testing.assert_close(consistency(one, other), both / 2)
    assert consistency(one, one + 3) == pytest.approx(0)  # logits are known up to a constant


def test_the_step_adds_the_term_of_its_share(
    micro_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(micro_config, consistency=ConsistencyConfig(weight=2.0, share=0.5))
    module = LesionTraining(settings, [10] * 8, LesionNet(settings.model, 8)).eval()
    monkeypatch.setattr(module, "log", lambda *args, **options: None)
    monkeypatch.setattr(training, "any_view", lambda: 3)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    targets = torch.tensor([0, 1, 2, 3])
    term = consistency(module(images[:2]), module(dihedral_transform(images[:2], 3)))
    expected = module.loss(module(images), targets) + 2 * term
    torch.testing.assert_close(module.training_step((images, targets), 0), expected)
    assert term > 0
