"""Other expressions of the graph compute the same, and recipes leave what they name in FP32."""

from collections.abc import Callable

import numpy as np
import openvino
import pytest

from benchmarks.evaluation import quantization_ablation
from edgeskin.bundle.bundle import open_bundle
from quantize import ptq


@pytest.fixture(scope="module")
def network() -> openvino.Model:
    bundle = open_bundle()
    return openvino.Core().read_model(bundle.read("fp32.xml"), bundle.read("fp32.bin"))


def count(model: openvino.Model, kind: str) -> int:
    return sum(node.get_type_name() == kind for node in model.get_ops())


@pytest.mark.parametrize(
    ("change", "before", "after", "left"),
    [
        (quantization_ablation.with_pooling, "ReduceMean", "AvgPool", 0),
        (quantization_ablation.with_swish_as_product, "Swish", "Sigmoid", 0),
    ],
)
def test_a_graph_expressed_otherwise_computes_the_same(
    network: openvino.Model, change: Callable[..., openvino.Model], before: str, after: str, left: int
) -> None:
    """EfficientNet-B3 has 26 squeeze-excite blocks, and the pooling before the head."""
    other = change(network)
    assert (count(other, before), count(other, after) - count(network, after)) == (
        left,
        count(network, before) - left,
    )
    assert count(network, before) - left >= 26
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    logits = [openvino.compile_model(model, "CPU", options)(image)["logits"] for model in (network, other)]
    np.testing.assert_allclose(*logits, atol=1e-3)


def test_depthwise_and_squeeze_excite_are_chosen_by_kind(network: openvino.Model) -> None:
    kinds = {node.get_friendly_name(): node.get_type_name() for node in network.get_ops()}
    depthwise = [kinds[name] for name in quantization_ablation.depthwise_too(network)]
    assert depthwise.count("GroupConvolution") == count(network, "GroupConvolution")
    # The first four, and two in each of 26 blocks.
    assert not {"Multiply", "ReduceMean"} & {
        kinds[name] for name in quantization_ablation.convolutions_only(network)
    }
    assert len(quantization_ablation.convolutions_only(network)) == 4 + 52
    assert len(quantization_ablation.first_convolutions_only(network)) == 4
    lacking = set(ptq.left_in_fp32(network)) - set(quantization_ablation.without_excite_convolutions(network))
    assert len(lacking) == 52
    assert lacking == set(quantization_ablation.convolutions_only(network)) - set(
        quantization_ablation.first_convolutions_only(network)
    )
