"""Bundles are whole or absent, and the head without torch is the head."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import FILES, HEAD, DecisionRules, Manifest, OperatingPoint, TrainingRecord
from edgeskin.decision.calibration import temperature_scaling
from edgeskin.errors import BundleError
from edgeskin.imaging.preprocess import Preprocessing
from edgeskin.taxonomy import CANCER, ISIC_2019
from quantize.pack import pack, write_head
from train.config import ModelConfig
from train.models.lesion_net import LesionNet

POINTS = (OperatingPoint("screen", 0.1, 0.95, 0.96, 0.6), OperatingPoint("balanced", 0.3, 0.87, 0.9, 0.8))
MANIFEST = Manifest(
    name="micro",
    version="1",
    classes=ISIC_2019,
    cancer_classes=CANCER,
    preprocessing=Preprocessing(size=64),
    decision_rules={
        "fp32": DecisionRules(ISIC_2019, CANCER, temperature_scaling(1.5, 8), POINTS),
        "int8": DecisionRules(ISIC_2019, CANCER, temperature_scaling(1.4, 8), POINTS),
    },
    ood=None,
    validation={"cancer_auroc": {"value": 0.9}},
    training=TrainingRecord(seed=17),
    gate={"passed": True},
    versions={"python": "3"},
    files={},
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(name.encode() * 10)
    (folder / "network.onnx").write_bytes(b"not for the bundle")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_round_trip(source: Path, tmp_path: Path) -> None:
    bundle = pack(source, tmp_path / "bundle", MANIFEST, "# Gate\n")
    assert dataclasses.replace(bundle.manifest, files={}) == MANIFEST
    assert set(content(bundle.folder)) == {*FILES, "manifest.json", "gate.md"}
    assert bundle.read("int8.bin") == b"int8.bin" * 10
    assert (bundle.folder / "gate.md").read_text(encoding="utf-8") == "# Gate\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "source"]


@pytest.mark.hazard("H-19")
def test_packing_is_deterministic(source: Path, tmp_path: Path) -> None:
    one, other = (pack(source, tmp_path / name, MANIFEST, "") for name in ("one", "other"))
    assert content(one.folder) == content(other.folder)


def test_an_interrupted_pack_leaves_nothing(source: Path, tmp_path: Path) -> None:
    (source / HEAD).unlink()
    with pytest.raises(FileNotFoundError):
        pack(source, tmp_path / "bundle", MANIFEST, "")
    unusable = dataclasses.replace(MANIFEST, cancer_classes=("BENIGN",))
    (source / HEAD).write_bytes(b"head")
    with pytest.raises(BundleError):
        pack(source, tmp_path / "bundle", unusable, "")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_bundle_is_replaced_only_on_request(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    pack(source, out, MANIFEST, "")
    changed = dataclasses.replace(MANIFEST, version="2")
    with pytest.raises(BundleError, match="--replace"):
        pack(source, out, changed, "")
    assert open_bundle(out).manifest.version == "1"
    assert pack(source, out, changed, "", replace=True).manifest.version == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "source"]


def test_nothing_else_is_replaced(source: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(BundleError, match="thesis"):
        pack(source, tmp_path / "thesis", MANIFEST, "", replace=True)
    assert (tmp_path / "thesis" / "chapter1.tex").is_file()


def test_the_head_in_numpy_is_that_of_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = LesionNet(ModelConfig(backbone="test_efficientnet", hidden=16), 8)
    net.head(torch.randn(64, net.backbone.num_features))  # changes the statistics of BatchNorm
    write_head(net.eval(), tmp_path / "head.npz")
    write_head(net, tmp_path / "again.npz")
    assert (tmp_path / "head.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    head = np.load(tmp_path / "head.npz", allow_pickle=False)
    assert {head[name].dtype for name in head} == {np.dtype(np.float32)}
    features = np.random.default_rng(0).normal(size=(5, net.backbone.num_features)).astype(np.float32)
    hidden = features @ head["linear1_weight"].T + head["linear1_bias"]
    hidden = hidden / (1 + np.exp(-hidden))
    normed = (hidden - head["norm_mean"]) / np.sqrt(head["norm_var"] + head["norm_eps"])
    normed = normed * head["norm_weight"] + head["norm_bias"]
    logits = normed @ head["linear2_weight"].T + head["linear2_bias"]
    with torch.no_grad():
        np.testing.assert_allclose(logits, net.head(torch.tensor(features)), atol=1e-5)
    np.testing.assert_allclose(head["dropout"], [0.3, 0.2])
