"""A network rebuilt from a bundle computes what the bundle's IR computes, and can be trained further."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from edgeskin.bundle.bundle import Bundle, open_bundle
from edgeskin.bundle.manifest import RunRecord, TrainingRecord, WeightsSource
from edgeskin.errors import BundleError, SettingError
from edgeskin.results import to_plain
from edgeskin.taxonomy import ISIC_2019
from quantize.export import export
from quantize.pack import write_head
from tests.conftest import MICRO_SIZE, write_manifest
from train.cli import app
from train.config import DistillationConfig, ModelConfig, Stage, TrainConfig
from train.data.table import read_table
from train.fit.run import load_run
from train.fit.trainer import fit
from train.models.from_bundle import (
    _bias,
    check_same_logits,
    load_bundle_weights,
    network_from_bundle,
    write_run_from_bundle,
)
from train.models.lesion_net import LesionNet, ServedNet


def tensors(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (n, s, s, 3) -> uint8 (n, 3, s, s)."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    shape = (24, MICRO_SIZE, MICRO_SIZE, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def bundle(micro_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The micro run's network as `quantize` exports it; its INT8 is only a name."""
    folder = tmp_path_factory.mktemp("exported")
    net, _ = load_run(micro_run)
    export(ServedNet(net).eval(), MICRO_SIZE, folder)
    write_head(net, folder / "head.npz")
    for part in ("xml", "bin"):
        (folder / f"int8.{part}").write_bytes((folder / f"fp32.{part}").read_bytes())
    write_manifest(folder, ood=None)  # of MICRO_SIZE and ISIC 2019's classes
    return open_bundle(folder)


def test_the_network_computes_what_the_bundle_computes(
    bundle: Bundle, micro_config: TrainConfig, pictures: np.ndarray
) -> None:
    net = LesionNet(micro_config.model, 8)
    load_bundle_weights(net, bundle, ISIC_2019, tensors(pictures))
    images = net.normalize(tensors(pictures))
    compiled = openvino.compile_model(bundle.folder / "fp32.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = np.concatenate([compiled(picture[None])["logits"] for picture in pictures])
    with torch.no_grad():
        np.testing.assert_allclose(net.eval()(images), expected, atol=0.25 * expected.std(axis=0).max())
        # With statistics of these very images, training mode sees the backbone as evaluation does.
        alike = net.backbone(images)
        torch.testing.assert_close(net.backbone.train()(images), alike, rtol=0.02, atol=0.02)
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_a_run_goes_on_from_a_bundle(
    bundle: Bundle, micro_config: TrainConfig, lesion_folder: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        micro_config,
        stages=(Stage(1, MICRO_SIZE),),
        augment=dataclasses.replace(micro_config.augment, mixup=0.2, jpeg=0.5, downscale=0.5),
    )
    run = fit(read_table(lesion_folder), tmp_path, config, str(bundle.folder))
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    source = {"source": "micro 0", "sha256": bundle.sha256, "kind": "bundle"}
    assert record["initial_weights"] == source


def test_a_run_is_distilled_from_a_bundle_and_resumes_with_the_same(
    bundle: Bundle, micro_config: TrainConfig, lesion_folder: Path, tmp_path: Path, pictures: np.ndarray
) -> None:
    """Its manifest records how its network is built; a bundle without a record is refused."""
    with pytest.raises(SettingError, match="no record"):
        network_from_bundle(bundle, ISIC_2019, tensors(pictures))
    run = RunRecord({"model": dataclasses.asdict(micro_config.model)}, "0" * 64, WeightsSource("none"))
    training = to_plain(TrainingRecord(run=run))
    write_manifest(bundle.folder, ood=None, training=training)
    config = dataclasses.replace(
        micro_config, stages=(Stage(1, MICRO_SIZE),), distillation=DistillationConfig(0.7)
    )
    samples = read_table(lesion_folder)
    run = fit(samples, tmp_path, config, "none", teacher=bundle.folder)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["teacher"] == {
        "source": "micro 0", "sha256": open_bundle(bundle.folder).sha256, "kind": "bundle"
    }  # fmt: skip
    write_manifest(bundle.folder, ood=None, training=training, version="1")
    with pytest.raises(SettingError, match="the teacher"):
        fit(samples, tmp_path, config, "none", resume=True, teacher=bundle.folder)


@pytest.mark.parametrize(
    ("model", "classes", "message"),
    [
        (ModelConfig("test_resnet", 16), ISIC_2019, "convolution|backbone"),
        (ModelConfig("test_efficientnet", 8), ISIC_2019, "model.hidden"),
        (ModelConfig("test_efficientnet", 16), ISIC_2019[::-1], "set classes"),
    ],
)
def test_another_network_is_refused(
    bundle: Bundle, model: ModelConfig, classes: tuple[str, ...], message: str, pictures: np.ndarray
) -> None:
    with pytest.raises(SettingError, match=message):
        load_bundle_weights(LesionNet(model, 8), bundle, classes, tensors(pictures[:2]))


def test_a_backbone_with_other_weights_is_refused(
    bundle: Bundle, micro_config: TrainConfig, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that are not read, such as a layer scale, change the logits; here the biases."""
    monkeypatch.setattr("train.models.from_bundle._bias", lambda node: 1 + _bias(node))
    with pytest.raises(SettingError, match="other logits"):
        load_bundle_weights(LesionNet(micro_config.model, 8), bundle, ISIC_2019, tensors(pictures))


def test_a_layer_that_is_another_shows(
    bundle: Bundle, micro_config: TrainConfig, pictures: np.ndarray
) -> None:
    """Even where a network answers nearly the same for every picture, as the micro one does."""
    net = LesionNet(micro_config.model, 8)
    load_bundle_weights(net, bundle, ISIC_2019, tensors(pictures))
    first, *_, last = (module for module in net.backbone.modules() if isinstance(module, nn.Conv2d))
    for convolution, factor in ((first, 1 / 255), (last, 0.9)):
        with torch.no_grad():
            convolution.weight *= factor
            with pytest.raises(SettingError, match="other logits"):
                check_same_logits(net, bundle)
            convolution.weight /= factor
    check_same_logits(net, bundle)


def test_batch_norms_learn_again(bundle: Bundle, micro_config: TrainConfig, pictures: np.ndarray) -> None:
    net = LesionNet(micro_config.model, 8)
    load_bundle_weights(net, bundle, ISIC_2019, tensors(pictures))
    norms = [module for module in net.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((norm.running_var > 0).any() and not (norm.weight == 1).all() for norm in norms)


@pytest.fixture
def bundle_of_a_run(bundle: Bundle, micro_run: Path) -> Bundle:
    record = json.loads((micro_run / "run.json").read_text(encoding="utf-8"))
    write_manifest(bundle.folder, ood=None, training={"run": record})
    return open_bundle(bundle.folder)


def test_a_bundle_becomes_the_run_it_came_from(
    bundle_of_a_run: Bundle, micro_run: Path, lesion_folder: Path, tmp_path: Path, pictures: np.ndarray
) -> None:
    """Its record and its network are the run's; the bundles that it came from before stay in the record."""
    command = ["from-bundle", str(bundle_of_a_run.folder), "--data", str(lesion_folder), "--out"]
    assert CliRunner().invoke(app, [*command, str(tmp_path / "deep" / "run")]).exit_code == 0
    net, config = load_run(tmp_path / "deep" / "run")
    expected, expected_config = load_run(micro_run)
    assert config == expected_config
    with torch.no_grad():
        images = net.normalize(tensors(pictures))
        logits, expected_logits = net(images), expected(images)
    # Stored as FP16.
    torch.testing.assert_close(
        logits, expected_logits, atol=0.1 * float(expected_logits.std(dim=0).max()), rtol=0
    )
    record = json.loads((tmp_path / "deep" / "run" / "run.json").read_text(encoding="utf-8"))
    source = {"source": "micro 0", "sha256": bundle_of_a_run.sha256, "kind": "bundle"}
    assert record == to_plain(bundle_of_a_run.manifest.training.run) | {"unpacked_from": [source]}
    write_manifest(bundle_of_a_run.folder, ood=None, training={"run": record}, version="1")
    again = open_bundle(bundle_of_a_run.folder)
    write_run_from_bundle(again, lesion_folder, tmp_path / "again")
    record = json.loads((tmp_path / "again" / "run.json").read_text(encoding="utf-8"))
    assert [one["source"] for one in record["unpacked_from"]] == ["micro 1", "micro 0"]


def test_what_cannot_become_a_run(
    bundle_of_a_run: Bundle, lesion_folder: Path, tmp_path: Path, micro_config: TrainConfig
) -> None:
    """Nothing is written, a run is not overwritten, and `fit` does not overwrite what was rebuilt."""
    out = tmp_path / "run"
    fewer = Path(shutil.copytree(lesion_folder, tmp_path / "fewer"))
    (fewer / "train" / "MEL" / "train_MEL_0.png").unlink()
    with pytest.raises(SettingError, match="not the images and split"):
        write_run_from_bundle(bundle_of_a_run, fewer, out)
    assert not out.exists()
    write_run_from_bundle(bundle_of_a_run, lesion_folder, out)
    with pytest.raises(SettingError, match="exists already"):
        write_run_from_bundle(bundle_of_a_run, lesion_folder, out)
    with pytest.raises(SettingError, match="without checkpoints"):
        fit(read_table(lesion_folder), out, micro_config, "none")
    write_manifest(bundle_of_a_run.folder, ood=None, training={})
    with pytest.raises(SettingError, match="no record"):
        write_run_from_bundle(open_bundle(bundle_of_a_run.folder), lesion_folder, tmp_path / "another")
    for training in ({"run": []}, {"run": {"split_sha256": ""}}):
        write_manifest(bundle_of_a_run.folder, ood=None, training=training)
        with pytest.raises(BundleError):
            open_bundle(bundle_of_a_run.folder)
