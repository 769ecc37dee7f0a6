"""The network: a timm backbone and the head that the runtime can sample and explain without torch."""

import difflib
import pickle
from collections.abc import Iterable
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgeskin.errors import SettingError
from train.config import ModelConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class LesionNet(nn.Module):
    """Backbone -> global pool -> Dropout, Linear, SiLU, BatchNorm, Dropout, Linear.

    Raises SettingError for a backbone that timm does not know or that gives no feature map.
    """

    def __init__(self, config: ModelConfig, n_classes: int, pretrained: bool = False) -> None:
        super().__init__()
        self.backbone = _backbone(config, pretrained)
        first, second = config.dropout
        self.head = nn.Sequential(
            nn.Dropout(first),
            nn.Linear(self.backbone.num_features, config.hidden),
            nn.SiLU(),
            nn.BatchNorm1d(config.hidden),
            nn.Dropout(second),
            nn.Linear(config.hidden, n_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """images: (n, 3, s, s), ImageNet-normalised. Returns logits (n, C)."""
        return self.outputs(images)[0]

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """logits (n, C), features (n, F) after pooling, fmap (n, F, h, w) before it."""
        fmap = self.backbone.forward_features(images)
        features = self.backbone.forward_head(fmap, pre_logits=True)
        return self.head(features), features, fmap

    def stages(self) -> list[nn.Module]:
        """The backbone's parts from input to output, for progressive unfreezing."""
        parts: list[nn.Module] = []
        for name, child in self.backbone.named_children():
            is_stack = isinstance(child, nn.Sequential) and name in ("blocks", "stages", "layers", "features")
            parts.extend(child if is_stack else [child])
        return [part for part in parts if any(True for _ in part.parameters())]

    def unfreeze(self, last: int) -> None:
        """Let the last so many stages of the backbone learn (-1: all). The rest stand still,
        BatchNorm statistics included; the head always learns."""
        stages = self.stages()
        still = len(stages) - (len(stages) if last < 0 else min(last, len(stages)))
        for position, stage in enumerate(stages):
            stage.requires_grad_(position >= still)
            stage.train(self.training and position >= still)

    def load_backbone(self, path: Path) -> None:
        """Load ImageNet weights from safetensors, strictly; half precision becomes float32."""
        load_strictly(self.backbone, path)


class ServedNet(nn.Module):
    """The network as it is served: uint8 NHWC RGB in, normalised inside, three outputs."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: LesionNet) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD)[:, None, None])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """image: uint8 (n, s, s, 3). Returns logits (n, C), features (n, F), fmap (n, F, h, w)."""
        return self.net.outputs((image.permute(0, 3, 1, 2).float() - self.mean) / self.std)


def load_strictly(module: nn.Module, path: Path) -> None:
    """Load safetensors into a module, every key and shape matching.

    Raises SettingError naming the file and what is missing, left over or of another shape.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise SettingError(f"{path}: cannot be read as safetensors weights: {error}") from error
    try:
        module.load_state_dict({name: _as_trained(value) for name, value in state.items()})
    except RuntimeError as error:
        raise SettingError(f"{path}: the weights do not fit this network: {error}") from error


def rename_weights(state_dict: Path, backbone: str, out: Path) -> None:
    """Write a PyTorch state dict of the same network under timm's names, for `LesionNet.load_backbone`.

    Tensors are matched by their order; a classifier's two, last, are left out. Raises SettingError when the
    file cannot be read, or its tensors are not the backbone's in number and shape.
    """
    try:
        state = torch.load(state_dict, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise SettingError(f"{state_dict}: cannot be read as a PyTorch state dict: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise SettingError(f"{state_dict}: no state dict of tensors; save the network's `state_dict()`")
    names = _backbone(ModelConfig(backbone), pretrained=False).state_dict()
    values = list(state.values())[: len(names)]
    if len(state) not in (len(names), len(names) + 2) or any(
        value.shape != ours.shape for value, ours in zip(values, names.values(), strict=True)
    ):
        raise SettingError(f"{state_dict}: its {len(state)} tensors are not {backbone}'s {len(names)}")
    save_file({name: value.contiguous() for name, value in zip(names, values, strict=True)}, out)


def _as_trained(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _backbone(config: ModelConfig, pretrained: bool) -> nn.Module:
    name = config.backbone
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise SettingError(f"timm knows no backbone {name!r}; near it: {', '.join(near) or 'nothing'}")
    depth = {"drop_path_rate": config.drop_path} if config.drop_path else {}
    try:
        backbone = timm.create_model(name, pretrained=pretrained, num_classes=0, **depth)
    except TypeError as error:  # the backbone knows no such setting
        raise SettingError(f"backbone {name!r} with drop_path {config.drop_path}: {error}") from error
    with torch.no_grad():
        fmap = backbone.eval().forward_features(torch.zeros(1, 3, *backbone.pretrained_cfg["input_size"][1:]))
    if fmap.ndim != 4 or fmap.shape[1] != backbone.num_features:
        raise SettingError(
            f"backbone {name!r} gives {tuple(fmap.shape)}, not a feature map (n, c, h, w) that the runtime "
            "can explain; choose a convolutional one, such as efficientnet_b3 or convnext_tiny"
        )
    return backbone.train()


class _Float32Conv(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float()).to(input.dtype)


def keep_slow_convolutions_in_float32(modules: Iterable[nn.Module]) -> None:
    """Leave depthwise convolutions of 5x5 or of stride 2 out of bf16 autocast on a CPU.

    oneDNN's bf16 backward pass is slower than float32 on just these: without it a training step of
    EfficientNet-B3 is 1.2 to 1.3 times as fast (``python -m benchmarks.speed.training_step``, AMX CPU, torch
    2.15). Changes the class in place, so that the weights' names stay.
    """
    for module in modules:
        slow = isinstance(module, nn.Conv2d) and (module.kernel_size[0] >= 5 or module.stride[0] > 1)
        if slow and type(module) is nn.Conv2d and module.groups > 1:
            module.__class__ = _Float32Conv
