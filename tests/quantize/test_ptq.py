"""The choice of calibration images, and what post-training quantization does to a micro-network."""

from collections import Counter
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from openvino import opset13 as ops

from edgeskin.errors import SettingError
from quantize import ptq
from quantize.inference import Images
from train.data.table import Sample
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
    # There are only four dermatofibromas. Nevi and melanomas have ten each, evenly over their sources.
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


@pytest.mark.parametrize("wanted", [0, 86])
def test_too_few_images(wanted: int) -> None:
    with pytest.raises(SettingError, match=f"{wanted} calibration images: .* 85"):
        ptq.require_images(len(TABLE), wanted)
    ptq.require_images(len(TABLE), 85)


def logits(model: openvino.Model, images: Images) -> np.ndarray:
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([compiled(image[None])["logits"] for image in images])


def is_int8(node: openvino.Node) -> bool:
    return node.input_value(0).get_node().get_type_name() == "FakeQuantize"


def squeeze_excite(served: ServedNet) -> int:
    """Count the convolutions in squeeze-excite blocks, two each."""
    return 2 * sum(type(module).__name__ == "SqueezeExcite" for module in served.modules())


def test_quantization_leaves_the_ignored_nodes(
    fp32: openvino.Model, served: ServedNet, train_images: Images
) -> None:
    assert ptq.count_quantized(fp32).quantizers == ptq.count_quantized(fp32).int8_convolutions == 0
    left = ptq.left_in_fp32(fp32)
    names = {node.get_friendly_name() for node in ptq.convolutions(fp32)}
    in_fp32 = names & set(left)
    assert len(in_fp32) == ptq.FIRST_IN_FP32 + squeeze_excite(served)
    averages = {node.get_friendly_name() for node in fp32.get_ops() if node.get_type_name() == "AvgPool"}
    assert averages
    assert averages <= set(left)
    model = ptq.quantize(fp32, train_images, left)
    counts = ptq.count_quantized(model)
    assert counts.convolutions == sum(isinstance(m, torch.nn.Conv2d) for m in served.modules())
    plain = [n.get_friendly_name() for n in ptq.convolutions(model) if not is_int8(n)]
    assert set(plain) == in_fp32
    assert counts.int8_convolutions == counts.convolutions - len(plain)
    difference = np.abs(logits(model, train_images) - logits(fp32, train_images))
    assert 0 < difference.max() < np.abs(logits(fp32, train_images)).max()


def test_weights_of_squeeze_excite_are_stored_as_int8(
    fp32: openvino.Model, train_images: Images, tmp_path: Path
) -> None:
    first = ptq.left_in_fp32(fp32)
    model = ptq.quantize(fp32, train_images, first)
    small = ptq.store_weights_as_int8(model.clone(), first)
    assert ptq.count_quantized(small) == ptq.count_quantized(model)
    for name, stored in (("model", model), ("small", small)):
        openvino.save_model(stored, tmp_path / f"{name}.xml")
    assert (tmp_path / "small.bin").stat().st_size < (tmp_path / "model.bin").stat().st_size
    np.testing.assert_allclose(logits(small, train_images), logits(model, train_images), atol=0.1)
    before, after = (
        {node.get_friendly_name(): node.input_value(1).get_node() for node in ptq.convolutions(one)}
        for one in (model, small)
    )
    for name in first[: ptq.FIRST_IN_FP32]:
        np.testing.assert_array_equal(after[name].data, before[name].data)


def test_sensitive_convolutions() -> None:
    """Of three similar convolutions, the one whose quantization step is too wide is named.

    Its first input channel is always zero, and every filter has a weight of 100 there. In FP32 this has no
    effect. In INT8 the step is at least 100 / 127, so all other weights, which are at most 0.2, become zero.
    """
    rng = np.random.default_rng(0)
    image = ops.parameter([-1, 8, 8, 3], np.uint8, name="image")
    x = ops.transpose(ops.divide(ops.convert(image, np.float32), np.float32(255)), [0, 3, 1, 2])
    for name, channels in (("before", 3), ("blind", 8), ("after", 8)):
        weights = rng.uniform(0.05, 0.2, (8, channels, 3, 3)).astype(np.float32)
        if name == "before":
            weights[0] *= -1  # so that ReLU makes this channel zero
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


def test_accuracy_control(fp32: openvino.Model, train_images: Images) -> None:
    def p_cancer(rows: np.ndarray) -> np.ndarray:
        p = np.exp(rows.astype(np.float64))
        return p[:, :4].sum(axis=1) / p.sum(axis=1)

    model = ptq.quantize_with_accuracy_control(
        fp32, train_images, ptq.left_in_fp32(fp32), train_images[:8], p_cancer
    )
    before, after = (p_cancer(logits(one, train_images[:8])) for one in (fp32, model))
    assert before.mean() - np.minimum(before, after).mean() <= 0.005
    assert ptq.count_quantized(model).quantizers > 0
