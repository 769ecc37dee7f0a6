"""The training step: loss, distillation and mixup."""

import dataclasses

import pytest
import torch
import torch.nn.functional as functional

from train.config import AugmentConfig, DistillationConfig, TrainConfig
from train.fit import module as training
from train.fit.module import LesionTraining, logits_of
from train.losses.distillation import distillation
from train.models.lesion_net import LesionNet


def test_the_loss_is_the_weighted_mean_of_both(micro_config: TrainConfig) -> None:
    settings = dataclasses.replace(micro_config, distillation=DistillationConfig(0.3, 2.0))
    module = LesionTraining(settings, [10] * 8, LesionNet(settings.model, 8))
    logits, soft = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 3, 4, 5])
    hard = module.loss(logits, targets)
    p, q = (functional.softmax(values / 2, dim=1) for values in (soft, logits))
    relative_entropy = (p * (p.log() - q.log())).sum(dim=1).mean()
    expected = 0.7 * hard + 0.3 * 4 * relative_entropy
    torch.testing.assert_close(module.combined_loss(logits, targets, soft), expected)
    torch.testing.assert_close(module.combined_loss(logits, targets), hard)


def test_mixup_blends_the_teachers_of_both_images(
    micro_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the second image's share at 1, the loss is that of its own label and teachers."""
    settings = dataclasses.replace(
        micro_config, augment=AugmentConfig(mixup=0.2), distillation=DistillationConfig(0.5)
    )
    module = LesionTraining(settings, [10] * 8, LesionNet(settings.model, 8)).eval()
    monkeypatch.setattr(training, "mixup", lambda images, alpha: (images.flip(0).float(), 0.0))
    monkeypatch.setattr(module, "log", lambda *args, **options: None)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    targets, soft = torch.tensor([0, 1, 2, 3]), torch.randn(4, 8)
    expected = module.combined_loss(module(images.flip(0)), targets.flip(0), soft.flip(0))
    torch.testing.assert_close(module.training_step((images, targets, soft), 0), expected)


def test_a_teacher_sees_what_the_student_sees(
    micro_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mixed images; both labels' losses then share the teacher's logits of the mixture."""
    settings = dataclasses.replace(
        micro_config, augment=AugmentConfig(mixup=0.2), distillation=DistillationConfig(0.5)
    )
    net, teacher = (LesionNet(settings.model, 8) for _ in range(2))
    module = LesionTraining(settings, [10] * 8, net, teacher).eval()
    monkeypatch.setattr(training, "mixup", lambda images, alpha: (images.roll(1, 0).float(), 0.25))
    monkeypatch.setattr(module, "log", lambda *args, **options: None)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    targets = torch.tensor([0, 1, 2, 3])
    soft = logits_of(teacher.eval(), images.roll(1, 0))
    logits = module(images.roll(1, 0))
    hard = 0.25 * module.loss(logits, targets) + 0.75 * module.loss(logits, targets.flip(0))
    loss = module.training_step((images, targets), 0)
    torch.testing.assert_close(loss, 0.5 * hard + 0.5 * distillation(logits, soft, 2.0))
    assert not any("teacher" in name for name in module.state_dict())
    loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
