"""What test modules share: the example picture, drawn lesions and a micro-bundle of a few kilobytes."""

import hashlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgeskin.network.engine  # noqa: F401  (keeps OpenVINO's telemetry out of the tests)
from edgeskin.bundle.manifest import (
    FILES,
    OOD,
    ConfidenceRule,
    DecisionRules,
    FileRecord,
    LesionScores,
    Manifest,
    OperatingPoint,
    PredictionSets,
    TrainingRecord,
)
from edgeskin.decision.calibration import temperature_scaling
from edgeskin.imaging.preprocess import Preprocessing
from edgeskin.results import SensitivityBound, to_plain
from edgeskin.taxonomy import CANCER, ISIC_2019

# Networks of a few kilobytes gain nothing from torch's threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test, and no process that a test starts, reads the user's cache or settings.
os.environ["XDG_CACHE_HOME"] = os.devnull
# Where matplotlib keeps its list of fonts, which takes seconds to make.
os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir(), "edgeskin-tests-matplotlib")))
for variable in ("EDGESKIN_CACHE", "EDGESKIN_REQUIRE_SIGNATURE"):
    os.environ.pop(variable, None)

MICRO_SIZE = 64
MICRO_PRIORS = (0.1, 0.4, 0.05, 0.05, 0.2, 0.05, 0.1, 0.05)
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The labelled images, which are not part of the project; tests that need them skip without."""
    folder = Path(os.environ.get("EDGESKIN_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "index.csv").is_file():
        pytest.skip("the labelled images are not here; set EDGESKIN_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def lesion_jpg() -> Path:
    """The example picture of the repository."""
    return ROOT / "examples" / "lesion.jpg"


def run_cli(*arguments: str | Path | float, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own, as a user does."""
    command = [sys.executable, "-m", "edgeskin", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


def micro_network(seed: int, batch: int = -1, scale: float = 1.0) -> Any:
    """A network of the bundle's form, built in OpenVINO: one convolution, pooling, one linear layer.

    Args:
        seed: Of its weights.
        batch: Pictures it takes at once; -1 leaves it open.
        scale: Factor of the logits.
    """
    import openvino
    from openvino import opset13 as ops

    rng = np.random.default_rng(seed)
    image = ops.parameter([batch, MICRO_SIZE, MICRO_SIZE, 3], np.uint8, name="image")
    floats = ops.transpose(ops.convert(image, "f32"), np.array([0, 3, 1, 2]))
    scaled = ops.divide(floats, ops.constant(np.float32(255)))
    kernel = rng.normal(size=(16, 3, 8, 8)).astype(np.float32) / 4
    fmap = ops.relu(ops.convolution(scaled, kernel, [8, 8], [0, 0], [0, 0], [1, 1]))
    features = ops.reduce_mean(fmap, np.array([2, 3]))
    weights = rng.normal(size=(16, len(ISIC_2019))).astype(np.float32) * np.float32(scale)
    logits = ops.matmul(features, weights, False, False)
    results = []
    for name, output in (("logits", logits), ("features", features), ("fmap", fmap)):
        output.output(0).get_tensor().set_names({name})
        results.append(ops.result(output))
    return openvino.Model(results, [image], "micro")


def micro_head() -> dict[str, Any]:
    """A head as `quantize.pack.write_head` stores it, for the micro-network's features."""
    rng = np.random.default_rng(7)
    shapes = {
        "linear1_weight": (12, 16), "linear1_bias": 12, "norm_weight": 12, "norm_bias": 12, "norm_mean": 12,
        "linear2_weight": (len(ISIC_2019), 12), "linear2_bias": len(ISIC_2019),
    }  # fmt: skip
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return values | {
        "dropout": np.float32([0.3, 0.2]),
        "norm_var": np.ones(12, np.float32),
        "norm_eps": np.float32(0),
    }


def micro_statistics() -> dict[str, Any]:
    """OOD statistics as `quantize.fitting.ood.write_statistics` stores them, for the micro-network."""
    rng = np.random.default_rng(8)
    shapes = {"feature_mean": 16, "feature_basis": (16, 4), "picture_mean": 768, "picture_basis": (768, 5)}
    values = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    for name in ("feature_basis", "picture_basis"):
        values[name] = np.linalg.qr(values[name])[0]
    return values | {"alpha": np.float32(2), "center": np.float32([1, 2]), "spread": np.float32([1, 3])}


def write_micro_bundle(folder: Path) -> Path:
    """A complete bundle around two micro-networks; ``int8`` here is only a name."""
    import openvino

    folder.mkdir(parents=True)
    for seed, precision in enumerate(("fp32", "int8")):
        openvino.save_model(micro_network(seed), folder / f"{precision}.xml", compress_to_fp16=False)
    np.savez(folder / "head.npz", **micro_head())
    np.savez(folder / "ood.npz", **micro_statistics())
    write_manifest(folder)
    return folder


def write_manifest(folder: Path, **changes: object) -> None:
    """Write a manifest that fits the folder's files, but for the changes; ``ood=None`` leaves OOD out."""
    rules = DecisionRules(
        ISIC_2019,
        CANCER,
        temperature_scaling(1.5, len(ISIC_2019)),
        (
            OperatingPoint("screen", 0.3, 0.95, 0.96, 0.6, SensitivityBound(0.951, 0.95, 100, 1)),
            OperatingPoint("balanced", 0.6, 0.87, 0.88, 0.8),
        ),
        MICRO_PRIORS,
        LesionScores(tuple(np.arange(1, 101) / 101), (0.1, 0.2, 0.9), (0.970, 0.953, 0.938, 0.924, 0.910)),
        PredictionSets(0.9, (0.1,) * len(ISIC_2019), (20,) * len(ISIC_2019)),
        ConfidenceRule((0.25,) * 4, (0.5,), (0.01, 0.02), 0.3, 0.7),
        ood_threshold=1e3 if changes.get("ood", True) else None,
    )
    files = {
        name: FileRecord(
            hashlib.sha256((folder / name).read_bytes()).hexdigest(), (folder / name).stat().st_size
        )
        for name in (*FILES, *([OOD] if changes.get("ood", True) else []))
    }
    manifest = Manifest(
        name="micro", version="0", classes=ISIC_2019, cancer_classes=CANCER,
        preprocessing=Preprocessing(size=MICRO_SIZE), decision_rules={"fp32": rules, "int8": rules},
        ood={"score": "by hand"} if changes.get("ood", True) else None, validation={},
        training=TrainingRecord(), gate={}, versions={}, files=files,
    )  # fmt: skip
    values = to_plain(manifest) | changes
    (folder / "manifest.json").write_text(json.dumps(values), encoding="utf-8")


def change_rules(folder: Path, **changes: object) -> None:
    """Change the decision rules of both precisions in a bundle's manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for rules in manifest["decision_rules"].values():
        rules |= changes
    path.write_text(json.dumps(manifest), encoding="utf-8")


@pytest.fixture
def micro_bundle(tmp_path: Path) -> Path:
    """A micro-bundle that the test may damage."""
    return write_micro_bundle(tmp_path / "bundle")


@pytest.fixture(scope="session")
def shared_micro_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A micro-bundle to read only."""
    return write_micro_bundle(tmp_path_factory.mktemp("micro") / "bundle")


@pytest.fixture(scope="session")
def lesion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn lesions of 96 pixels, a folder a class: 4 to train, 2 to validate, 3 to test with."""
    draw_lesion = runpy.run_path(str(ROOT / "examples" / "draw_lesion.py"))["draw_lesion"]
    root = tmp_path_factory.mktemp("lesions")
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        for label in ISIC_2019:
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                picture = draw_lesion(label, rng, 96)
                assert cv2.imwrite(str(folder / f"{split}_{label}_{number}.png"), picture[..., ::-1])
    return root
