"""Recipes for INT8, cheapest first. The search takes the first that passes the gate."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nncf
import openvino

from edgeskin.arrays import Float64s
from edgeskin.bundle.manifest import DecisionRules
from quantize import ptq, qat
from quantize.fitting.decision_rules import fit_decision_rules
from quantize.fitting.labels import Labels, Logits
from quantize.gate import Comparison, compare
from quantize.inference import CONSOLE, Images, instruction_sets, predict
from train.config import TrainConfig
from train.data.table import Sample
from train.evaluate.outputs import Outputs
from train.models.lesion_net import ServedNet

INT8 = "int8.xml"
SENSITIVITY_IMAGES = 64
"""Calibration images on which the error of single convolutions is measured."""


@dataclass(frozen=True)
class QuantizationInputs:
    """What the recipes and the gate work with.

    Attributes:
        config: Settings of the run.
        seed: Seed of the choice of images and of fine-tuning.
        served: The FP32 network in torch.
        fp32: The FP32 network in OpenVINO.
        train: All training images.
        calibration: Training images that fix the INT8 ranges, uint8 RGB (n, s, s, 3).
        cancers: Training images of cancers, others than for calibration where there are enough, uint8 RGB
            (m, s, s, 3).
        validation: An .npy file of the validation images.
        labels: Labels of the validation images.
        outputs: Outputs of FP32 on the validation images.
        rules: Rules of FP32.
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
    rules: DecisionRules


@dataclass(frozen=True)
class Attempt:
    """A recipe and what the gate found.

    Attributes:
        name: Name of the recipe.
        settings: What the recipe chose.
        counts: What was quantized.
        bytes: Size of int8.xml and int8.bin together.
        rules: Rules of the INT8 network, fitted to its own outputs.
        comparisons: One for each instruction set, native first, up to the first that fails.
        passed: Whether all comparisons pass.
    """

    name: str
    settings: str
    counts: ptq.Counts
    bytes: int
    rules: DecisionRules
    comparisons: tuple[Comparison, ...]
    passed: bool

    @property
    def failed_checks(self) -> list[str]:
        """Names of the checks that fail."""
        return [
            check.name for comparison in self.comparisons for check in comparison.checks if not check.passed
        ]


Recipe = Callable[[QuantizationInputs], tuple[openvino.Model, str]]
"""Makes an INT8 model, and describes its settings."""


def search(inputs: QuantizationInputs, folder: Path) -> Iterator[tuple[Attempt, Outputs]]:
    """Try the recipes until one passes the gate.

    Args:
        inputs: What the recipes work with.
        folder: Where the INT8 network of the current attempt is written, as ``int8.xml``.

    Yields:
        Each attempt, and the native outputs of its network on the validation images.
    """
    # NNCF would warn once a layer of choices that are made on purpose.
    nncf.set_log_level(logging.ERROR)
    for name, recipe in RECIPES.items():
        CONSOLE.print(f"trying {name}")
        with redirect_stdout(sys.stderr):  # NNCF writes its progress to stdout
            model, settings = recipe(inputs)
        openvino.save_model(model, folder / INT8)
        attempt, outputs = evaluate(name, settings, model, folder / INT8, inputs)
        yield attempt, outputs
        if attempt.passed:
            return


def evaluate(
    name: str, settings: str, model: openvino.Model, xml: Path, inputs: QuantizationInputs
) -> tuple[Attempt, Outputs]:
    """Run the gate on an INT8 network, with one instruction set after the other while it passes.

    Args:
        name: Name of the recipe.
        settings: What the recipe chose.
        model: The INT8 model.
        xml: Its file.
        inputs: What the gate works with.

    Returns:
        The attempt, and the native outputs on the validation images.
    """
    native, *older = instruction_sets()
    views = inputs.config.preprocessing.views
    outputs = predict(xml, inputs.validation, native, views)
    # Older instruction sets round otherwise, and are compared with the rules that the bundle will hold.
    rules = fit_decision_rules(outputs, inputs.labels, inputs.rules.calibration.method)
    fp32 = (inputs.outputs.view_logits, inputs.rules)
    comparisons = [compare(native, inputs.labels, fp32, (outputs.view_logits, rules))]
    for isa in older:
        if comparisons[-1].passed:
            view_logits = predict(xml, inputs.validation, isa, views).view_logits
            comparisons.append(compare(isa, inputs.labels, fp32, (view_logits, rules)))
    size = xml.stat().st_size + xml.with_suffix(".bin").stat().st_size
    passed = all(comparison.passed for comparison in comparisons)
    counts = ptq.count_quantized(model)
    return Attempt(name, settings, counts, size, rules, tuple(comparisons), passed), outputs


def _histogram(
    inputs: QuantizationInputs, first_in_fp32: int = ptq.FIRST_IN_FP32
) -> tuple[openvino.Model, str]:
    ignored = ptq.left_in_fp32(inputs.fp32, first_in_fp32)
    model = ptq.quantize(inputs.fp32, inputs.calibration, ignored)
    return ptq.store_weights_as_int8(model, ignored), f"fast bias correction; {_in_fp32(ignored)}"


def _sensitivity(inputs: QuantizationInputs) -> tuple[openvino.Model, str]:
    ignored = ptq.left_in_fp32(inputs.fp32)
    ignored += ptq.sensitive_convolutions(inputs.fp32, inputs.calibration[:SENSITIVITY_IMAGES], ignored)
    model = ptq.quantize(inputs.fp32, inputs.calibration, ignored, fast=False)
    return ptq.store_weights_as_int8(model, ignored), f"full bias correction; {_in_fp32(ignored)}"


def _accuracy_control(inputs: QuantizationInputs) -> tuple[openvino.Model, str]:
    def p_cancer(logits: Logits) -> Float64s:
        return inputs.labels.p_cancer(logits, inputs.rules.calibration)

    ignored = ptq.left_in_fp32(inputs.fp32)
    model = ptq.quantize_with_accuracy_control(
        inputs.fp32, inputs.calibration, ignored, inputs.cancers, p_cancer
    )
    settings = f"full bias correction; accuracy control on {len(inputs.cancers)} cancers; {_in_fp32(ignored)}"
    return ptq.store_weights_as_int8(model, ignored), settings


def _fine_tuning(inputs: QuantizationInputs) -> tuple[openvino.Model, str]:
    options = qat.FineTuning()
    model = qat.fine_tune(
        inputs.served, inputs.calibration, inputs.train, inputs.config, inputs.seed, options
    )
    ignored = ptq.left_in_fp32(model)
    return ptq.store_weights_as_int8(model, ignored), f"{options}; {_in_fp32(ignored)}"


def _in_fp32(names: Sequence[str]) -> str:
    return f"left in FP32: {', '.join(names)}"


RECIPES: Mapping[str, Recipe] = {
    "post-training, histogram ranges": _histogram,
    "post-training, more convolutions in FP32": partial(_histogram, first_in_fp32=ptq.FIRST_IN_FP32_WIDER),
    "post-training, sensitive layers in FP32": _sensitivity,
    "accuracy control on cancer recall": _accuracy_control,
    "quantization-aware fine-tuning": _fine_tuning,
}
