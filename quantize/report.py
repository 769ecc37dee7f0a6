"""Reports: of the gate, as Markdown and as a table for the terminal, and of the performance on validation."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from edgeskin.bundle.manifest import DecisionRules
from quantize.export import MAX_LOGIT_DIFFERENCE, Parity
from quantize.fitting.calibration import CalibrationScores
from quantize.fitting.labels import Logits
from quantize.gate import Comparison
from quantize.recipes import Attempt
from train.data.table import Sample
from train.evaluate.bootstrap import Estimate
from train.evaluate.measures import measure

VNNI = "AVX512_CORE_VNNI"


@dataclass(frozen=True)
class GateReport:
    """The search for an INT8 network that passes the gate; its fields are keys of the JSON.

    Attributes:
        passed: Whether the last attempt passed.
        images: Number of validation images.
        groups: Number of their lesions, or patients where the table has patients.
        calibration_images: Number of training images that fix the INT8 ranges.
        instruction_sets: Instruction sets that the gate runs on this CPU.
        parity: Parity of the exported FP32 network.
        fp32: Rules of the FP32 network, whose weights are stored as FP16.
        attempts: All attempts, in order.
    """

    passed: bool
    images: int
    groups: int
    calibration_images: int
    instruction_sets: tuple[str, ...]
    parity: Parity
    fp32: DecisionRules
    attempts: tuple[Attempt, ...]

    def without_lesion_scores(self) -> "GateReport":
        """Drop the lesion scores of all rules, which make up most of the report."""
        attempts = (
            dataclasses.replace(attempt, rules=dataclasses.replace(attempt.rules, lesion_scores=None))
            for attempt in self.attempts
        )
        fp32 = dataclasses.replace(self.fp32, lesion_scores=None)
        return dataclasses.replace(self, fp32=fp32, attempts=tuple(attempts))


@dataclass(frozen=True)
class ValidationReport:
    """The performance of one precision on validation, by image; its fields are keys of the manifest.

    Attributes:
        images: Number of images.
        lesions: Number of lesions.
        cancer_auroc: AUROC of P(cancer).
        cancer_recall: Recall of cancer at the screening threshold.
        cancer_specificity: Specificity of cancer at the screening threshold.
        balanced_accuracy: Of the decided class.
        class_recall: Recall of each class.
        calibrations: Scores of the calibration methods, cross-fitted.
    """

    images: int
    lesions: int
    cancer_auroc: Estimate
    cancer_recall: Estimate
    cancer_specificity: Estimate
    balanced_accuracy: Estimate
    class_recall: Mapping[str, Estimate]
    calibrations: Mapping[str, CalibrationScores]


def validate(
    samples: Sequence[Sample],
    logits: Logits,
    rules: DecisionRules,
    calibrations: Mapping[str, CalibrationScores],
) -> ValidationReport:
    """Measure one precision on validation, with 95% lesion-bootstrap intervals.

    Args:
        samples: The n validation images.
        logits: Logits, (n, C).
        rules: Rules of the precision.
        calibrations: Scores of the calibration methods.
    """
    measures = measure(samples, logits, rules)
    return ValidationReport(
        images=measures.images,
        lesions=measures.lesions,
        cancer_auroc=measures.cancer_auroc,
        cancer_recall=measures.screening.recall,
        cancer_specificity=measures.screening.specificity,
        balanced_accuracy=measures.balanced_accuracy,
        class_recall={name: one.recall for name, one in measures.classes.items()},
        calibrations=calibrations,
    )


def markdown(report: GateReport) -> str:
    """Render the whole gate report."""
    parity = report.parity
    without_vnni = "" if VNNI in report.instruction_sets else " (this CPU has no AVX-512 VNNI)"
    parts = [
        f"# INT8 against FP32: {_verdict(report.passed)}",
        f"The gate compares INT8 with FP32 on {report.images} validation images of {report.groups} lesions "
        "(patients, where known). Each precision has its own screening threshold. The INT8 ranges come from "
        f"{report.calibration_images} training images. Instruction sets: "
        f"{', '.join(report.instruction_sets)}{without_vnni}. Intervals are 95% intervals of a paired lesion "
        "bootstrap. Research software, not a medical device.",
        f"The export was checked on {parity.images} validation images. The largest logit difference from "
        f"torch is {parity.onnx:.2g} in ONNX and {parity.fp32_ir:.2g} in the FP32 IR (limit "
        f"{MAX_LOGIT_DIFFERENCE}); no image gets another class. Storing the FP32 weights as FP16 changes a "
        f"logit by up to {parity.fp16_storage:.2g} and gives {parity.other_class_fp16_storage} of the images "
        "another class. The FP32 figures below include that.",
        *(_section(number, attempt, report.fp32) for number, attempt in enumerate(report.attempts, 1)),
    ]
    return "\n\n".join(parts) + "\n"


def checks_table(attempt: Attempt) -> Table:
    """Render the checks of an attempt for a terminal."""
    sets = [comparison.isa for comparison in attempt.comparisons]
    table = Table("check", "limit", *sets, title=f"{attempt.name}: {_verdict(attempt.passed)}")
    for checks in zip(*(comparison.checks for comparison in attempt.comparisons), strict=True):
        cells = [f"[{'green' if check.passed else 'red'}]{check.value:.4f}" for check in checks]
        table.add_row(checks[0].name, f"{checks[0].limit:.4f}", *cells)
    return table


def _section(number: int, attempt: Attempt, fp32: DecisionRules) -> str:
    counts, threshold = attempt.counts, attempt.rules.operating_points[0].threshold
    sets = [comparison.isa for comparison in attempt.comparisons]
    parts = [
        f"## {number}. {attempt.name}: {_verdict(attempt.passed)}",
        f"{counts.int8_convolutions} of {counts.convolutions} convolutions in INT8, {counts.quantizers} "
        f"quantizers, {attempt.bytes / 1e6:.2f} MB. Screening threshold {threshold} "
        f"(FP32: {fp32.operating_points[0].threshold}), both calibrated by {fp32.calibration.method}.\n"
        f"Settings: {attempt.settings}.",
        _table(["check (drop: FP32 minus INT8)", "limit", *sets], _checks(attempt.comparisons)),
        _table(["figure", "FP32", *(f"INT8 {isa}" for isa in sets)], _figures(attempt.comparisons)),
        *(_changed_referrals(comparison) for comparison in attempt.comparisons),
    ]
    return "\n\n".join(parts)


def _checks(comparisons: Sequence[Comparison]) -> Iterable[list[str]]:
    for checks in zip(*(comparison.checks for comparison in comparisons), strict=True):
        cells = [f"{check.value:.4f}" if check.passed else f"**{check.value:.4f} fails**" for check in checks]
        yield [checks[0].name, f"{checks[0].limit:.4f}", *cells]


def _figures(comparisons: Sequence[Comparison]) -> Iterable[list[str]]:
    fp32, int8 = comparisons[0].fp32, [comparison.int8 for comparison in comparisons]
    yield ["cancer recall", f"{fp32.recall:.4f}", *(f"{one.recall:.4f}" for one in int8)]
    yield ["cancer specificity", f"{fp32.specificity:.4f}", *(f"{one.specificity:.4f}" for one in int8)]
    yield ["cancer AUROC", f"{fp32.auroc:.4f}", *(f"{one.auroc:.4f}" for one in int8)]
    yield ["accuracy", f"{fp32.accuracy:.4f}", *(f"{one.accuracy:.4f}" for one in int8)]
    for name, value in fp32.class_recall.items():
        yield [f"{name} recall", f"{value:.4f}", *(f"{one.class_recall[name]:.4f}" for one in int8)]
    yield ["change of cancer recall", "", *(_interval(c.recall_change) for c in comparisons)]
    yield ["change of cancer specificity", "", *(_interval(c.specificity_change) for c in comparisons)]
    yield ["change of cancer AUROC", "", *(_interval(c.auroc_change) for c in comparisons)]
    yield ["McNemar exact p, cancers", "", *(f"{c.mcnemar_recall:.3g}" for c in comparisons)]
    yield ["McNemar exact p, benign", "", *(f"{c.mcnemar_specificity:.3g}" for c in comparisons)]
    yield [
        "change of P(cancer): median, 99%, 99.9%, max",
        "",
        *(
            f"{shift.median:.4f}, {shift.p99:.3f}, {shift.p999:.3f}, {shift.max:.3f}"
            for shift in (comparison.shift for comparison in comparisons)
        ),
    ]
    yield ["RMS change of the logits", "", *(f"{c.logit_rmse:.3f}" for c in comparisons)]


def _changed_referrals(comparison: Comparison) -> str:
    lost, gained = (", ".join(ids) or "none" for ids in (comparison.lost, comparison.gained))
    return (
        f"Cancers that FP32 refers and INT8 ({comparison.isa}) does not, {len(comparison.lost)}: {lost}. "
        f"Cancers that INT8 alone refers, {len(comparison.gained)}: {gained}."
    )


def _interval(change: Estimate) -> str:
    return f"{change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _verdict(passed: bool) -> str:
    return "passed" if passed else "failed"
