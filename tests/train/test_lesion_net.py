"""The network: shapes, normalization, freezing."""

import pytest
import torch
from torch import Tensor, nn

from train.config import ModelConfig
from train.models.backbones import IMAGENET, Normalization
from train.models.lesion_net import LesionNet, ServedNet

MICRO = ModelConfig(backbone="test_efficientnet", hidden=16)


@pytest.fixture
def net() -> LesionNet:
    torch.manual_seed(0)
    return LesionNet(MICRO, 8)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_resnet", "test_convnext"])
def test_shapes_of_the_three_outputs(backbone: str, images: Tensor) -> None:
    net = LesionNet(ModelConfig(backbone=backbone, hidden=16), 5).eval()
    with torch.inference_mode():
        logits, features, fmap = net.outputs(images)
        assert logits.shape == (4, 5)
        assert features.shape == (4, net.backbone.num_features)
        assert fmap.shape[:2] == features.shape
        assert torch.equal(net(images), logits)


def test_head_is_the_designed_one(net: LesionNet) -> None:
    kinds = [type(layer).__name__ for layer in net.head]
    assert kinds == ["Dropout", "Linear", "SiLU", "BatchNorm1d", "Dropout", "Linear"]


def test_stages_cover_every_weight_of_the_backbone_once(net: LesionNet) -> None:
    of_stages = [id(p) for stage in net.stages() for p in stage.parameters()]
    assert sorted(of_stages) == sorted(id(p) for p in net.backbone.parameters())


def statistics(modules: list[nn.Module]) -> list[Tensor]:
    """Running means and variances of all batch normalizations below some modules."""
    return [buffer.clone() for module in modules for buffer in module.buffers() if buffer.ndim]


@pytest.mark.parametrize("last", [0, 1, 3, 99, -1])
def test_frozen_stages_stand_still(net: LesionNet, images: Tensor, last: int) -> None:
    """One step in training mode: weights and statistics of frozen stages stay, all other ones change."""
    net.train()
    net.unfreeze(last)
    stages = net.stages()
    learning = len(stages) if last < 0 else min(last, len(stages))
    frozen, free = stages[: len(stages) - learning], stages[len(stages) - learning :]
    before_frozen, before_free = statistics(frozen), statistics([*free, net.head])
    weights = [p.clone() for stage in frozen for p in stage.parameters()]

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(images).square().sum().backward()
    optimizer.step()

    assert all(torch.equal(a, b) for a, b in zip(before_frozen, statistics(frozen), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(before_free, statistics([*free, net.head]), strict=True))
    after = [p for stage in frozen for p in stage.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(weights, after, strict=True))
    assert all(p.grad is not None for stage in [*free, net.head] for p in stage.parameters())


def test_thawing_after_freezing(net: LesionNet) -> None:
    net.train()
    net.unfreeze(0)
    net.unfreeze(-1)
    assert all(p.requires_grad for p in net.parameters())
    assert all(module.training for module in net.modules())


def test_unfreezing_keeps_evaluation_mode(net: LesionNet) -> None:
    net.eval()
    net.unfreeze(-1)
    assert not any(module.training for module in net.modules())


def test_images_are_normalized_as_the_backbone_expects(images: Tensor) -> None:
    """As timm records it: ImageNet's for one backbone, 0.5 for another; a run may need another one."""
    pixels = (255 * images.sigmoid()).round().to(torch.uint8)
    for backbone, expected in (
        ("test_efficientnet", IMAGENET),
        ("test_resnet", Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))),
    ):
        config = ModelConfig(backbone=backbone, hidden=16)
        net = LesionNet(config, 8)
        assert net.normalization == expected
        mean, std = (torch.tensor(part)[:, None, None] for part in (expected.mean, expected.std))
        torch.testing.assert_close(net.normalize(pixels), (pixels / 255 - mean) / std)
        torch.testing.assert_close(net.normalize(pixels.float()), net.normalize(pixels))
        assert LesionNet(config, 8, normalization=IMAGENET).normalization == IMAGENET
        assert not {"mean", "std"} & set(net.state_dict())


def test_the_served_network_normalizes_inside(net: LesionNet, images: Tensor) -> None:
    pixels = (255 * images.sigmoid()).round().to(torch.uint8)
    with torch.inference_mode():
        served = ServedNet(net).eval()(pixels.permute(0, 2, 3, 1))
        for ours, expected in zip(served, net.outputs(net.normalize(pixels)), strict=True):
            torch.testing.assert_close(ours, expected)
