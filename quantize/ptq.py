"""Post-training quantization to INT8 with NNCF: which images calibrate it, and which layers stay in FP32."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

import nncf
import numpy as np
import numpy.typing as npt
import openvino
from nncf.openvino.quantization.backend_parameters import BackendParameters
from nncf.quantization.range_estimator import RangeEstimatorParametersSet

from edgeskin.errors import SettingError
from edgeskin.network.cpu import available_threads
from quantize.gate import MAX_CANCER_RECALL_DROP
from quantize.inference import Images
from train.data.table import Sample

T = TypeVar("T")
PCancer = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]

FIRST_IN_FP32 = 4
"""Number of convolutions in the stem and first block of EfficientNet-B3. Quantizing them costs most."""
FIRST_IN_FP32_WIDER = 12
"""Number of convolutions up to the second stage: less error, and a little slower."""
SENSITIVE_SHARE = 0.5
"""Share of the total error of the single convolutions that `sensitive_convolutions` removes."""
MOST_REVERTED = 20
"""Most layers that accuracy control puts back to FP32."""


@dataclass(frozen=True)
class Counts:
    """What was quantized.

    Attributes:
        quantizers: Number of FakeQuantize nodes.
        int8_convolutions: Number of convolutions with INT8 inputs. The others are in squeeze-excite, or stay
            in FP32 on purpose.
        convolutions: Number of all convolutions.
    """

    quantizers: int
    int8_convolutions: int
    convolutions: int


def stratified(samples: Iterable[Sample], seed: int) -> list[Sample]:
    """Order samples so that any first n are as even as possible over classes, and over sources in a class.

    The order depends on the seed and the image ids, not on the order of ``samples``.
    """
    ordered = sorted(samples, key=lambda sample: sample.image_id)
    strata: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for position in np.random.default_rng(seed).permutation(len(ordered)):
        sample = ordered[position]
        strata[sample.label][sample.source].append(sample)
    classes = [
        _interleave([sources[name] for name in sorted(sources)]) for _, sources in sorted(strata.items())
    ]
    return _interleave(classes)


def require_images(available: int, wanted: int) -> None:
    """Check the number of calibration images.

    Raises:
        SettingError: It is not 1 to the number of training images that are available.
    """
    if not 1 <= wanted <= available:
        raise SettingError(
            f"{wanted} calibration images: choose 1 to {available}, the number of training images, with "
            "--calibration-images, or add images"
        )


def convolutions(model: openvino.Model) -> list[Any]:
    """List the convolution nodes of a model, from input to output."""
    kinds = ("Convolution", "GroupConvolution")
    return [node for node in model.get_ordered_ops() if node.get_type_name() in kinds]


def left_in_fp32(model: openvino.Model, first: int = FIRST_IN_FP32) -> list[str]:
    """Name the nodes that stay in FP32: the first spatial convolutions, and all of squeeze-excite.

    Squeeze-excite's averages, convolutions and scalings are listed by name. NNCF recognizes its convolutions
    by a pattern that fails if the average is another operation or a bias is zero, and it quantizes the
    averages and scalings.

    Args:
        model: The FP32 model.
        first: Number of spatial convolutions, from the input on.
    """
    spatial = [node for node in convolutions(model) if _height(node) > 1][:first]
    squeezed = [node for node in convolutions(model) if _height(node) == 1]
    kinds = ("Multiply", "ReduceMean", "AvgPool")
    scalings = [node for node in model.get_ordered_ops() if node.get_type_name() in kinds]
    return [node.get_friendly_name() for node in (*spatial, *squeezed, *scalings)]


def count_quantized(model: openvino.Model) -> Counts:
    """Count the quantized nodes of a model, which shows whether NNCF's patterns matched the export."""
    nodes = convolutions(model)
    quantized = sum(map(_is_int8, nodes))
    quantizers = sum(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    return Counts(quantizers, quantized, len(nodes))


def settings(images: int) -> dict[str, Any]:
    """Collect the NNCF arguments of every recipe: mixed preset, histogram ranges of ``images`` images."""
    ranges = RangeEstimatorParametersSet.HISTOGRAM
    return {
        "subset_size": images,
        "preset": nncf.QuantizationPreset.MIXED,
        "advanced_parameters": nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=ranges,
            # Without VNNI, sums of full-range INT8 products saturate. On AVX2 the RMS logit error was 0.155,
            # against 0.117 with VNNI, and cancers were missed. In half range the error is the same on both.
            overflow_fix=nncf.OverflowFix.ENABLE,
        ),
    }


def quantize(
    model: openvino.Model, images: Images, ignored: Sequence[str], fast: bool = True, measuring: bool = False
) -> openvino.Model:
    """Quantize a copy of a model without training.

    Args:
        model: The FP32 model.
        images: Calibration images, uint8 RGB (n, s, s, 3).
        ignored: Names of the nodes that stay in FP32.
        fast: Fast bias correction instead of full.
        measuring: No bias correction, and quantizers on the weights that can be removed again.
    """
    arguments = settings(len(images))
    if measuring:
        arguments["advanced_parameters"].disable_bias_correction = True
        arguments["advanced_parameters"].backend_params = {BackendParameters.COMPRESS_WEIGHTS: False}
    scope = nncf.IgnoredScope(names=list(ignored))
    return nncf.quantize(model, _dataset(images), ignored_scope=scope, fast_bias_correction=fast, **arguments)


def store_weights_as_int8(model: openvino.Model, ignored: Sequence[str]) -> openvino.Model:
    """Store the weights of squeeze-excite as INT8 with a scale a channel, for a smaller file.

    They are computed with in float32. OpenVINO does not store the float weights of a quantized model as FP16.
    The engine multiplies numbers and scales when it loads the model, since a file with the float32 products
    is larger: int8.xml and int8.bin of the default bundle grow from 12.8 to 18.3 MB (+42%).

    Args:
        model: The INT8 model.
        ignored: Names of the nodes that stay in FP32. Spatial convolutions among them keep float32 weights.
    """
    spatial = {node.get_friendly_name() for node in convolutions(model) if _height(node) > 1}
    scope = nncf.IgnoredScope(names=[name for name in ignored if name in spatial])
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=scope)


def sensitive_convolutions(model: openvino.Model, images: Images, ignored: Sequence[str]) -> list[str]:
    """Name the convolutions that cause most of the error, together SENSITIVE_SHARE of it.

    The error of a convolution is the mean squared logit error when it alone is quantized. Putting one
    convolution at a time back to FP32 measures little, since errors of layers amplify and cancel each other.

    Args:
        model: The FP32 model.
        images: Images to measure on, uint8 RGB (n, s, s, 3).
        ignored: Names of the nodes that stay in FP32 in any case.
    """
    reference = _logits(model, images)
    quantized = quantize(model, images, ignored, measuring=True)
    names = [node.get_friendly_name() for node in convolutions(quantized) if _is_int8(node)]
    if not names:
        return []
    alone = np.stack([_logits(_quantized_alone(quantized, name), images) for name in names])
    errors = ((alone - reference) ** 2).mean(axis=(1, 2))
    if not errors.sum() > 0:
        return []
    worst = np.argsort(-errors)
    total = np.cumsum(errors[worst])
    count = np.searchsorted(total, SENSITIVE_SHARE * total[-1]) + 1
    return [names[position] for position in worst[:count]]


def quantize_with_accuracy_control(
    model: openvino.Model, images: Images, ignored: Sequence[str], cancers: Images, p_cancer: PCancer
) -> openvino.Model:
    """Quantize with NNCF's accuracy control, which puts layers back to FP32 until INT8 keeps the soft recall.

    The soft recall of FP32 is its mean P(cancer) over images of cancers. What INT8 keeps of it is the mean of
    min(P(cancer) by INT8, P(cancer) by FP32), so that a gain on one lesion does not make up for a loss on
    another. Each image has a value of its own, which NNCF needs to rank the layers.

    Args:
        model: The FP32 model.
        images: Calibration images, uint8 RGB (n, s, s, 3).
        ignored: Names of the nodes that stay in FP32 in any case.
        cancers: Images of cancers, uint8 RGB (m, s, s, 3).
        p_cancer: From logits (m, C) to P(cancer), (m,).
    """
    reference = p_cancer(_logits(model, cancers))

    def retained_recall(compiled: Any, positions: Iterable[int]) -> tuple[float, list[float]]:
        where = list(positions)
        logits = np.concatenate([compiled(cancers[i][None])["logits"] for i in where])
        retained = np.minimum(p_cancer(logits), reference[where])
        return float(retained.mean()), retained.tolist()

    arguments = settings(len(images))
    return nncf.quantize_with_accuracy_control(
        model,
        _dataset(images),
        nncf.Dataset(range(len(cancers)), lambda position: cancers[position][None]),
        validation_fn=retained_recall,
        max_drop=MAX_CANCER_RECALL_DROP,
        ignored_scope=nncf.IgnoredScope(names=list(ignored)),
        fast_bias_correction=False,
        advanced_quantization_parameters=arguments.pop("advanced_parameters"),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=MOST_REVERTED, ranking_subset_size=len(cancers)
        ),
        **arguments,
    )


def _dataset(images: Images) -> nncf.Dataset:
    return nncf.Dataset(images, lambda image: image[None])


def _interleave(groups: Sequence[Sequence[T]]) -> list[T]:
    """List the first item of every group, then the second of every group that has one, and so on."""
    return [item for items in zip_longest(*groups) for item in items if item is not None]


def _logits(model: openvino.Model, images: Images) -> npt.NDArray[np.float32]:
    # The precision and threads of edgeskin.network.engine.
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": available_threads()}
    compiled = openvino.compile_model(model, "CPU", options)
    return np.concatenate([compiled(image[None])["logits"] for image in images])


def _quantized_alone(model: openvino.Model, name: str) -> openvino.Model:
    """Copy a model so that every node but the named one bypasses the quantizers."""
    copy = model.clone()
    for node in copy.get_ops():
        for port in node.inputs() if node.get_friendly_name() != name else ():
            source = port.get_source_output().get_node()
            if source.get_type_name() == "FakeQuantize":
                port.replace_source_output(source.input_value(0))
    return copy


def _height(convolution: Any) -> int:
    return int(convolution.get_output_partial_shape(0)[2].get_length())


def _is_int8(convolution: Any) -> bool:
    return bool(convolution.input_value(0).get_node().get_type_name() == "FakeQuantize")
