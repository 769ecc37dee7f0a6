"""Bundles that are whole or not there, and the command from a run to a bundle."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edgeskin import Classifier
from edgeskin.bundle.bundle import FILES, HEAD, Manifest, open_bundle
from edgeskin.bundle.manifest import OperatingPoint, Variant, temperature_scaling
from edgeskin.errors import BundleError, SettingError
from edgeskin.imaging.preprocess import Preprocessing
from edgeskin.taxonomy import CANCER, ISIC_2019
from quantize import gate
from quantize import recipes as ladder
from quantize.build import GateError, build
from quantize.cli import app
from quantize.fitting.ood import SCORES
from quantize.pack import pack, write_head
from tests.train.test_evaluate import write_index
from train.config import ModelConfig
from train.data.split import split_sha256
from train.data.table import read_table
from train.evaluate.evaluation import evaluate
from train.models.lesion_net import LesionNet

POINTS = (OperatingPoint("screen", 0.1, 0.95, 0.96, 0.6), OperatingPoint("balanced", 0.3, 0.87, 0.9, 0.8))
MANIFEST = Manifest(
    name="micro",
    version="1",
    classes=ISIC_2019,
    cancer_classes=CANCER,
    preprocessing=Preprocessing(size=64),
    variants={
        "fp32": Variant(temperature_scaling(1.5, 8), POINTS),
        "int8": Variant(temperature_scaling(1.4, 8), POINTS),
    },
    ood=None,
    validation={"cancer_auroc": {"value": 0.9}},
    training={"seed": 17},
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


def test_the_same_bytes_again(source: Path, tmp_path: Path) -> None:
    one, other = (pack(source, tmp_path / name, MANIFEST, "") for name in ("one", "other"))
    assert content(one.folder) == content(other.folder)


def test_an_interrupted_pack_leaves_nothing(source: Path, tmp_path: Path) -> None:
    (source / HEAD).unlink()
    with pytest.raises(FileNotFoundError):
        pack(source, tmp_path / "bundle", MANIFEST, "")
    unusable = dataclasses.replace(MANIFEST, cancer_classes=("BENIGN",))
    (source / HEAD).write_bytes(b"head")
    with pytest.raises(BundleError, match="cancer classes"):
        pack(source, tmp_path / "bundle", unusable, "")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_bundle_is_replaced_only_when_asked(source: Path, tmp_path: Path) -> None:
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
    with pytest.raises(BundleError, match="no bundle"):
        pack(source, tmp_path / "thesis", MANIFEST, "", replace=True)
    assert (tmp_path / "thesis" / "chapter1.tex").is_file()


def test_the_head_in_numpy_is_the_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = LesionNet(ModelConfig(backbone="test_efficientnet", hidden=16), 8)
    net.head(torch.randn(64, net.backbone.num_features))  # moves the statistics of BatchNorm
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


def with_strangers(lesion_folder: Path, run: Path, folder: Path) -> tuple[Path, Path]:
    """The drawn lesions and four pictures of noise known to be none, and a run that knows of them."""
    rng, rows = np.random.default_rng(0), []
    for number in range(4):
        noise = folder / f"noise{number}.png"
        assert cv2.imwrite(str(noise), rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))
        rows.append((noise, noise.stem, "OOD", "ood_val"))
    data = write_index(folder / "data", read_table(lesion_folder), rows)
    copy = shutil.copytree(run, folder / "run")
    record = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    record["split_sha256"] = split_sha256(read_table(data))
    (copy / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return data, copy


def command(run: Path, data: Path, out: Path, *options: str) -> list[str]:
    return [str(run), "--data", str(data), "--out", str(out), "--calibration-images", "16", *options]


@pytest.fixture
def first_rung_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "RUNGS", dict(list(ladder.RUNGS.items())[:1]))


def test_from_run_to_bundle(
    micro_run: Path,
    lesion_folder: Path,
    tmp_path: Path,
    first_rung_only: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sixteen images judge nothing, so the gate's limits are first impossible and then none."""
    data, run = with_strangers(lesion_folder, micro_run, tmp_path)
    out = tmp_path / "bundles" / "micro"
    limits = ("MAX_CANCER_RECALL_DROP", "MAX_CLASS_RECALL_DROP", "MAX_AUROC_DROP", "MAX_OTHER_CLASS")
    monkeypatch.setattr(gate, "MAX_OTHER_CLASS", -1.0)
    failed = CliRunner().invoke(app, command(run, data, out))
    assert isinstance(failed.exception, GateError)
    assert failed.exit_code == 1
    assert "share given another class" in str(failed.exception)
    assert sorted(path.name for path in out.parent.iterdir()) == ["micro.gate.json", "micro.gate.md"]
    report = json.loads((out.parent / "micro.gate.json").read_text(encoding="utf-8"))
    assert report["passed"] is False
    assert [rung["passed"] for rung in report["rungs"]] == [False]
    assert len(report["rungs"][0]["comparisons"]) == 1
    text = (out.parent / "micro.gate.md").read_text(encoding="utf-8")
    assert text.startswith("# INT8 against FP32: failed")
    assert "fails** |" in text

    for limit in limits:
        monkeypatch.setattr(gate, limit, 1.0)
    passed = CliRunner().invoke(app, command(run, data, out, "--version", "7"))
    assert passed.exit_code == 0, passed.exception
    assert passed.stdout.strip() == str(out)
    assert [path.name for path in out.parent.iterdir()] == ["micro"]
    manifest = open_bundle(out).manifest
    assert (manifest.name, manifest.version) == ("micro", "7")
    assert manifest.gate["passed"] is True
    assert manifest.training["images"]["train"]["MEL"] == {"drawn": 4}
    assert manifest.training["run"]["config"]["model"]["backbone"] == "test_efficientnet"
    assert manifest.validation["int8"]["images"] == 16
    assert (out / "gate.md").read_text(encoding="utf-8").startswith("# INT8 against FP32: passed")

    # The runtime says what the gate was told.
    evaluation, predictions = evaluate(out, data, "val", "int8")
    point = manifest.variants["int8"].operating_points[0]
    assert evaluation.provenance.same_split
    assert evaluation.images.screening.recall.value == point.recall
    # Eight cancers support no more; all are found by scores that had not seen them.
    assert point.certificate.sensitivity == pytest.approx(0.05 ** (1 / 8))
    assert manifest.variants["int8"].lesion_scores.cancer[0] == point.threshold
    told = manifest.gate["rungs"][0]["comparisons"][0]["int8"]
    assert evaluation.images.cancer_auroc.value == told["auroc"]
    assert evaluation.images.accuracy.value == told["accuracy"]
    assert set(manifest.ood["compared"]) == set(SCORES)
    classifier = Classifier(out, quality_gate=False, scope_gate=False)
    for sample, distances in list(zip(predictions.samples, predictions.ood, strict=True))[::5]:
        ood = classifier.assess(sample.image).ood
        assert (ood.features, ood.picture) == pytest.approx(tuple(distances), abs=1e-4)
        assert ood.threshold == manifest.variants["int8"].ood_threshold


def test_refusals_before_any_work(
    micro_run: Path, lesion_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match="33 calibration images asked for, 32 training images"):
        build(micro_run, lesion_folder, tmp_path / "out", "n", "1", calibration_images=33)
    with pytest.raises(SettingError, match="not the images and split"):
        build(micro_run, data_folder, tmp_path / "out", "n", "1")
    assert not list(tmp_path.iterdir())
