"""The network: a timm backbone and a head that the runtime can sample and explain without torch."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from edgeskin.bundle.manifest import Normalization
from train.config import ModelConfig
from train.models.backbones import build_backbone, normalization_of


class LesionNet(nn.Module):
    """Backbone -> global pool -> Dropout, Linear, SiLU, BatchNorm, Dropout, Linear.

    Args:
        config: The network's settings.
        n_classes: Number of classes C.
        pretrained: Whether to download timm's weights of the backbone.
        normalization: Of the images; by default the one that the backbone's published weights expect.

    Raises:
        SettingError: timm has no such backbone, or it gives no feature map.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        config: ModelConfig,
        n_classes: int,
        pretrained: bool = False,
        normalization: Normalization | None = None,
    ) -> None:
        """Build the backbone and the head."""
        super().__init__()
        backbone: Any = build_backbone(config, pretrained)
        self.backbone = backbone
        self.normalization = normalization or normalization_of(backbone)
        for name, values in (("mean", self.normalization.mean), ("std", self.normalization.std)):
            self.register_buffer(name, 255 * torch.tensor(values)[:, None, None], persistent=False)
        first, second = config.dropout
        self.head = nn.Sequential(
            nn.Dropout(first),
            nn.Linear(backbone.num_features, config.hidden),
            nn.SiLU(),
            nn.BatchNorm1d(config.hidden),
            nn.Dropout(second),
            nn.Linear(config.hidden, n_classes),
        )

    def normalize(self, images: Tensor) -> Tensor:
        """The input of the network from pixels of 0 to 255, uint8 or float (n, 3, s, s)."""
        return (images - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, C) of normalized images (n, 3, s, s)."""
        return self.outputs(images)[0]

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Everything the runtime needs of normalized images (n, 3, s, s).

        Returns:
            Logits (n, C), features (n, F) after pooling, and the feature map (n, F, h, w) before it.
        """
        fmap = self.backbone.forward_features(images)
        features = self.backbone.forward_head(fmap, pre_logits=True)
        return self.head(features), features, fmap

    def stages(self) -> list[nn.Module]:
        """The backbone's parts that have weights, from input to output, for progressive unfreezing."""
        parts: list[nn.Module] = []
        for name, child in self.backbone.named_children():
            is_stack = isinstance(child, nn.Sequential) and name in ("blocks", "stages", "layers", "features")
            parts.extend(cast(nn.Sequential, child) if is_stack else [child])
        return [part for part in parts if next(part.parameters(), None) is not None]

    def unfreeze(self, last: int) -> None:
        """Train the last ``last`` stages of the backbone (-1: all) and the head, and freeze the rest.

        A frozen stage keeps its BatchNorm statistics too.
        """
        stages = self.stages()
        frozen = len(stages) - (len(stages) if last < 0 else min(last, len(stages)))
        for position, stage in enumerate(stages):
            stage.requires_grad_(position >= frozen)
            stage.train(self.training and position >= frozen)


class ServedNet(nn.Module):
    """The network as it is exported: uint8 NHWC RGB in, normalized inside, three outputs."""

    def __init__(self, net: LesionNet) -> None:
        """Wrap a network."""
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs of images, uint8 (n, s, s, 3).

        Returns:
            Logits (n, C), features (n, F), and the feature map (n, F, h, w).
        """
        return self.net.outputs(self.net.normalize(image.permute(0, 3, 1, 2).float()))
