"""A micro-network through ONNX to OpenVINO: its interface, its files, and that it stays the same network."""

import copy
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from openvino import opset13 as ops
from torchvision.transforms.v2 import functional

from edgeskin.bundle.bundle import IR
from edgeskin.network.engine import Engine
from quantize.export import ExportError, averages_as_pooling, check_parity, expect_interface
from tests.conftest import MICRO_SIZE
from train.models.backbones import IMAGENET
from train.models.lesion_net import ServedNet


@pytest.fixture
def folder(export_folder: Path, fp32: openvino.Model) -> Path:
    """The folder that the network was exported to."""
    return export_folder


def random_image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (MICRO_SIZE, MICRO_SIZE, 3), dtype=np.uint8)


def engine_of(folder: Path, threads: int | None = None, views: int = 1) -> Engine:
    parts = ((folder / f"fp32.{part}").read_bytes() for part in ("xml", "bin"))
    return Engine(IR.from_bytes(*parts), threads=threads, views=views)


def test_normalization_is_inside(served: ServedNet) -> None:
    image = torch.randint(0, 256, (2, MICRO_SIZE, MICRO_SIZE, 3), dtype=torch.uint8)
    with torch.no_grad():
        normalized = functional.normalize(image.permute(0, 3, 1, 2) / 255, IMAGENET.mean, IMAGENET.std)
        for inside, outside in zip(served(image), served.net.outputs(normalized), strict=True):
            torch.testing.assert_close(inside, outside, rtol=1e-4, atol=1e-5)


def test_interface(fp32: openvino.Model, folder: Path, served: ServedNet) -> None:
    features = served.net.backbone.num_features
    assert (folder / "network.onnx").is_file()
    image = fp32.input("image")
    assert image.get_element_type() == openvino.Type.u8
    assert image.partial_shape == openvino.PartialShape([-1, MICRO_SIZE, MICRO_SIZE, 3])
    shapes = {output.get_any_name(): output.partial_shape for output in fp32.outputs}
    assert shapes == {
        "logits": openvino.PartialShape([-1, 8]),
        "features": openvino.PartialShape([-1, features]),
        "fmap": openvino.PartialShape([-1, features, 2, 2]),
    }
    assert {output.get_element_type() for output in fp32.outputs} == {openvino.Type.f32}


def test_averages_become_pooling(fp32: openvino.Model, served: ServedNet) -> None:
    """One in each squeeze-excite block, and the one before the head."""
    kinds = [node.get_type_name() for node in fp32.get_ops()]
    blocks = sum(type(module).__name__ == "SqueezeExcite" for module in served.modules())
    assert blocks > 0
    assert (kinds.count("AvgPool"), kinds.count("ReduceMean")) == (blocks + 1, 0)


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [3, 2], [1, 2], [2]])
def test_only_averages_over_height_and_width_become_pooling(axes: list[int]) -> None:
    image = ops.parameter([-1, 4, 6, 6], np.float32)
    model = openvino.Model([ops.reduce_mean(image, np.array(axes), keep_dims=True)], [image])
    values = np.random.default_rng(0).random((2, 4, 6, 6), np.float32)
    pooled = averages_as_pooling(model)
    is_pooling = "AvgPool" in [node.get_type_name() for node in pooled.get_ops()]
    assert is_pooling == (sorted(axis % 4 for axis in axes) == [2, 3])
    averages = openvino.compile_model(pooled, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(values)[0]
    np.testing.assert_allclose(averages, values.mean(axis=tuple(axes), keepdims=True), rtol=1e-5)


def test_the_runtime_runs_it(folder: Path, served: ServedNet) -> None:
    outputs = engine_of(folder, threads=1).infer(random_image(), fmaps=True)
    with torch.no_grad():
        expected = served(torch.tensor(random_image()[None]))
    actual = (outputs.logits[0], outputs.features[0], outputs.fmaps[0, 0])
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs[0], atol=0.02)


def test_every_image_of_a_batch_counts(folder: Path, served: ServedNet) -> None:
    image = random_image()
    outputs = engine_of(folder, views=8).infer(image)
    views = [np.rot90(side, quarters) for side in (image, image[:, ::-1]) for quarters in range(4)]
    with torch.no_grad():
        logits, features, _ = served(torch.tensor(np.stack(views)))
    np.testing.assert_allclose(outputs.view_features[0], features, atol=0.02)
    np.testing.assert_allclose(outputs.logits[0], logits.mean(dim=0), atol=0.02)


def test_weights_are_stored_as_fp16(folder: Path) -> None:
    assert (folder / "fp32.bin").stat().st_size < 0.6 * (folder / "exact.bin").stat().st_size


@pytest.mark.parametrize("views", [1, 8])
def test_parity(folder: Path, served: ServedNet, val_images: Path, views: int) -> None:
    parity = check_parity(served, folder, val_images, views)
    assert parity.images == 16
    assert max(parity.onnx, parity.fp32_ir) < 1e-4
    assert parity.fp32_ir < parity.fp16_storage < 0.1
    assert parity.other_class == 0


def test_another_network_has_no_parity(folder: Path, served: ServedNet, val_images: Path) -> None:
    other = copy.deepcopy(served)
    with torch.no_grad():
        other.net.head[5].bias[0] += 0.002
    with pytest.raises(ExportError, match=r"16 images .* 0\.002"):
        check_parity(other, folder, val_images, 1)


def test_another_interface_is_refused(fp32: openvino.Model) -> None:
    model = fp32.clone()
    model.reshape([1, MICRO_SIZE, MICRO_SIZE, 3])
    with pytest.raises(ExportError):
        expect_interface(model)


def test_onnx_is_valid_and_one_file(folder: Path) -> None:
    model = onnx.load(folder / "network.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
