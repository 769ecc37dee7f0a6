"""The training run: Lightning drives it on one GPU, several or the CPU; this names what is ours."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryRecall,
    BinarySpecificityAtSensitivity,
    MulticlassF1Score,
    MulticlassRecall,
)

from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError
from train.config import TrainConfig
from train.data.split import left_out, split_sha256
from train.data.table import Sample, require_every_class, select
from train.distill.soft_labels import read as read_soft_labels
from train.fit.run import LATEST, WEIGHTS, export, record_of, same_run, write_record
from train.input.augment import mixed
from train.input.dataset import LesionData
from train.losses.max_recall import MaxRecallLoss, distillation
from train.models.from_bundle import STATISTICS_IMAGES, load_bundle, unpacked
from train.models.lesion_net import IMAGENET_MEAN, IMAGENET_STD, LesionNet, keep_slow_convolutions_in_float32


class LesionTraining(pl.LightningModule):
    """The network, its loss, its schedule and its validation metrics."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, config: TrainConfig, counts: list[int], net: LesionNet, teacher: LesionNet | None = None
    ) -> None:
        super().__init__()
        self.config, self.net = config, net
        # In a tuple it is no part of the module: neither trained, nor averaged, nor in the checkpoints.
        self._teacher = () if teacher is None else (teacher.eval(),)
        self.loss = MaxRecallLoss(config.loss, config.classes, config.cancer, config.melanoma, counts)
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
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
        """images: (n, 3, s, s), 0 to 255. Returns logits (n, C)."""
        logits: Tensor = self.net(self._normalized(images))
        return logits.float()

    def _normalized(self, images: Tensor) -> Tensor:
        return ((images - self.mean) / self.std).to(memory_format=torch.channels_last)

    def on_fit_start(self) -> None:
        for teacher in self._teacher:
            teacher.to(self.device)

    def on_train_epoch_start(self) -> None:
        # A resumed epoch has to draw the augmentation and dropout that it would have drawn.
        torch.manual_seed(self.config.seed_of(self.current_epoch, self.global_rank))
        self.net.unfreeze(self.config.stage_of(self.current_epoch).unfrozen)

    def training_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
        images, targets, *soft = batch
        partners, share = (targets, *soft), 1.0
        if self.config.augment.mixup:
            images, share = mixed(images, self.config.augment.mixup)
            partners = tuple(labels.flip(0) for labels in partners)
        for teacher in self._teacher:  # sees what the student sees, mixed as it is
            with torch.no_grad():
                soft = [teacher(self._normalized(images)).float()]
            partners = (partners[0], *soft)
        logits = self(images)
        loss: Tensor = self._loss(logits, targets, *soft)
        if share < 1:
            loss = share * loss + (1 - share) * self._loss(logits, *partners)
        if not torch.isfinite(loss):
            raise SettingError(
                f"the loss is {loss.item()} at step {self.global_step}; lower the learning rate, or resume "
                "from the last checkpoint with another seed"
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(targets))
        return loss

    def _loss(self, logits: Tensor, targets: Tensor, soft: Tensor | None = None) -> Tensor:
        hard: Tensor = self.loss(logits, targets)
        if soft is None:
            return hard
        settings = self.config.distillation
        return hard.lerp(distillation(logits, soft, settings.temperature), settings.weight)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, targets = batch
        logits = self(images)
        p_cancer = logits.softmax(dim=1)[:, self.loss.is_cancer].sum(dim=1)
        self.log("val_loss", self.loss(logits, targets), batch_size=len(targets), sync_dist=True)
        self.by_class.update(logits, targets)
        self.by_cancer.update(p_cancer, self.loss.is_cancer[targets].int())

    def on_validation_epoch_end(self) -> None:
        specificity, _ = (values := self.by_cancer.compute()).pop("specificity_at_95")
        values |= self.by_class.compute() | {"specificity_at_95": specificity}
        # Macro-F1 alone would accept missed cancers and recall alone an alarm for everyone.
        values["composite"] = 0.35 * values["macro_f1"] + 0.65 * values["cancer_recall"]
        for name, value in values.items():
            self.log(f"val_{name}", value, prog_bar=name == self.config.selection)
        self.by_class.reset()
        self.by_cancer.reset()

    def configure_optimizers(self) -> Any:
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
        steps = int(self.trainer.estimated_stepping_batches)
        rates = [group["lr"] for group in optimizer.param_groups]
        warmup = options.warmup
        schedule: torch.optim.lr_scheduler.LRScheduler
        if options.schedule == "one_cycle":
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, rates, total_steps=steps, pct_start=warmup, final_div_factor=100
            )
        else:
            warm = max(1, round(steps * warmup))
            schedule = torch.optim.lr_scheduler.SequentialLR(
                optimizer,
                [
                    torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=warm),
                    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warm)),
                ],
                milestones=[warm],
            )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Curves(Callback):
    """Draws curves.png from the CSV logs after each epoch."""

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.is_global_zero and isinstance(trainer.logger, CSVLogger):
            trainer.logger.save()
            draw_curves(Path(trainer.logger.root_dir), Path(trainer.default_root_dir) / "curves.png")


def draw_curves(log: Path, figure: Path) -> None:
    """One panel a metric over the epochs, from the CSV logs: ``version_0/``, and one more for each resume."""
    import csv

    from matplotlib.figure import Figure

    curves: dict[str, dict[int, float]] = {}
    for table in sorted(log.glob("version_*/metrics.csv"), key=lambda table: int(table.parent.name[8:])):
        with table.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if name.startswith(("train_", "val_")) and value:
                        curves.setdefault(name, {})[int(row["epoch"]) + 1] = float(value)
    if not curves:
        return
    columns = (len(curves) + 1) // 2
    drawing = Figure(figsize=(4 * columns, 6), layout="constrained")
    for axis, (name, points) in zip(drawing.subplots(2, columns).flat, sorted(curves.items()), strict=False):
        axis.plot(list(points.keys()), list(points.values()), marker=".")
        axis.set(title=name, xlabel="epoch")
    drawing.savefig(figure)


def fit(
    samples: list[Sample],
    out: Path,
    config: TrainConfig,
    weights: str,
    resume: bool = False,
    devices: str = "auto",
    soft_labels: Path | None = None,
    teacher: Path | None = None,
) -> Path:
    """Train on the split ``train`` without the fold left out, select on ``val``, write the run into ``out``.

    weights: a safetensors file for the backbone, a bundle whose network to go on from, ``hub`` for timm's
    own, or ``none``. Where the settings give distillation a weight, one of soft_labels: of the training
    images, as `train.distill.teach` gives them; teacher: a bundle, whose network says what it sees in each batch as
    the student gets it, cropped, coloured and mixed (Beyer et al., "Knowledge distillation: a good teacher is
    patient and consistent", CVPR 2022).
    Returns ``out``, which then holds ``weights.safetensors`` (the selected, averaged network),
    ``run.json``, ``curves.png``, ``log/`` and ``checkpoints/`` (full state, for ``resume``).
    Raises SettingError when there is a run already, or nothing to resume, or a teacher with no weight.
    """
    taught = sum(source is not None for source in (soft_labels, teacher))
    if taught != (config.distillation.weight > 0):
        raise SettingError(
            f"distillation weight {config.distillation.weight} with soft labels {soft_labels} and teacher "
            f"{teacher}: a weight above 0 takes one of the two, a weight of 0 neither"
        )
    last = out / LATEST
    if not resume and last.is_file():
        raise SettingError(
            f"{out} holds a run already; add --resume to go on with it, or name another folder"
        )
    if not last.is_file() and (out / WEIGHTS).is_file():
        raise SettingError(
            f"{out} holds a network without checkpoints, as `unpack` writes it; name another folder, and "
            "--weights BUNDLE to go on from a bundle"
        )
    if resume and not last.is_file():
        raise SettingError(f"{last}: nothing to resume; leave --resume off to start the run")
    train, val = select(samples, "train"), select(samples, "val")
    left = left_out(train, config.folds)
    train = [sample for sample, out_of_it in zip(train, left, strict=True) if not out_of_it]
    require_every_class(train, config.classes)
    require_every_class(val, config.classes)
    soft = (
        read_soft_labels(soft_labels, train, config.classes, split_sha256(samples)) if soft_labels else None
    )
    record = record_of(config, samples, weights, soft_labels, teacher)
    record["images"] = {"train": len(train), "val": len(val)}
    record["learned_sha256"] = split_sha256(train)
    if resume:
        record = same_run(out, record)

    pl.seed_everything(config.seed, workers=True)
    data = LesionData(train, val, config, soft)
    if len(data.sampler) < config.batch_size:
        raise SettingError(
            f"{len(data.sampler)} training images an epoch make no batch of {config.batch_size}; "
            "lower batch_size or add images"
        )
    net = LesionNet(config.model, len(config.classes), pretrained=weights == "hub" and not resume)
    if weights not in ("hub", "none") and not resume:
        if Path(weights).is_dir():
            some = data.normalized_training_images(STATISTICS_IMAGES)
            load_bundle(net, open_bundle(weights), config.classes, some)
        else:
            net.load_backbone(Path(weights))
    net = net.to(memory_format=torch.channels_last)
    taught_by = None
    if teacher:
        some = data.normalized_training_images(STATISTICS_IMAGES)
        taught_by = unpacked(open_bundle(teacher), config.classes, some).to(memory_format=torch.channels_last)
    module = LesionTraining(config, data.sampler.counts(), net, taught_by)
    monitor = f"val_{config.selection}"
    selected, latest = (
        ModelCheckpoint(last.parent, name, monitor=by, mode="max", enable_version_counter=False)
        for name, by in (("best", monitor), ("last", None))
    )
    callbacks: list[Callback] = [
        EMAWeightAveraging(decay=config.optimizer.ema_decay, update_every_n_steps=config.optimizer.ema_every),
        selected,
        # Not save_last of the one above: that writes only when there is a new best, and loses epochs.
        latest,
        Curves(),
        RichProgressBar(leave=True),
    ]
    if config.patience:
        callbacks.append(EarlyStopping(monitor, patience=config.patience, mode="max"))
    trainer = pl.Trainer(
        default_root_dir=out,
        max_epochs=config.epochs,
        devices=devices,
        # Frozen stages are parameters that some steps do not use.
        strategy="ddp_find_unused_parameters_true" if _several(devices) else "auto",
        precision="bf16-mixed" if _has_bf16() else "32-true",
        gradient_clip_val=config.optimizer.gradient_clip,
        callbacks=callbacks,
        logger=CSVLogger(out, name="log"),
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
    )
    if trainer.precision == "bf16-mixed" and not torch.cuda.is_available():
        keep_slow_convolutions_in_float32(net.backbone.modules())
    if trainer.is_global_zero and not resume:
        out.mkdir(parents=True, exist_ok=True)
        write_record(record, out)
    trainer.fit(module, data, ckpt_path=last if resume else None)
    if trainer.is_global_zero:
        assert selected.best_model_score is not None
        export(out, record | {monitor: float(selected.best_model_score)})
    return out


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported()


def _several(devices: str) -> bool:
    return torch.cuda.device_count() > 1 if devices == "auto" else devices not in ("1", "auto")
