"""Predictions of a trained network: a run, in torch, or a bundle, as the runtime executes it."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

import cv2
import numpy as np
import torch
from rich.progress import track

from edgeskin.bundle.bundle import MANIFEST, open_bundle
from edgeskin.bundle.manifest import OOD, DecisionRules
from edgeskin.decision.ood import OodStatistics, read_statistics
from edgeskin.errors import PhotoError, SettingError
from edgeskin.imaging.preprocess import Preprocessing
from edgeskin.network.cpu import instruction_set
from edgeskin.network.engine import Engine
from edgeskin.results import Precision
from train.config import TrainConfig
from train.data.table import DataError, Sample
from train.evaluate.outputs import Outputs
from train.fit.run import RECORD, WEIGHTS, load_run, read_record
from train.input.dataset import LesionImages, batches
from train.input.dihedral import dihedral_transform
from train.input.photos import CONSOLE, each_prepared, require_readable
from train.models.lesion_net import LesionNet


@dataclass(frozen=True)
class Network:
    """A trained network in either form.

    Attributes:
        name: What reports call it.
        sha256: Of a run's weights file, or of a bundle's manifest, which holds the hashes of its files.
        classes: Codes of the classes, in the order of the logits.
        cancer: Those of them that are cancer.
        preprocessing: How photos are preprocessed.
        rules: A bundle's decision rules; None for a run, which has none yet.
        seed: Seed of the training split.
        split_sha256: Of the training split; None where it was not recorded.
        versions: Versions of what the network runs on.
        infer: Computes the outputs of n samples, with the distances from training where a bundle has the
            statistics for them.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    cancer: tuple[str, ...]
    preprocessing: Preprocessing
    rules: DecisionRules | None
    seed: int
    split_sha256: str | None
    versions: Mapping[str, str]
    infer: Callable[[Sequence[Sample]], Outputs]


def open_network(folder: Path, precision: str | None = None, views: int | None = None) -> Network:
    """Open a bundle (``manifest.json``) or a run (``run.json``).

    Args:
        folder: Its folder.
        precision: Of a bundle, ``int8`` (default) or ``fp32``.
        views: Of a run, 1 or 8 dihedral views to average; None for the run's own number.

    Raises:
        SettingError: The folder is neither or both, or the precision or the views do not fit it.
        BundleError: The bundle cannot be trusted.
    """
    is_bundle, is_run = (folder / MANIFEST).is_file(), (folder / RECORD).is_file()
    if is_bundle == is_run:
        found = "both" if is_bundle else "neither"
        raise SettingError(f"{folder}: {found} of {MANIFEST} and {RECORD} in it; name one bundle or one run")
    if is_bundle:
        if views is not None:
            raise SettingError(f"{folder}: a bundle has its own number of views; omit --views")
        return _open_bundle(folder, precision or "int8")
    if precision is not None:
        raise SettingError(f"{folder}: a run has no precision to choose; omit --precision")
    return _open_run(folder, views)


def predict(network: Network, samples: Sequence[Sample]) -> Outputs:
    """The outputs of a network for samples, with the runtime's own decoding and preprocessing.

    Raises:
        DataError: Images cannot be read, or their logits are not finite. The message names them.
    """
    try:
        outputs = network.infer(samples)
    except PhotoError:
        require_readable(samples)
        raise
    rows = np.flatnonzero(~np.isfinite(outputs.logits).all(axis=1))
    if rows.size:
        ids = ", ".join(samples[row].image_id for row in rows.tolist())
        raise DataError(f"{network.name}: no finite logits for {rows.size} images: {ids}", "not_finite")
    return outputs


def _open_bundle(folder: Path, precision: str) -> Network:
    if precision not in get_args(Precision):
        raise SettingError(f"precision {precision!r}: choose one of {', '.join(get_args(Precision))}")
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    rules = manifest.decision_rules[cast(Precision, precision)]
    engine = Engine(bundle.ir(cast(Precision, precision)), views=manifest.preprocessing.views)
    statistics = read_statistics(bundle.read(OOD)) if manifest.ood else None
    return Network(
        name=f"bundle {manifest.name} {manifest.version} {precision}",
        sha256=bundle.sha256,
        classes=manifest.classes,
        cancer=manifest.cancer_classes,
        preprocessing=manifest.preprocessing,
        rules=rules,
        seed=TrainConfig.seed if manifest.training.seed is None else manifest.training.seed,
        split_sha256=manifest.training.split_sha256,
        versions=_versions("openvino") | {"instructions": instruction_set()},
        infer=lambda samples: _engine_outputs(engine, manifest.preprocessing, statistics, samples),
    )


def _open_run(folder: Path, views: int | None) -> Network:
    net, config = load_run(folder)
    if views is not None:
        config = replace(config, preprocessing=replace(config.preprocessing, views=views))
    return Network(
        name=f"run {folder.resolve().name} ({config.model.backbone})",
        sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        classes=config.classes,
        cancer=config.cancer,
        preprocessing=config.preprocessing,
        rules=None,
        seed=config.seed,
        split_sha256=read_record(folder).split_sha256,
        versions=_versions("torch", "torchvision", "timm"),
        infer=lambda samples: _torch_outputs(net, config, samples),
    )


def _versions(*packages: str) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in (*packages, "numpy")} | {
        "opencv": cv2.__version__,
        "python": platform.python_version(),
        "processor": platform.machine(),
    }


def _engine_outputs(
    engine: Engine, settings: Preprocessing, statistics: OodStatistics | None, samples: Sequence[Sample]
) -> Outputs:
    view_logits, distances = [], []
    for image in each_prepared(samples, settings, "predicting"):
        outputs = engine.infer(image)
        view_logits.append(outputs.view_logits)
        if statistics is not None:
            distances.append(statistics.of_image(outputs, image))
    return Outputs(
        np.concatenate(view_logits), ood=np.stack(distances).astype(np.float32) if distances else None
    )


@torch.inference_mode()
def _torch_outputs(net: LesionNet, config: TrainConfig, samples: Sequence[Sample]) -> Outputs:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = net.to(device).to(memory_format=torch.channels_last)
    images = LesionImages(samples, config.classes, config.preprocessing)
    loader = batches(images, config.batch_size, config.workers)
    parts = []
    for batch, _ in track(loader, "predicting", console=CONSOLE, transient=True):
        normalized = net.normalize(batch.to(device))
        views = [
            net(dihedral_transform(normalized, view).to(memory_format=torch.channels_last))
            for view in range(config.preprocessing.views)
        ]
        parts.append(torch.stack(views, dim=1).cpu().numpy())
    return Outputs(np.concatenate(parts))
