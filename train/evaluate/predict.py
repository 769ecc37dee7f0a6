"""What a trained network says, be it a run in torch or a bundle as the runtime runs it."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torchvision.transforms.v2 import functional

from edgeskin.bundle.bundle import MANIFEST, OOD, Precision, open_bundle
from edgeskin.bundle.manifest import Calibration
from edgeskin.decision.ood import OodStatistics, read_statistics
from edgeskin.errors import PhotoError, SettingError
from edgeskin.imaging.dihedral import DIHEDRAL
from edgeskin.imaging.preprocess import Preprocessing, preprocess
from edgeskin.network.engine import Engine, instruction_set
from edgeskin.photo.decode import load_photo
from train.config import TrainConfig
from train.data.table import DataError, Sample
from train.evaluate.outputs import Outputs
from train.fit.run import RECORD, WEIGHTS, load_run
from train.input.dataset import LesionImages, batches
from train.models.lesion_net import IMAGENET_MEAN, IMAGENET_STD, LesionNet

_CONSOLE = Console(stderr=True)


@dataclass(frozen=True)
class Network:
    """A trained network in either form.

    sha256: of a run's weights file, or of a bundle's manifest, which holds the hashes of its files.
    calibration: of the bundle; None in a run.
    threshold: on P(cancer), of the bundle's screening point; None in a run, which has none yet.
    class_priors: of the bundle; empty in a run.
    seed, split_sha256: of the training split; the latter None when it was not recorded.
    infer: what it says of n samples; a bundle that has the statistics also how far they are from training.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    cancer: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration | None
    threshold: float | None
    class_priors: tuple[float, ...]
    seed: int
    split_sha256: str | None
    versions: Mapping[str, str]
    infer: Callable[[Sequence[Sample]], Outputs]


def open_network(folder: Path, precision: str | None = None) -> Network:
    """Open a bundle (``manifest.json``) or a run (``run.json``).

    precision: of a bundle, ``int8`` (default) or ``fp32``. Raises SettingError when the folder is neither
    or both, or when the precision does not fit, and BundleError for a bundle that cannot be trusted.
    """
    is_bundle, is_run = (folder / MANIFEST).is_file(), (folder / RECORD).is_file()
    if is_bundle == is_run:
        found = "both" if is_bundle else "neither"
        raise SettingError(f"{folder}: {found} of {MANIFEST} and {RECORD} in it; name one bundle or one run")
    if is_bundle:
        return _open_bundle(folder, precision or "int8")
    if precision is not None:
        raise SettingError(f"{folder}: a run has no precision to choose; leave --precision off")
    return _open_run(folder)


def predict(network: Network, samples: Sequence[Sample]) -> Outputs:
    """What a network says of samples, through the runtime's own decoding and preprocessing.

    Raises DataError listing every image that cannot be read, or whose logits are not finite.
    """
    try:
        outputs = network.infer(samples)
    except PhotoError as error:
        problems = _unreadable(samples, network.preprocessing.size)
        raise DataError("\n".join([f"{len(problems)} images cannot be read:", *problems])) from error
    broken = [
        s.image_id for s, row in zip(samples, outputs.logits, strict=True) if not np.isfinite(row).all()
    ]
    if broken:
        raise DataError(f"{network.name}: no finite logits for {len(broken)} images: {', '.join(broken)}")
    return outputs


def _open_bundle(folder: Path, precision: str) -> Network:
    if precision not in get_args(Precision):
        raise SettingError(f"precision {precision!r}: choose one of {', '.join(get_args(Precision))}")
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    variant = manifest.variants[precision]
    engine = Engine(bundle.ir(precision), views=manifest.preprocessing.views)
    statistics = read_statistics(bundle.read(OOD)) if manifest.ood else None
    return Network(
        name=f"bundle {manifest.name} {manifest.version} {precision}",
        sha256=bundle.sha256,
        classes=manifest.classes,
        cancer=manifest.cancer_classes,
        preprocessing=manifest.preprocessing,
        calibration=variant.calibration,
        threshold=variant.operating_points[0].threshold,
        class_priors=variant.class_priors,
        seed=manifest.training.get("seed", TrainConfig.seed),
        split_sha256=manifest.training.get("split_sha256"),
        versions=_versions("openvino") | {"instructions": instruction_set()},
        infer=lambda samples: _engine_outputs(engine, manifest.preprocessing, statistics, samples),
    )


def _open_run(folder: Path) -> Network:
    net, config = load_run(folder)
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return Network(
        name=f"run {folder.resolve().name} ({config.model.backbone})",
        sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        classes=config.classes,
        cancer=config.cancer,
        preprocessing=config.preprocessing,
        calibration=None,
        threshold=None,
        class_priors=(),
        seed=config.seed,
        split_sha256=record["split_sha256"],
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
    for sample in track(samples, "predicting", console=_CONSOLE, transient=True):
        image = preprocess(load_photo(sample.image, settings.size).image, settings)
        said = engine.infer(image)
        view_logits.append(said.view_logits)
        if statistics is not None:
            distances.append(statistics.of_image(said, image))
    return Outputs(np.stack(view_logits), ood=np.stack(distances).astype(np.float32) if distances else None)


@torch.inference_mode()
def _torch_outputs(net: LesionNet, config: TrainConfig, samples: Sequence[Sample]) -> Outputs:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = net.to(device).to(memory_format=torch.channels_last)
    images = LesionImages(samples, config.classes, config.preprocessing)
    loader = batches(images, config.batch_size, config.workers)
    parts = []
    for batch, _ in track(loader, "predicting", console=_CONSOLE, transient=True):
        normalised = functional.normalize(batch.to(device) / 255, IMAGENET_MEAN, IMAGENET_STD)
        views = [
            net(_turned(normalised, view).to(memory_format=torch.channels_last))
            for view in range(config.preprocessing.views)
        ]
        parts.append(torch.stack(views, dim=1).cpu().numpy())
    return Outputs(np.concatenate(parts))


def _turned(images: Tensor, view: int) -> Tensor:
    """As edgeskin.imaging.preprocess.turned, for (n, c, s, s)."""
    return torch.rot90(images.flip(-1) if view >= DIHEDRAL // 2 else images, view % 4, (-2, -1))


def _unreadable(samples: Sequence[Sample], input_size: int) -> list[str]:
    problems = []
    for sample in samples:
        try:
            load_photo(sample.image, input_size)
        except PhotoError as error:
            problems.append(str(error))
    return problems
