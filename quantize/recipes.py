"""Ways to INT8, cheapest first; the first that passes the gate is taken."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nncf
import numpy as np
import numpy.typing as npt
import openvino

from edgeskin.bundle.manifest import Variant
from quantize import ptq, qat
from quantize.fitting.rules import Labels, fit_variant
from quantize.gate import Comparison, compare
from quantize.inference import CONSOLE, Images, instruction_sets, predict
from train.config import TrainConfig
from train.data.table import Sample
from train.evaluate.outputs import Floats, Outputs
from train.models.lesion_net import ServedNet

SENSITIVITY_IMAGES = 64


@dataclass(frozen=True)
class Material:
    """What the rungs work with.

    served, fp32: the network in torch and in OpenVINO. calibration, cancers: training images, uint8
    (n, s, s, 3), the second of cancers that do not calibrate. validation: .npy of the images that judge, in
    the order of ``labels``. outputs, variant: what FP32 says of them, and what is fitted to it.
    """

    config: TrainConfig
    seed: int
    served: ServedNet
    fp32: openvino.Model
    train: Sequence[Sample]
    calibration: Images
    cancers: Images
    validation: Path
    labels: Labels
    outputs: Outputs
    variant: Variant


@dataclass(frozen=True)
class Rung:
    """One way tried. bytes: of int8.xml and int8.bin. variant: the calibration of its own outputs.

    comparisons: by instruction set, native first, up to the first that does not pass.
    """

    name: str
    settings: str
    counts: ptq.Counts
    bytes: int
    variant: Variant
    comparisons: tuple[Comparison, ...]
    passed: bool


def climb(material: Material, folder: Path) -> Iterator[tuple[Rung, Outputs]]:
    """Quantize, judge and yield until a rung passes; the last one's network is ``int8.xml`` in the folder.

    With each rung comes what it says of validation, by the native instructions.
    """
    # Its warnings are about choices made here on purpose, one a layer.
    nncf.set_log_level(logging.ERROR)
    for name, make in RUNGS.items():
        CONSOLE.print(f"trying {name}")
        with redirect_stdout(sys.stderr):  # NNCF writes its progress to stdout
            model, settings = make(material)
        openvino.save_model(model, folder / "int8.xml")
        rung, outputs = judge(name, settings, model, folder / "int8.xml", material)
        yield rung, outputs
        if rung.passed:
            return


def judge(
    name: str, settings: str, model: openvino.Model, xml: Path, material: Material
) -> tuple[Rung, Outputs]:
    """Run the gate on a stored INT8 network, with one instruction set after the other while it passes."""
    native, *older = instruction_sets()
    views = material.config.preprocessing.views
    outputs = predict(xml, material.validation, native, views)
    # Older instructions round otherwise, but the calibration that ships is this one.
    variant = fit_variant(outputs, material.labels, material.variant.calibration.method)
    fp32 = (material.outputs.logits, material.variant)
    comparisons = [compare(native, material.labels, fp32, (outputs.logits, variant))]
    for isa in older:
        if comparisons[-1].passed:
            others = predict(xml, material.validation, isa, views)
            comparisons.append(compare(isa, material.labels, fp32, (others.logits, variant)))
    size = xml.stat().st_size + xml.with_suffix(".bin").stat().st_size
    passed = all(comparison.passed for comparison in comparisons)
    counts = ptq.count_quantized(model)
    return Rung(name, settings, counts, size, variant, tuple(comparisons), passed), outputs


def _histogram(material: Material, first_in_fp32: int = ptq.FIRST_IN_FP32) -> tuple[openvino.Model, str]:
    left = ptq.left_in_fp32(material.fp32, first_in_fp32)
    model = ptq.quantize(material.fp32, material.calibration, left)
    return ptq.store_weights_as_int8(model, left), f"fast bias correction; {_in_fp32(left)}"


def _sensitivity(material: Material) -> tuple[openvino.Model, str]:
    left = ptq.left_in_fp32(material.fp32)
    some = material.calibration[:SENSITIVITY_IMAGES]
    left = left + ptq.sensitive_convolutions(material.fp32, some, left)
    model = ptq.quantize(material.fp32, material.calibration, left, fast=False)
    return ptq.store_weights_as_int8(model, left), f"full bias correction; {_in_fp32(left)}"


def _accuracy_control(material: Material) -> tuple[openvino.Model, str]:
    def p_cancer(logits: Floats) -> npt.NDArray[np.float64]:
        return material.labels.p_cancer(logits, material.variant.calibration)

    left = ptq.left_in_fp32(material.fp32)
    model = ptq.quantize_with_accuracy_control(
        material.fp32, material.calibration, left, material.cancers, p_cancer
    )
    settings = f"full bias correction; accuracy control on {len(material.cancers)} cancers; {_in_fp32(left)}"
    return ptq.store_weights_as_int8(model, left), settings


def _fine_tuning(material: Material) -> tuple[openvino.Model, str]:
    options = qat.FineTuning()
    model = qat.fine_tune(
        material.served, material.calibration, material.train, material.config, material.seed, options
    )
    left = ptq.left_in_fp32(model)
    return ptq.store_weights_as_int8(model, left), f"{options}; {_in_fp32(left)}"


def _in_fp32(names: Sequence[str]) -> str:
    return f"left in FP32: {', '.join(names)}"


RUNGS = {
    "post-training, histogram ranges": _histogram,
    "post-training, more convolutions in FP32": partial(_histogram, first_in_fp32=ptq.FIRST_IN_FP32_WIDER),
    "post-training, sensitive layers in FP32": _sensitivity,
    "accuracy control on cancer recall": _accuracy_control,
    "quantization-aware fine-tuning": _fine_tuning,
}
