"""The folder of a run: its record, its checkpoints and the network that it selected."""

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from edgeskin.bundle.bundle import Bundle, open_bundle
from edgeskin.bundle.manifest import Normalization, RunRecord, WeightsSource
from edgeskin.bundle.plain_data import from_plain
from edgeskin.errors import SettingError
from edgeskin.results import to_plain
from train.config import TrainConfig, read_config
from train.data.split import split_sha256
from train.data.table import Sample
from train.models.backbones import IMAGENET, load_strictly
from train.models.lesion_net import LesionNet

WEIGHTS = "weights.safetensors"
RECORD = "run.json"
SELECTED = "checkpoints/best.ckpt"
LATEST = "checkpoints/last.ckpt"
_SCORE_PREFIX = "val_"


def recorded_normalization(record: RunRecord | None) -> Normalization:
    """The image normalization that a network was trained with; ImageNet's where none was recorded."""
    return (record.normalization if record else None) or IMAGENET


def new_record(
    config: TrainConfig,
    samples: Sequence[Sample],
    train: Sequence[Sample],
    weights: str,
    soft_labels: Path | None = None,
    teacher: Path | None = None,
) -> RunRecord:
    """The record of a run that is about to start.

    Args:
        config: Its settings.
        samples: The whole table, with its split.
        train: The training images, without the fold left out.
        weights: As `train.fit.trainer.fit` takes them.
        soft_labels: The file of soft labels, if any.
        teacher: The folder of the teacher's bundle, if any.

    Raises:
        SettingError: ``weights`` names neither a file nor a folder.
        BundleError: A bundle cannot be read.
    """
    return RunRecord(
        config=json.loads(json.dumps(dataclasses.asdict(config))),
        split_sha256=split_sha256(samples),
        initial_weights=_source_of_weights(weights),
        images={"train": len(train), "val": sum(sample.split == "val" for sample in samples)},
        learned_sha256=split_sha256(train),
        soft_labels_sha256=_sha256(soft_labels) if soft_labels else None,
        teacher=source_of_bundle(open_bundle(teacher)) if teacher else None,
        machine={"python": platform.python_version(), "processor": platform.machine()},
        versions={
            name: importlib.metadata.version(name) for name in ("torch", "torchvision", "timm", "lightning")
        },
    )


def source_of_bundle(bundle: Bundle) -> WeightsSource:
    """A bundle as a source of weights."""
    return WeightsSource(f"{bundle.manifest.name} {bundle.manifest.version}", bundle.sha256, "bundle")


def write_record(record: RunRecord, out: Path) -> None:
    """Write a run's record into its folder, atomically, since a run may be killed at any moment."""
    unfinished = out / f"{RECORD}.part"
    unfinished.write_text(json.dumps(to_plain(record), indent=2) + "\n", encoding="utf-8")
    unfinished.replace(out / RECORD)


def read_record(run: Path) -> RunRecord:
    """The record of a run.

    Raises:
        SettingError: The folder holds no run, or its record is malformed.
    """
    path = run / RECORD
    if not path.is_file():
        raise SettingError(f"{path}: not found; give a folder that `python -m train fit --out` wrote")
    try:
        return from_plain(RunRecord, _with_scores(json.loads(path.read_text(encoding="utf-8"))))
    except (ValueError, SettingError) as error:
        raise SettingError(f"{path}: not the record of a run: {error}") from error


def resumed_record(out: Path, record: RunRecord) -> RunRecord:
    """The record that a run was started with, which must agree with that of the run that resumes it.

    Args:
        out: The folder of the run.
        record: What `new_record` makes of the present settings.

    Raises:
        SettingError: The settings, the split, the soft labels or the teacher differ.
    """
    started = read_record(out)
    # Settings that a run of an earlier version lacks had their defaults.
    before, now = read_config(started.config), read_config(record.config)
    differing = [
        one.name for one in dataclasses.fields(now) if getattr(before, one.name) != getattr(now, one.name)
    ]
    if started.split_sha256 != record.split_sha256:
        differing.append("the images or their split")
    if started.soft_labels_sha256 != record.soft_labels_sha256:
        differing.append("the soft labels")
    if started.teacher != record.teacher:
        differing.append("the teacher")
    if differing:
        raise SettingError(
            f"{out}: started with other settings ({', '.join(differing)}); resume with the same --config and "
            "--data, or start another run"
        )
    return started


def export_selected(out: Path, record: RunRecord, scores: Mapping[str, float]) -> None:
    """Write the selected network as safetensors, and its epoch and scores into the record."""
    checkpoint = torch.load(out / SELECTED, map_location="cpu", weights_only=True)
    state = {
        name.removeprefix("net."): value.contiguous()
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("net.")
    }
    save_file(state, out / WEIGHTS)
    write_record(dataclasses.replace(record, epoch=checkpoint["epoch"], scores=scores), out)


def load_run(run: Path) -> tuple[LesionNet, TrainConfig]:
    """The trained network of a run, in evaluation mode, and its settings.

    Raises:
        SettingError: The folder holds no finished run.
    """
    record = read_record(run)
    config = read_config(record.config, f"{run / RECORD}: config")
    net = LesionNet(config.model, len(config.classes), normalization=recorded_normalization(record))
    load_strictly(net, run / WEIGHTS)
    return net.eval(), config


def _source_of_weights(weights: str) -> WeightsSource:
    if weights in ("hub", "none"):
        return WeightsSource(weights)
    path = Path(weights)
    if path.is_dir():
        return source_of_bundle(open_bundle(path))
    if not path.is_file():
        raise SettingError(f"{path}: no such file; give weights (.safetensors), a bundle, 'hub' or 'none'")
    return WeightsSource(path.name, _sha256(path))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _with_scores(values: Any) -> Any:
    """A record as 0.11.0 wrote it, with scores at its top level, as it is read now."""
    if not isinstance(values, dict) or "scores" in values:
        return values
    scores = {name: value for name, value in values.items() if name.startswith(_SCORE_PREFIX)}
    return {name: value for name, value in values.items() if name not in scores} | {"scores": scores}
