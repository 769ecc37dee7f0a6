"""INT8 with NNCF without training: the calibration images and the ladder's first three rungs."""

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
from edgeskin.network.engine import available_threads
from quantize.gate import MAX_CANCER_RECALL_DROP
from quantize.inference import Images
from train.data.table import Sample

T = TypeVar("T")
Model = openvino.Model
PCancer = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]

FIRST_IN_FP32 = 4
"""Convolutions of the stem and first block: quantizing them loses most (measured on EfficientNet-B3)."""
FIRST_IN_FP32_WIDER = 12
"""Up to the second stage: less error, a little slower."""
SENSITIVE_SHARE = 0.5
"""Of the error that single convolutions cause, how much the wider ignored scope takes away."""
MOST_REVERTED = 20


@dataclass(frozen=True)
class Counts:
    """What was quantized.

    quantizers: FakeQuantize nodes. int8_convolutions: of all ``convolutions``, those with INT8 inputs; the
    others are in squeeze-excite, or left in FP32 on purpose.
    """

    quantizers: int
    int8_convolutions: int
    convolutions: int


def stratified(samples: Iterable[Sample], seed: int) -> list[Sample]:
    """All samples, ordered so that any first n are as even over classes, and sources within each, as can be.

    Depends on the seed and the image ids, not on the order given.
    """
    ordered = sorted(samples, key=lambda sample: sample.image_id)
    strata: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for position in np.random.default_rng(seed).permutation(len(ordered)):
        sample = ordered[position]
        strata[sample.label][sample.source].append(sample)
    return _interleave([_interleave([by[s] for s in sorted(by)]) for _, by in sorted(strata.items())])


def require_images(available: int, asked: int) -> None:
    """Raise SettingError when there are fewer training images than calibration asks for."""
    if not 1 <= asked <= available:
        raise SettingError(
            f"{asked} calibration images asked for, {available} training images there: add some, "
            "or say how many with --calibration-images"
        )


def convolutions(model: Model) -> list[Any]:
    """The model's convolution nodes, from input to output."""
    kinds = ("Convolution", "GroupConvolution")
    return [node for node in model.get_ordered_ops() if node.get_type_name() in kinds]


def left_in_fp32(model: Model, first: int = FIRST_IN_FP32) -> list[str]:
    """Names of the nodes that stay in FP32: the first so many spatial convolutions, and squeeze-excite with
    its averages, convolutions and scalings.

    All of it by name: NNCF leaves the convolutions alone by a pattern that another spelling of the average,
    or a bias that is zero, escapes, and quantizes the averages and scalings.
    """
    spatial = [node for node in convolutions(model) if _height(node) > 1][:first]
    squeezed = [node for node in convolutions(model) if _height(node) == 1]
    kinds = ("Multiply", "ReduceMean", "AvgPool")
    scalings = [node for node in model.get_ordered_ops() if node.get_type_name() in kinds]
    return [node.get_friendly_name() for node in (*spatial, *squeezed, *scalings)]


def count_quantized(model: Model) -> Counts:
    """Look into an INT8 model: a pattern that an export escapes shows here."""
    nodes = convolutions(model)
    quantized = sum(map(_is_int8, nodes))
    quantizers = sum(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    return Counts(quantizers, quantized, len(nodes))


def settings(images: int) -> dict[str, Any]:
    """What every rung asks of NNCF: mixed preset, histogram activation ranges, over ``images`` images."""
    ranges = RangeEstimatorParametersSet.HISTOGRAM
    return {
        "subset_size": images,
        "preset": nncf.QuantizationPreset.MIXED,
        "advanced_parameters": nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=ranges,
            # Without VNNI, sums of full-range INT8 products saturate: as AVX2 the RMS logit error was .155
            # against .117 with VNNI, and cancers were lost; in half range it is the same on both.
            overflow_fix=nncf.OverflowFix.ENABLE,
        ),
    }


def quantize(
    model: Model, images: Images, ignored: Sequence[str], fast: bool = True, measuring: bool = False
) -> Model:
    """Post-training quantization, mixed preset, histogram activation ranges; the model given stays as it is.

    images: uint8 (n, s, s, 3). ignored: names of nodes that stay in FP32. fast: fast bias correction, else
    full. measuring: no bias correction, and quantizers on the weights that can be taken off again.
    """
    chosen = settings(len(images))
    if measuring:
        chosen["advanced_parameters"].disable_bias_correction = True
        chosen["advanced_parameters"].backend_params = {BackendParameters.COMPRESS_WEIGHTS: False}
    scope = nncf.IgnoredScope(names=list(ignored))
    return nncf.quantize(model, _dataset(images), ignored_scope=scope, fast_bias_correction=fast, **chosen)


def store_weights_as_int8(model: Model, ignored: Sequence[str]) -> Model:
    """Store what computes in FP32 with INT8 weights, a scale a channel: for the file, not for the speed.

    Squeeze-excite is a quarter of the file otherwise, and OpenVINO does not store a quantized model's
    other weights as FP16. ignored: of it, spatial convolutions keep their weights as they are.
    """
    spatial = {node.get_friendly_name() for node in convolutions(model) if _height(node) > 1}
    scope = nncf.IgnoredScope(names=[name for name in ignored if name in spatial])
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=scope)


def sensitive_convolutions(model: Model, images: Images, ignored: Sequence[str]) -> list[str]:
    """Measure each convolution's part in the error and name the worst, together SENSITIVE_SHARE of it.

    Its part is the mean squared logit error over ``images`` (n, s, s, 3) when it alone is quantized. The
    other way round, one convolution put back at a time, measures little: errors of layers amplify and cancel
    each other.
    """
    reference = _logits(model, images)
    quantized = quantize(model, images, ignored, measuring=True)
    names = [node.get_friendly_name() for node in convolutions(quantized) if _is_int8(node)]
    if not names:
        return []
    alone = np.stack([_logits(_quantized_alone(quantized, name), images) for name in names])
    parts = ((alone - reference) ** 2).mean(axis=(1, 2))
    if not parts.sum() > 0:
        return []
    worst = np.argsort(-parts)
    reached = np.cumsum(parts[worst])
    count = np.searchsorted(reached, SENSITIVE_SHARE * reached[-1]) + 1
    return [names[position] for position in worst[:count]]


def quantize_with_accuracy_control(
    model: Model, images: Images, ignored: Sequence[str], cancers: Images, p_cancer: PCancer
) -> Model:
    """NNCF's accuracy control on soft cancer recall: layers go back to FP32 until it is kept.

    The measure is the mean of min(P(cancer) INT8, P(cancer) FP32) over pictures of cancers (n, s, s, 3): the
    soft recall of FP32 (its mean P(cancer)) as far as INT8 keeps it, so that no gain on one lesion pays for a
    loss on another. Each picture has a value of its own, which NNCF needs to rank the layers.
    p_cancer: from logits (n, C) to (n,).
    """
    reference = p_cancer(_logits(model, cancers))

    def kept_recall(compiled: Any, positions: Iterable[int]) -> tuple[float, list[float]]:
        where = list(positions)
        logits = np.concatenate([compiled(cancers[i][None])["logits"] for i in where])
        kept = np.minimum(p_cancer(logits), reference[where])
        return float(kept.mean()), kept.tolist()

    chosen = settings(len(images))
    return nncf.quantize_with_accuracy_control(
        model,
        _dataset(images),
        nncf.Dataset(range(len(cancers)), lambda position: cancers[position][None]),
        validation_fn=kept_recall,
        max_drop=MAX_CANCER_RECALL_DROP,
        ignored_scope=nncf.IgnoredScope(names=list(ignored)),
        fast_bias_correction=False,
        advanced_quantization_parameters=chosen.pop("advanced_parameters"),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=MOST_REVERTED, ranking_subset_size=len(cancers)
        ),
        **chosen,
    )


def _dataset(images: Images) -> nncf.Dataset:
    return nncf.Dataset(images, lambda image: image[None])


def _interleave(groups: Sequence[Sequence[T]]) -> list[T]:
    """The first of every group, then the second of every group that has one, and so on."""
    return [item for turn in zip_longest(*groups) for item in turn if item is not None]


def _logits(model: Model, images: Images) -> npt.NDArray[np.float32]:
    # The precision and the threads of edgeskin.network.engine.
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": available_threads()}
    compiled = openvino.compile_model(model, "CPU", options)
    return np.concatenate([compiled(image[None])["logits"] for image in images])


def _quantized_alone(model: Model, name: str) -> Model:
    """A copy in which every node but the named one reads past the quantizers."""
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
