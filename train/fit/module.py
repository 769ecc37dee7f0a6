"""The LightningModule: the network with its loss, its schedule and its validation metrics."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, SequentialLR
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryRecall,
    BinarySpecificityAtSensitivity,
    MulticlassF1Score,
    MulticlassRecall,
)

from edgeskin.errors import SettingError
from train.config import OptimizerConfig, TrainConfig
from train.input.augment import mixup
from train.input.dihedral import any_view, dihedral_transform
from train.losses import build_loss
from train.losses.consistency import consistency
from train.losses.distillation import distillation
from train.models.lesion_net import LesionNet


class LesionTraining(pl.LightningModule):
    """The network, its loss, its schedule and its validation metrics.

    Args:
        config: The settings of the run.
        counts: Training images of each class in an epoch (C,).
        net: The network to train.
        teacher: A network to distil from, which sees each batch as the student does.
    """

    is_cancer: Tensor

    def __init__(
        self, config: TrainConfig, counts: list[int], net: LesionNet, teacher: LesionNet | None = None
    ) -> None:
        """Build the loss and the metrics."""
        super().__init__()
        self.config, self.net = config, net
        # A tuple keeps the teacher out of the module: not trained, not averaged, not in the checkpoints.
        self._teacher = () if teacher is None else (teacher.eval(),)
        self.loss = build_loss(config, counts)
        is_cancer = torch.tensor([name in config.cancer for name in config.classes])
        self.register_buffer("is_cancer", is_cancer, persistent=False)
        self.by_class = MetricCollection(
            {
                "macro_f1": MulticlassF1Score(len(config.classes), average="macro"),
                "balanced_accuracy": MulticlassRecall(len(config.classes), average="macro"),
            }
        )
        self.by_cancer = MetricCollection(
            {
                "cancer_auroc": BinaryAUROC(),
                "cancer_recall": BinaryRecall(config.selection_threshold),
                "specificity_at_95": BinarySpecificityAtSensitivity(0.95),
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, C), float32, of images (n, 3, s, s) with pixels of 0 to 255."""
        return logits_of(self.net, images)

    def on_fit_start(self) -> None:
        """Move the teacher to the device of the student."""
        for teacher in self._teacher:
            teacher.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Seed the epoch and unfreeze the stages of its part of the schedule."""
        # A resumed epoch has to draw the augmentation and dropout that it would have drawn.
        torch.manual_seed(self.config.seed_of(self.current_epoch, self.global_rank))
        self.net.unfreeze(self.config.stage_of(self.current_epoch).unfrozen)

    def training_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
        """The loss of a batch.

        Args:
            batch: Images uint8 (n, 3, s, s), class indices (n,), and the teachers' logits (n, C) if the run
                has a file of soft labels.

        Raises:
            SettingError: The loss is not finite.
        """
        images, targets, *soft = batch
        partners, share = (targets, *soft), 1.0
        if self.config.augment.mixup:
            images, share = mixup(images, self.config.augment.mixup)
            partners = tuple(labels.flip(0) for labels in partners)
        for teacher in self._teacher:
            with torch.no_grad():
                soft = [logits_of(teacher, images)]
            partners = (partners[0], *soft)
        settings = self.config.consistency
        # In one pass with the others, so that batch normalization sees one batch.
        extra = round(settings.share * len(images)) if settings.weight else 0
        seen = torch.cat([images, dihedral_transform(images[:extra], any_view())]) if extra else images
        logits, of_transformed = self(seen).split([len(images), extra])
        loss = self.combined_loss(logits, targets, *soft)
        if share < 1:
            loss = share * loss + (1 - share) * self.combined_loss(logits, *partners)
        if extra:
            loss = loss + settings.weight * consistency(logits[:extra], of_transformed)
        if not torch.isfinite(loss):
            raise SettingError(
                f"the loss is {loss.item()} at step {self.global_step}; lower the learning rate, or resume "
                "from the last checkpoint with another seed"
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(targets))
        return loss

    def combined_loss(self, logits: Tensor, targets: Tensor, soft: Tensor | None = None) -> Tensor:
        """The loss of logits (n, C), and the distillation's share if there are teachers' logits (n, C)."""
        hard: Tensor = self.loss(logits, targets)
        if soft is None:
            return hard
        settings = self.config.distillation
        return hard.lerp(distillation(logits, soft, settings.temperature), settings.weight)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Update the metrics with images uint8 (n, 3, s, s) and class indices (n,)."""
        images, targets = batch
        logits = self(images)
        p_cancer = logits.softmax(dim=1)[:, self.is_cancer].sum(dim=1)
        self.log("val_loss", self.loss(logits, targets), batch_size=len(targets), sync_dist=True)
        self.by_class.update(logits, targets)
        self.by_cancer.update(p_cancer, self.is_cancer[targets].int())

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the epoch."""
        values = self.by_cancer.compute()
        specificity, _ = values.pop("specificity_at_95")
        values |= self.by_class.compute() | {"specificity_at_95": specificity}
        # Macro-F1 alone would accept missed cancers, and recall alone an alarm for everyone.
        values["composite"] = 0.35 * values["macro_f1"] + 0.65 * values["cancer_recall"]
        for name, value in values.items():
            self.log(f"val_{name}", value, prog_bar=name == self.config.selection)
        self.by_class.reset()
        self.by_cancer.reset()

    def configure_optimizers(self) -> Any:
        """AdamW with a rate for the backbone and one for the head, and the schedule by step."""
        options = self.config.optimizer
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for part, rate in (
            (self.net.backbone, options.learning_rate),
            (self.net.head, options.head_learning_rate),
        ):
            for parameter in part.parameters():
                decay = options.weight_decay if parameter.ndim > 1 else 0.0
                groups.setdefault((rate, decay), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {"params": members, "lr": rate, "weight_decay": decay}
                for (rate, decay), members in groups.items()
            ]
        )
        schedule = _schedule(optimizer, options, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def logits_of(net: LesionNet, images: Tensor) -> Tensor:
    """Logits (n, C), float32, of images (n, 3, s, s) with pixels of 0 to 255."""
    logits: Tensor = net(net.normalize(images).to(memory_format=torch.channels_last))
    return logits.float()


def _schedule(optimizer: torch.optim.Optimizer, options: OptimizerConfig, steps: int) -> LRScheduler:
    """The schedule of the learning rates over all steps of the run."""
    if options.schedule == "one_cycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, rates, total_steps=steps, pct_start=options.warmup, final_div_factor=100)
    warm = max(1, round(steps * options.warmup))
    return SequentialLR(
        optimizer,
        [
            LinearLR(optimizer, 0.01, total_iters=warm),
            CosineAnnealingLR(optimizer, max(1, steps - warm)),
        ],
        milestones=[warm],
    )
