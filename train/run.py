"""What a run's folder holds: the record of how it was made, its checkpoints, the network it selected."""

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from edgeskin.bundle import Bundle, open_bundle
from edgeskin.errors import SettingError
from train.config import TrainConfig, from_dict
from train.data import Sample
from train.model import LesionNet, load_strictly
from train.split import split_sha256

WEIGHTS = "weights.safetensors"
RECORD = "run.json"
SELECTED = "checkpoints/best.ckpt"
LATEST = "checkpoints/last.ckpt"


def record_of(
    config: TrainConfig,
    samples: list[Sample],
    weights: str,
    soft_labels: Path | None = None,
    teacher: Path | None = None,
) -> dict[str, Any]:
    """What a run is and where it comes from; files by name and hash, so that no path is kept."""
    initial: dict[str, str] = {"source": weights}
    if weights not in ("hub", "none"):
        if Path(weights).is_dir():
            initial = told_of_bundle(open_bundle(weights))
        else:
            content = Path(weights).read_bytes() if Path(weights).is_file() else b""
            initial = {"source": Path(weights).name, "sha256": hashlib.sha256(content).hexdigest()}
    taught = hashlib.sha256(soft_labels.read_bytes()).hexdigest() if soft_labels else None
    return {
        "config": json.loads(json.dumps(dataclasses.asdict(config))),
        "split_sha256": split_sha256(samples),
        "initial_weights": initial,
        "soft_labels_sha256": taught,
        "teacher": told_of_bundle(open_bundle(teacher)) if teacher else None,
        "machine": {"python": platform.python_version(), "processor": platform.machine()},
        "versions": {
            name: importlib.metadata.version(name) for name in ("torch", "torchvision", "timm", "lightning")
        },
    }


def told_of_bundle(bundle: Bundle) -> dict[str, str]:
    """What a record keeps of a bundle."""
    name = f"{bundle.manifest.name} {bundle.manifest.version}"
    return {"source": name, "sha256": bundle.sha256, "kind": "bundle"}


def same_run(out: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The record that a run was started with. Raises SettingError where its settings or split were others."""
    started = json.loads((out / RECORD).read_text(encoding="utf-8"))
    # A run of an earlier version has not settings that came later: it has had their defaults.
    settings = json.loads(json.dumps(dataclasses.asdict(from_dict(TrainConfig, started["config"]))))
    differing = [name for name in sorted(record["config"]) if settings[name] != record["config"][name]]
    if started["split_sha256"] != record["split_sha256"]:
        differing.append("the images or their split")
    if started.get("soft_labels_sha256") != record["soft_labels_sha256"]:
        differing.append("the soft labels")
    if started.get("teacher") != record["teacher"]:
        differing.append("the teacher")
    if differing:
        raise SettingError(
            f"{out}: started with other settings ({', '.join(differing)}); resume with the same --config and "
            "--data, or start another run"
        )
    return dict(started)


def write_record(record: dict[str, Any], out: Path) -> None:
    """Write a run's record into its folder, whole or not at all: a run may be killed at any moment."""
    unfinished = out / f"{RECORD}.part"
    unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(out / RECORD)


def export(out: Path, record: dict[str, Any]) -> None:
    """Write the selected network as safetensors, and complete the run's record with its epoch."""
    checkpoint = torch.load(out / SELECTED, map_location="cpu", weights_only=True)
    state = {
        name.removeprefix("net."): value.contiguous()
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("net.")
    }
    save_file(state, out / WEIGHTS)
    write_record(record | {"epoch": checkpoint["epoch"]}, out)


def load_run(run: Path) -> tuple[LesionNet, TrainConfig]:
    """The trained network of a run, in evaluation mode, and its settings.

    Raises SettingError when the folder holds no finished run.
    """
    record = run / RECORD
    if not record.is_file():
        raise SettingError(f"{record}: not found; give the folder that `python -m train fit --out` wrote")
    config = from_dict(TrainConfig, json.loads(record.read_text(encoding="utf-8"))["config"])
    net = LesionNet(config.model, len(config.classes))
    load_strictly(net, run / WEIGHTS)
    return net.eval(), config
