"""timm backbones: building one, its image normalization, and reading its weights from files."""

import difflib
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgeskin.bundle.manifest import Normalization
from edgeskin.errors import SettingError
from train.config import ModelConfig

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What edgeskin up to 0.11.0 used for every backbone."""


def build_backbone(config: ModelConfig, pretrained: bool) -> nn.Module:
    """A timm backbone without its classifier, in training mode.

    Args:
        config: Its name and stochastic depth.
        pretrained: Whether to download timm's own weights.

    Raises:
        SettingError: timm has no such backbone, it takes no stochastic depth, or it yields no feature map
            (n, c, h, w).
    """
    name = config.backbone
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise SettingError(f"timm has no backbone {name!r}; close names: {', '.join(near) or 'none'}")
    depth: dict[str, Any] = {"drop_path_rate": config.drop_path} if config.drop_path else {}
    try:
        backbone = timm.create_model(name, pretrained=pretrained, num_classes=0, **depth)
    except TypeError as error:  # the backbone has no such setting
        raise SettingError(f"backbone {name!r} with drop_path {config.drop_path}: {error}") from error
    with torch.no_grad():
        image = torch.zeros(1, 3, *_pretrained_config(backbone)["input_size"][1:])
        fmap: Tensor = cast(Any, backbone.eval()).forward_features(image)
    if fmap.ndim != 4 or fmap.shape[1] != backbone.num_features:
        raise SettingError(
            f"backbone {name!r} gives {tuple(fmap.shape)}, not a feature map (n, c, h, w) that the runtime "
            "can explain; choose a convolutional one, such as efficientnet_b3 or convnext_tiny"
        )
    return backbone.train()


def normalization_of(backbone: nn.Module) -> Normalization:
    """The normalization that a timm backbone's published weights were trained with."""
    published = _pretrained_config(backbone)
    return Normalization(tuple(published["mean"]), tuple(published["std"]))


def _pretrained_config(backbone: nn.Module) -> dict[str, Any]:
    return cast(dict[str, Any], backbone.pretrained_cfg)


def load_strictly(module: nn.Module, path: Path) -> None:
    """Load safetensors into a module; every key and shape must match. Half precision becomes float32.

    Raises:
        SettingError: The file cannot be read, or a key is missing, left over or of another shape. The message
            names the file and the key.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise SettingError(f"{path}: cannot be read as safetensors weights: {error}") from error
    floats = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    try:
        module.load_state_dict(floats)
    except RuntimeError as error:
        raise SettingError(f"{path}: the weights do not fit this network: {error}") from error


def convert_weights(state_dict: Path, backbone: str, out: Path) -> None:
    """Write a PyTorch state dict of the same network under timm's names, as safetensors.

    Tensors are matched by their order. The last two are dropped where they are a classifier's.

    Args:
        state_dict: The PyTorch file.
        backbone: timm's name of the network.
        out: The safetensors file to write, for ``fit --weights``.

    Raises:
        SettingError: The file cannot be read, or its tensors differ from the backbone's in number or shape.
    """
    try:
        state = torch.load(state_dict, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise SettingError(f"{state_dict}: cannot be read as a PyTorch state dict: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise SettingError(f"{state_dict}: not a state dict of tensors; save the network's `state_dict()`")
    expected = build_backbone(ModelConfig(backbone), pretrained=False).state_dict()
    values = list(state.values())[: len(expected)]
    if len(state) not in (len(expected), len(expected) + 2) or any(
        value.shape != own.shape for value, own in zip(values, expected.values(), strict=True)
    ):
        raise SettingError(
            f"{state_dict}: its {len(state)} tensors do not match the {len(expected)} of {backbone}"
        )
    save_file({name: value.contiguous() for name, value in zip(expected, values, strict=True)}, out)


class _Float32Conv(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float()).to(input.dtype)


def keep_slow_convolutions_in_float32(modules: Iterable[nn.Module]) -> None:
    """Leave depthwise convolutions of 5x5 or of stride 2 out of bf16 autocast on a CPU.

    oneDNN's bf16 backward pass is slower than float32 for exactly these (torch 2.15). Without them a training
    step of EfficientNet-B3 is 1.2 to 1.3 times as fast on a CPU with AMX (``python -m
    benchmarks.speed.training_step``). The class is changed in place, so that the names of the weights stay.
    """
    for module in modules:
        slow = isinstance(module, nn.Conv2d) and (module.kernel_size[0] >= 5 or module.stride[0] > 1)
        if slow and type(module) is nn.Conv2d and module.groups > 1:
            module.__class__ = _Float32Conv
