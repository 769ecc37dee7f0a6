"""Ways to INT8, cheapest first; the first that passes the gate is taken."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
import sys
from pathlib import Path

import openvino

from edgeskin.bundle import Variant
from quantize import ptq, qat
from quantize.calibrate import Labels, fit_variant
from quantize.export import ServedNet
from quantize.gate import Comparison, compare
from quantize.inference import CONSOLE, NATIVE, Images, Logits, instruction_sets, predict
from train.config import TrainConfig
from train.data import Sample


@dataclass(frozen=True)
class Material:
    """What the rungs work with.

    served, fp32: the network in torch and in OpenVINO. calibration, cancers: training images, uint8
    (n, s, s, 3), the second of cancers that do not calibrate. validation: .npy of the images that judge, in the
    order of ``labels``; logits, variant: what FP32 says of them, and its calibration.
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
    logits: Logits
    variant: Variant


@dataclass(frozen=True)
class Rung:
    """One way tried. bytes: of int8.xml and int8.bin. variant: calibration of its own outputs.

    comparisons: by instruction set, native first; the others only where native passed.
    """

    name: str
    settings: str
    counts: ptq.Counts
    bytes: int
    variant: Variant
    comparisons: tuple[Comparison, ...]
    passed: bool


def climb(material: Material, folder: Path) -> Iterator[Rung]:
    """Quantize, judge and yield, rung by rung, until one passes; its IR is then ``int8.xml`` in the folder."""
    for name, make in RUNGS.items():
        CONSOLE.print(f"[bold]{name}")
        with redirect_stdout(sys.stderr):  # where NNCF's progress belongs
            model, settings = make(material)
        xml = folder / "int8.xml"
        openvino.save_model(model, xml)
        rung = judge(name, settings, model, xml, material)
        yield rung
        if rung.passed:
            return


def judge(name: str, settings: str, model: openvino.Model, xml: Path, material: Material) -> Rung:
    """Run the gate on a stored INT8 network, with each instruction set as long as it passes."""
    variant, comparisons = None, []
    for isa in instruction_sets():
        logits = predict(xml, material.validation, isa)
        # Older instructions round otherwise; the threshold that ships is the native one.
        variant = variant or fit_variant(logits, material.labels)
        fp32 = (material.logits, material.variant)
        comparisons.append(compare(isa, material.labels, fp32, (logits, variant)))
        if not comparisons[-1].passed:
            break
    size = xml.stat().st_size + xml.with_suffix(".bin").stat().st_size
    passed = all(comparison.passed for comparison in comparisons)
    return Rung(name, settings, ptq.count_quantized(model), size, variant, tuple(comparisons), passed)


def _histogram(material: Material) -> tuple[openvino.Model, str]:
    ignored = ptq.first_convolutions(material.fp32)
    model = ptq.quantize(material.fp32, material.calibration, ignored)
    return ptq.store_weights_as_int8(model, ignored), f"first {len(ignored)} convolutions in FP32"


def _sensitivity(material: Material) -> tuple[openvino.Model, str]:
    first = ptq.first_convolutions(material.fp32)
    worst = ptq.sensitive_convolutions(material.fp32, material.calibration, first)
    ignored = first + worst
    model = ptq.quantize(material.fp32, material.calibration, ignored, fast=False)
    return ptq.store_weights_as_int8(model, ignored), f"in FP32: {', '.join(ignored)}"


def _accuracy_control(material: Material) -> tuple[openvino.Model, str]:
    ...
NATIVE
