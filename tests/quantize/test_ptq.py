"""Which images calibrate, and what of a micro-network each way leaves in FP32."""

from collections import Counter
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from openvino import opset13 as ops

from edgeskin.errors import SettingError
from quantize import ptq, qat
from quantize.export import OUTPUTS, export
from quantize.inference import Images, load, predict, prepare
from tests.conftest import MICRO_SIZE
from train.config import TrainConfig
from train.data.table import Sample, read_table, select
from train.fit.run import load_run
from train.models.lesion_net import ServedNet


def sample(number: int, label: str, source: str) -> Sample:
    name = f"{label}{source}{number}"
    return Sample(Path(name), name, label, name, None, name, None, None, None, None, "train", source)


TABLE = [
    *(sample(i, "NV", "ham") for i in range(50)),
    *(sample(i, "NV", "archive") for i in range(20)),
    *(sample(i, "MEL", "ham") for i in range(9)),
    *(sample(i, "MEL", "archive") for i in range(2)),
    *(sample(i, "DF", "ham") for i in range(4)),
]


def test_calibration_is_even_over_classes_and_sources() -> None:
    chosen = Counter((s.label, s.source) for s in ptq.stratified(TABLE, seed=1)[:24])
    # Four dermatofibromas are all there are; the other twenty are shared, and so within each class.
    assert chosen == {
        ("DF", "ham"): 4,
        ("MEL", "ham"): 8,
        ("MEL", "archive"): 2,
        ("NV", "ham"): 5,
        ("NV", "archive"): 5,
    }


def test_calibration_depends_on_the_seed_alone() -> None:
    order = ptq.stratified(TABLE, seed=1)
    assert ptq.stratified(TABLE[::-1], seed=1) == order
    assert ptq.stratified(TABLE, seed=2)[:24] != order[:24]
    assert sorted(order, key=lambda s: s.image_id) == sorted(TABLE, key=lambda s: s.image_id)


@pytest.mark.parametrize("asked", [0, 86])
def test_too_few_images(asked: int) -> None:
    with pytest.raises(SettingError, match=f"{asked} calibration images asked for, 85 training images"):
        ptq.require_images(len(TABLE), asked)
    ptq.require_images(len(TABLE), 85)


@pytest.fixture(scope="module")
def served(micro_run: Path) -> ServedNet:
    return ServedNet(load_run(micro_run)[0]).eval()


@pytest.fixture(scope="module")
def fp32(served: ServedNet, tmp_path_factory: pytest.TempPathFactory) -> openvino.Model:
    return export(served, MICRO_SIZE, tmp_path_factory.mktemp("ptq"))


@pytest.fixture(scope="module")
def train(lesion_folder: Path) -> list[Sample]:
    return select(read_table(lesion_folder), "train")


@pytest.fixture(scope="module")
def images(
    train: list[Sample], micro_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> Images:
    files = [s.image for s in ptq.stratified(train, 0)]
    return load(prepare(files, micro_config.preprocessing, tmp_path_factory.mktemp("images") / "train.npy"))


def logits(model: openvino.Model, images: Images) -> np.ndarray:
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([compiled(image[None])["logits"] for image in images])


def squeeze_excite(served: ServedNet) -> int:
    """Convolutions in squeeze-excite blocks, two each."""
    return 2 * sum(type(module).__name__ == "SqueezeExcite" for module in served.modules())


def test_quantization_leaves_what_it_is_told(fp32: openvino.Model, served: ServedNet, images: Images) -> None:
    assert ptq.count_quantized(fp32).quantizers == ptq.count_quantized(fp32).int8_convolutions == 0
    left = ptq.left_in_fp32(fp32)
    names = {node.get_friendly_name() for node in ptq.convolutions(fp32)}
    in_fp32 = names & set(left)
    assert len(in_fp32) == ptq.FIRST_IN_FP32 + squeeze_excite(served)
    averages = {node.get_friendly_name() for node in fp32.get_ops() if node.get_type_name() == "AvgPool"}
    assert averages
    assert averages <= set(left)
    model = ptq.quantize(fp32, images, left)
    counts = ptq.count_quantized(model)
    assert counts.convolutions == sum(isinstance(m, torch.nn.Conv2d) for m in served.modules())
    plain = [n.get_friendly_name() for n in ptq.convolutions(model) if not _int8(n)]
    assert set(plain) == in_fp32
    assert counts.int8_convolutions == counts.convolutions - len(plain)
    difference = np.abs(logits(model, images) - logits(fp32, images))
    assert 0 < difference.max() < np.abs(logits(fp32, images)).max()


def test_weights_left_over_are_stored_as_int8(fp32: openvino.Model, images: Images, tmp_path: Path) -> None:
    first = ptq.left_in_fp32(fp32)
    model = ptq.quantize(fp32, images, first)
    small = ptq.store_weights_as_int8(model.clone(), first)
    assert ptq.count_quantized(small) == ptq.count_quantized(model)
    for name, stored in (("model", model), ("small", small)):
        openvino.save_model(stored, tmp_path / f"{name}.xml")
    assert (tmp_path / "small.bin").stat().st_size < (tmp_path / "model.bin").stat().st_size
    np.testing.assert_allclose(logits(small, images), logits(model, images), atol=0.1)
    before, after = (
        {node.get_friendly_name(): node.input_value(1).get_node() for node in ptq.convolutions(one)}
        for one in (model, small)
    )
    for name in first[: ptq.FIRST_IN_FP32]:
        np.testing.assert_array_equal(after[name].data, before[name].data)


def test_sensitive_convolutions() -> None:
    """Of three convolutions alike, the one whose weights' steps are too wide for what it reads is named.

    Its first input channel is always zero and its weight there is 100 in every filter: FP32 never sees it,
    but with steps of 100 / 127 and more all its other weights, within 0.2, round to zero.
    """
    rng = np.random.default_rng(0)
    image = ops.parameter([-1, 8, 8, 3], np.uint8, name="image")
    x = ops.transpose(ops.divide(ops.convert(image, np.float32), np.float32(255)), [0, 3, 1, 2])
    for name, channels in (("before", 3), ("blind", 8), ("after", 8)):
        weights = rng.uniform(0.05, 0.2, (8, channels, 3, 3)).astype(np.float32)
        if name == "before":
            weights[0] *= -1  # so that ReLU leaves nothing of this channel
        if name == "blind":
            weights[:, 0] = 100
        x = ops.convolution(x, weights, [1, 1], [1, 1], [1, 1], [1, 1], name=name)
        x = ops.relu(x)
    result = ops.result(ops.reduce_mean(x, [2, 3]))
    result.output(0).set_names({"logits"})
    model = openvino.Model([result], [image], "hand-made")
    images = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    assert ptq.sensitive_convolutions(model, images, []) == ["blind"]
    assert ptq.sensitive_convolutions(model, images, ["blind"]) != []
    assert "blind" not in ptq.sensitive_convolutions(model, images, ["blind"])


def test_accuracy_control(fp32: openvino.Model, images: Images) -> None:
    def p_cancer(rows: np.ndarray) -> np.ndarray:
        p = np.exp(rows.astype(np.float64))
        return p[:, :4].sum(axis=1) / p.sum(axis=1)

    model = ptq.quantize_with_accuracy_control(fp32, images, ptq.left_in_fp32(fp32), images[:8], p_cancer)
    kept = np.minimum(p_cancer(logits(model, images[:8])), reference := p_cancer(logits(fp32, images[:8])))
    assert reference.mean() - kept.mean() <= 0.005
    assert ptq.count_quantized(model).quantizers > 0


# OpenVINO reads a torch network by way of torch.jit, which is deprecated and warns of NNCF's constants.
@pytest.mark.filterwarnings("ignore:.torch.jit.*. is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_fine_tuning_comes_closer(
    served: ServedNet,
    fp32: openvino.Model,
    images: Images,
    train: list[Sample],
    micro_config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # NNCF's own quantizers in eager torch: compiling the faster ones would take longer than all the tests.
    from nncf.torch.quantization.extensions import QuantizedFunctionsCPU
    from nncf.torch.quantization.reference import ReferenceQuantizedFunctions

    monkeypatch.setattr(QuantizedFunctionsCPU, "_loaded_namespace", ReferenceQuantizedFunctions)
    left = qat._left_in_fp32(served, torch.tensor(images[0][None]))
    assert sum("conv2d" in name for name in left) == ptq.FIRST_IN_FP32 + squeeze_excite(served)
    reference, errors, states = logits(fp32, images), [], served.state_dict()
    before = {name: value.clone() for name, value in states.items()}
    for steps in (1, 12):
        options = qat.FineTuning(batch_size=8, learning_rate=1e-3, steps=steps)
        with torch.compiler.set_stance("force_eager"):
            model = qat.fine_tune(served, images, train, micro_config, 0, options)
        errors.append(np.mean((logits(model, images) - reference) ** 2))
    assert errors[1] < errors[0]
    assert [output.get_any_name() for output in model.outputs] == list(OUTPUTS)
    assert ptq.count_quantized(model).int8_convolutions > 0
    assert "ReduceMean" not in [node.get_type_name() for node in model.get_ops()]
    assert not set(ptq.left_in_fp32(model)) & {
        n.get_friendly_name() for n in ptq.convolutions(model) if _int8(n)
    }
    # The FP32 network that teaches stays as it was.
    assert all(torch.equal(before[name], value) for name, value in served.state_dict().items())
    xml = tmp_path / "int8.xml"
    openvino.save_model(ptq.store_weights_as_int8(model, ptq.left_in_fp32(model)), xml)
    np.save(tmp_path / "images.npy", images)
    assert predict(xml, tmp_path / "images.npy").logits.shape == (len(images), 8)


def _int8(node: openvino.Node) -> bool:
    return node.input_value(0).get_node().get_type_name() == "FakeQuantize"
