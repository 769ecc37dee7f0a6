"""A micro-network through ONNX to OpenVINO: what goes in, what comes out, and that it is the same network."""

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from openvino import opset13 as ops
from torchvision.transforms.v2 import functional

from edgeskin.bundle.ir import ir_of
from edgeskin.network.engine import Engine
from quantize.export import ExportError, averages_as_pooling, check_parity, expect_interface, export
from quantize.inference import InferenceError, instruction_sets, load, predict, prepare
from tests.conftest import MICRO_SIZE
from train.config import TrainConfig
from train.data.table import read_table, select
from train.fit.run import load_run
from train.models.lesion_net import IMAGENET_MEAN, IMAGENET_STD, ServedNet


@pytest.fixture(scope="module")
def served(micro_run: Path) -> ServedNet:
    return ServedNet(load_run(micro_run)[0]).eval()


@pytest.fixture(scope="module")
def exported(served: ServedNet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, openvino.Model]:
    folder = tmp_path_factory.mktemp("export")
    return folder, export(served, MICRO_SIZE, folder)


@pytest.fixture(scope="module")
def images(lesion_folder: Path, micro_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = [sample.image for sample in select(read_table(lesion_folder), "val")]
    return prepare(files, micro_config.preprocessing, tmp_path_factory.mktemp("images") / "val.npy")


def test_normalisation_is_inside(served: ServedNet) -> None:
    image = torch.randint(0, 256, (2, MICRO_SIZE, MICRO_SIZE, 3), dtype=torch.uint8)
    with torch.no_grad():
        outside = served.net.outputs(
            functional.normalize(image.permute(0, 3, 1, 2) / 255, IMAGENET_MEAN, IMAGENET_STD)
        )
        for inside, wanted in zip(served(image), outside, strict=True):
            torch.testing.assert_close(inside, wanted, rtol=1e-4, atol=1e-5)


def test_interface(exported: tuple[Path, openvino.Model], served: ServedNet) -> None:
    folder, model = exported
    features = served.net.backbone.num_features
    assert (folder / "network.onnx").is_file()
    image = model.input("image")
    assert image.get_element_type() == openvino.Type.u8
    assert image.partial_shape == openvino.PartialShape([-1, MICRO_SIZE, MICRO_SIZE, 3])
    shapes = {output.get_any_name(): output.partial_shape for output in model.outputs}
    assert shapes == {
        "logits": openvino.PartialShape([-1, 8]),
        "features": openvino.PartialShape([-1, features]),
        "fmap": openvino.PartialShape([-1, features, 2, 2]),
    }
    assert {output.get_element_type() for output in model.outputs} == {openvino.Type.f32}


def test_averages_are_spelt_as_pooling(exported: tuple[Path, openvino.Model], served: ServedNet) -> None:
    """One a squeeze-excite block, and the one before the head."""
    kinds = [node.get_type_name() for node in exported[1].get_ops()]
    blocks = sum(type(module).__name__ == "SqueezeExcite" for module in served.modules())
    assert blocks > 0
    assert (kinds.count("AvgPool"), kinds.count("ReduceMean")) == (blocks + 1, 0)


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [3, 2], [1, 2], [2]])
def test_only_averages_over_height_and_width_are_spelt_as_pooling(axes: list[int]) -> None:
    image = ops.parameter([-1, 4, 6, 6], np.float32)
    model = openvino.Model([ops.reduce_mean(image, np.array(axes), keep_dims=True)], [image])
    values = np.random.default_rng(0).random((2, 4, 6, 6), np.float32)
    pooled = averages_as_pooling(model)
    spelt = "AvgPool" in [node.get_type_name() for node in pooled.get_ops()]
    assert spelt == (sorted(axis % 4 for axis in axes) == [2, 3])
    said = openvino.compile_model(pooled, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(values)[0]
    np.testing.assert_allclose(said, values.mean(axis=tuple(axes), keepdims=True), rtol=1e-5)


def test_the_runtime_runs_it(exported: tuple[Path, openvino.Model], served: ServedNet) -> None:
    folder, _ = exported
    engine = Engine(ir_of(*((folder / f"fp32.{part}").read_bytes() for part in ("xml", "bin"))), threads=1)
    image = np.random.default_rng(0).integers(0, 256, (MICRO_SIZE, MICRO_SIZE, 3), dtype=np.uint8)
    outputs = engine.infer(image, fmaps=True)
    with torch.no_grad():
        logits, features, fmap = served(torch.tensor(image[None]))
    for said, wanted in ((outputs.logits, logits), (outputs.features[0], features), (outputs.fmaps[0], fmap)):
        np.testing.assert_allclose(said, wanted[0], atol=0.02)


def test_every_image_of_a_batch_counts(exported: tuple[Path, openvino.Model], served: ServedNet) -> None:
    parts = ((exported[0] / f"fp32.{part}").read_bytes() for part in ("xml", "bin"))
    image = np.random.default_rng(0).integers(0, 256, (MICRO_SIZE, MICRO_SIZE, 3), dtype=np.uint8)
    outputs = Engine(ir_of(*parts), views=8).infer(image)
    views = [np.rot90(side, quarters) for side in (image, image[:, ::-1]) for quarters in range(4)]
    with torch.no_grad():
        logits, features, _ = served(torch.tensor(np.stack(views)))
    np.testing.assert_allclose(outputs.features, features, atol=0.02)
    np.testing.assert_allclose(outputs.logits, logits.mean(dim=0), atol=0.02)


def test_weights_are_stored_as_fp16(exported: tuple[Path, openvino.Model]) -> None:
    folder, _ = exported
    assert (folder / "fp32.bin").stat().st_size < 0.6 * (folder / "exact.bin").stat().st_size


@pytest.mark.parametrize("views", [1, 8])
def test_parity(exported: tuple[Path, openvino.Model], served: ServedNet, images: Path, views: int) -> None:
    parity = check_parity(served, exported[0], images, views)
    assert parity.images == 16
    assert max(parity.onnx, parity.fp32_ir) < 1e-4
    assert parity.fp32_ir < parity.fp16_storage < 0.1
    assert parity.other_class == 0


def test_another_network_is_noticed(
    exported: tuple[Path, openvino.Model], micro_run: Path, images: Path
) -> None:
    other = ServedNet(load_run(micro_run)[0]).eval()
    with torch.no_grad():
        other.net.head[5].bias[0] += 0.002
    with pytest.raises(ExportError, match=r"16 images the largest logit difference is 0\.002"):
        check_parity(other, exported[0], images, 1)


def test_another_interface_is_refused(exported: tuple[Path, openvino.Model]) -> None:
    model = exported[1].clone()
    model.reshape([1, MICRO_SIZE, MICRO_SIZE, 3])
    with pytest.raises(ExportError, match="open in the batch"):
        expect_interface(model)


def test_onnx_is_valid_and_alone(exported: tuple[Path, openvino.Model]) -> None:
    model = onnx.load(exported[0] / "network.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_older_instructions_say_the_same(exported: tuple[Path, openvino.Model], images: Path) -> None:
    xml = exported[0] / "fp32.xml"
    native = predict(xml, images).logits
    assert native.shape == (16, 8)
    assert native.dtype == np.float32
    for isa in instruction_sets()[1:]:
        np.testing.assert_allclose(predict(xml, images, isa).logits, native, atol=1e-4)


def test_a_failing_process_is_reported(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match=r"absent\.xml with ONEDNN_MAX_CPU_ISA=AVX2 failed"):
        predict(tmp_path / "absent.xml", images, "AVX2")


def test_prepared_images_are_what_the_runtime_sees(
    images: Path, lesion_folder: Path, micro_config: TrainConfig
) -> None:
    from edgeskin.imaging.preprocess import preprocess
    from edgeskin.photo.decode import load_photo

    file = select(read_table(lesion_folder), "val")[3].image
    photo = load_photo(file, MICRO_SIZE)
    np.testing.assert_array_equal(load(images)[3], preprocess(photo.image, micro_config.preprocessing))
