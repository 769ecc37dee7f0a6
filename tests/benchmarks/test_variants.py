"""Other spellings of the graph compute the same; lines are fitted as scipy fits them."""

from collections.abc import Callable

import numpy as np
import openvino
import pytest

from benchmarks.evaluation import quantization_ablation as variants
from benchmarks.speed import scaling
from edgeskin.bundle.bundle import open_bundle
from quantize import ptq


@pytest.fixture(scope="module")
def network() -> openvino.Model:
    bundle = open_bundle()
    return openvino.Core().read_model(bundle.read("fp32.xml"), bundle.read("fp32.bin"))


def count(model: openvino.Model, kind: str) -> int:
    return sum(node.get_type_name() == kind for node in model.get_ops())


@pytest.mark.parametrize(
    ("spell", "before", "after", "left"),
    [
        (variants.pooling, "ReduceMean", "AvgPool", 0),
        (variants.swish_apart, "Swish", "Sigmoid", 0),
    ],
)
def test_a_graph_spelt_otherwise_computes_the_same(
    network: openvino.Model, spell: Callable[..., openvino.Model], before: str, after: str, left: int
) -> None:
    """EfficientNet-B3 has 26 squeeze-excite blocks, and the pooling before the head."""
    other = spell(network)
    assert (count(other, before), count(other, after) - count(network, after)) == (
        left,
        count(network, before) - left,
    )
    assert count(network, before) - left >= 26
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    said = [openvino.compile_model(model, "CPU", options)(image)["logits"] for model in (network, other)]
    np.testing.assert_allclose(*said, atol=1e-3)


def test_a_line_is_the_least_squares_one() -> None:
    """y = 1 + 2 x, and one point off it; R^2 as 1 - residual over total, by hand."""
    assert scaling.line({1: 3, 2: 5}) is None
    fitted = scaling.line({0: 1, 1: 3, 2: 5})
    assert fitted == pytest.approx({"slope": 2, "intercept": 1, "r_squared": 1})
    bent = scaling.line({0: 0, 1: 3, 2: 3})
    assert bent == pytest.approx({"slope": 1.5, "intercept": 0.5, "r_squared": 1 - 1.5 / 6})


def test_depthwise_and_squeeze_excite_are_chosen_by_kind(network: openvino.Model) -> None:
    kinds = {node.get_friendly_name(): node.get_type_name() for node in network.get_ops()}
    depthwise = [kinds[name] for name in variants.depthwise_too(network)]
    assert depthwise.count("GroupConvolution") == count(network, "GroupConvolution")
    # The first four, and two in each of 26 blocks.
    assert not {"Multiply", "ReduceMean"} & {kinds[name] for name in variants.scalings_too(network)}
    assert len(variants.scalings_too(network)) == 4 + 52
    assert len(variants.excite_too(network)) == 4
    lacking = set(ptq.left_in_fp32(network)) - set(variants.excite_convolutions_too(network))
    assert len(lacking) == 52
    assert lacking == set(variants.scalings_too(network)) - set(variants.excite_too(network))
