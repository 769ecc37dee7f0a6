"""A training run from the table to the selected network. Lightning drives it on GPUs or the CPU."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

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
from torch.cpu import _is_avx512_bf16_supported  # torch has no public name for it

from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import Normalization
from edgeskin.errors import SettingError
from train.config import TrainConfig
from train.data.split import left_out, split_sha256
from train.data.table import Sample, require_every_class, select
from train.distill import soft_labels as soft_label_files
from train.fit.curves import Curves
from train.fit.module import LesionTraining
from train.fit.run import (
    LATEST,
    WEIGHTS,
    export_selected,
    new_record,
    recorded_normalization,
    resumed_record,
    write_record,
)
from train.input.dataset import LesionData
from train.models.backbones import keep_slow_convolutions_in_float32, load_strictly
from train.models.from_bundle import (
    STATISTICS_IMAGES,
    load_bundle_weights,
    network_from_bundle,
    normalization_of_bundle,
)
from train.models.lesion_net import LesionNet


def fit(
    samples: Sequence[Sample],
    out: Path,
    config: TrainConfig,
    weights: str,
    resume: bool = False,
    devices: str = "auto",
    soft_labels: Path | None = None,
    teacher: Path | None = None,
) -> Path:
    """Train on the split ``train``, select an epoch on ``val``, and write the run.

    Args:
        samples: The table, with its split. The fold that the settings leave out is not trained on.
        out: Folder for the run.
        config: The settings.
        weights: What to start from: a safetensors file for the backbone, a bundle, ``hub`` for timm's own
            weights, or ``none``.
        resume: Continue the run in ``out`` from its last checkpoint.
        devices: Number of GPUs, or of processes on a CPU; ``auto`` takes all.
        soft_labels: Soft labels of the training images, as `train.distill.out_of_fold` writes them. They, or
            a teacher, are needed where the settings give distillation a weight.
        teacher: A bundle to distil from. It sees each batch as the student does: cropped, coloured and mixed
            (Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022).

    Returns:
        ``out``. It then holds ``weights.safetensors`` (the selected network, its weights averaged),
        ``run.json``, ``curves.png``, ``log/`` and ``checkpoints/`` (full state, for ``resume``).

    Raises:
        SettingError: There is a run already, or none to resume; the settings do not fit the data, the weights
            or the teacher; or the loss is not finite.
        DataError: A class has no images in ``train`` or ``val``.
    """
    _require_one_teacher(config, soft_labels, teacher)
    _require_folder(out, resume)
    train, val = _training_images(samples, config), select(samples, "val")
    require_every_class(train, config.classes)
    require_every_class(val, config.classes)
    split = split_sha256(samples)
    soft = soft_label_files.read(soft_labels, train, config.classes, split) if soft_labels else None
    record = new_record(config, samples, train, weights, soft_labels, teacher)
    if resume:
        record = resumed_record(out, record)

    pl.seed_everything(config.seed, workers=True)
    data = LesionData(train, val, config, soft)
    if len(data.sampler) < config.batch_size:
        raise SettingError(
            f"{len(data.sampler)} training images an epoch are fewer than a batch of {config.batch_size}; "
            "lower batch_size or add images"
        )
    if resume:
        net = LesionNet(config.model, len(config.classes), normalization=recorded_normalization(record))
    else:
        net = _initial_network(config, weights, data)
        record = dataclasses.replace(record, normalization=net.normalization)
    net = net.to(memory_format=torch.channels_last)
    module = LesionTraining(config, data.sampler.counts(), net, _teacher_network(config, teacher, data))
    trainer, selected = _trainer(out, config, devices)
    if trainer.precision == "bf16-mixed" and not torch.cuda.is_available():
        keep_slow_convolutions_in_float32(net.backbone.modules())
    if trainer.is_global_zero and not resume:
        out.mkdir(parents=True, exist_ok=True)
        write_record(record, out)
    trainer.fit(module, data, ckpt_path=out / LATEST if resume else None)
    if trainer.is_global_zero:
        assert selected.best_model_score is not None
        export_selected(out, record, {f"val_{config.selection}": float(selected.best_model_score)})
    return out


def _require_one_teacher(config: TrainConfig, soft_labels: Path | None, teacher: Path | None) -> None:
    teachers = sum(source is not None for source in (soft_labels, teacher))
    if teachers != (config.distillation.weight > 0):
        raise SettingError(
            f"distillation weight {config.distillation.weight} with soft labels {soft_labels} and teacher "
            f"{teacher}: a weight above 0 needs exactly one of them, a weight of 0 none"
        )


def _require_folder(out: Path, resume: bool) -> None:
    """Refuse a folder that holds a run already, or, to resume, none."""
    last = out / LATEST
    if not resume and last.is_file():
        raise SettingError(f"{out} holds a run already; add --resume to continue it, or name another folder")
    if not last.is_file() and (out / WEIGHTS).is_file():
        raise SettingError(
            f"{out} holds a network without checkpoints, as `from-bundle` writes it; name another folder, "
            "and start from a bundle with --weights BUNDLE"
        )
    if resume and not last.is_file():
        raise SettingError(f"{last}: nothing to resume; start the run without --resume")


def _training_images(samples: Sequence[Sample], config: TrainConfig) -> list[Sample]:
    """The split ``train`` without the fold left out."""
    train = select(samples, "train")
    excluded = left_out(train, config.folds)
    return [sample for sample, is_out in zip(train, excluded, strict=True) if not is_out]


def _initial_network(config: TrainConfig, weights: str, data: LesionData) -> LesionNet:
    """The network with the weights that training starts from."""
    normalization: Normalization | None = None
    bundle = open_bundle(weights) if Path(weights).is_dir() and weights not in ("hub", "none") else None
    if bundle is not None:
        normalization = normalization_of_bundle(bundle)
    net = LesionNet(config.model, len(config.classes), weights == "hub", normalization)
    if bundle is not None:
        load_bundle_weights(net, bundle, config.classes, data.training_images(STATISTICS_IMAGES))
    elif weights not in ("hub", "none"):
        load_strictly(net.backbone, Path(weights))
    return net


def _teacher_network(config: TrainConfig, teacher: Path | None, data: LesionData) -> LesionNet | None:
    if teacher is None:
        return None
    images = data.training_images(STATISTICS_IMAGES)
    net = network_from_bundle(open_bundle(teacher), config.classes, images)
    return net.to(memory_format=torch.channels_last)


def _trainer(out: Path, config: TrainConfig, devices: str) -> tuple[pl.Trainer, ModelCheckpoint]:
    """Lightning's trainer, and the callback that keeps the best epoch."""
    monitor, folder = f"val_{config.selection}", (out / LATEST).parent
    selected, latest = (
        ModelCheckpoint(folder, name, monitor=metric, mode="max", enable_version_counter=False)
        for name, metric in (("best", monitor), ("last", None))
    )
    averaging = EMAWeightAveraging(
        decay=config.optimizer.ema_decay, update_every_n_steps=config.optimizer.ema_every
    )
    # Two checkpoint callbacks: save_last of the first writes only with a new best, and would lose epochs.
    callbacks: list[Callback] = [averaging, selected, latest, Curves(), RichProgressBar(leave=True)]
    if config.patience:
        callbacks.append(EarlyStopping(monitor, patience=config.patience, mode="max"))
    trainer = pl.Trainer(
        default_root_dir=out,
        max_epochs=config.epochs,
        devices=devices,
        # Frozen stages are parameters that some steps do not use.
        strategy="ddp_find_unused_parameters_true" if _uses_several_devices(devices) else "auto",
        precision="bf16-mixed" if _has_bf16() else "32-true",
        gradient_clip_val=config.optimizer.gradient_clip,
        callbacks=callbacks,
        logger=CSVLogger(out, name="log"),
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
    )
    return trainer, selected


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(_is_avx512_bf16_supported())


def _uses_several_devices(devices: str) -> bool:
    return torch.cuda.device_count() > 1 if devices == "auto" else devices not in ("1", "auto")
