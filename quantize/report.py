"""The gate's report: Markdown for people, a table for the terminal; as JSON it is the dataclass itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

from edgeskin.bundle.manifest import Variant
from quantize.export import MAX_LOGIT_DIFFERENCE, Parity
from quantize.gate import Comparison
from quantize.recipes import Rung
from train.evaluate.metrics import Estimate


@dataclass(frozen=True)
class Report:
    """What was tried and how it went.

    images, groups: of the validation split that judged; groups are lesions, patients where known.
    calibration_images: training images that fixed the INT8 ranges. instruction_sets: what this CPU can be
    judged with. fp32: calibration of the FP32 network, its weights stored as FP16.
    """

    passed: bool
    images: int
    groups: int
    calibration_images: int
    instruction_sets: tuple[str, ...]
    parity: Parity
    fp32: Variant
    rungs: tuple[Rung, ...]


def markdown(report: Report) -> str:
    """The whole report."""
    parity = report.parity
    no_vnni = "" if "AVX512_CORE_VNNI" in report.instruction_sets else " (AVX-512 VNNI: not on this CPU)"
    parts = [
        f"# INT8 against FP32: {_verdict(report.passed)}",
        f"Judged on {report.images} validation images of {report.groups} lesions (patients, where known), "
        "each precision at its own screening threshold; INT8 ranges from "
        f"{report.calibration_images} training images. Instruction sets: "
        f"{', '.join(report.instruction_sets)}{no_vnni}. Intervals: 95 %, paired lesion bootstrap. "
        "Research software, not a medical device.",
        f"Conversion, on {parity.images} validation images: the largest logit difference from torch is "
        f"{parity.onnx:.2g} in ONNX and {parity.fp32_ir:.2g} in the FP32 IR (limit {MAX_LOGIT_DIFFERENCE}), "
        "with the same class everywhere. Storing the FP32 weights as FP16 then moves a logit by up to "
        f"{parity.fp16_storage:.2g} and gives {parity.other_class_fp16_storage} images another class; the "
        "FP32 figures below include that.",
        *(_section(number, rung, report.fp32) for number, rung in enumerate(report.rungs, 1)),
    ]
    return "\n\n".join(parts) + "\n"


def table(rung: Rung) -> Table:
    """The checks of a rung, for a terminal."""
    sets = [comparison.isa for comparison in rung.comparisons]
    drawn = Table("check", "limit", *sets, title=f"{rung.name}: {_verdict(rung.passed)}")
    for checks in zip(*(comparison.checks for comparison in rung.comparisons), strict=True):
        cells = [f"[{'green' if check.passed else 'red'}]{check.value:.4f}" for check in checks]
        drawn.add_row(checks[0].name, f"{checks[0].limit:.4f}", *cells)
    return drawn


def _section(number: int, rung: Rung, fp32: Variant) -> str:
    counts, screen = rung.counts, rung.variant.operating_points[0]
    reference = fp32.operating_points[0]
    sets = [comparison.isa for comparison in rung.comparisons]
    parts = [
        f"## {number}. {rung.name}: {_verdict(rung.passed)}",
        f"{counts.int8_convolutions} of {counts.convolutions} convolutions in INT8, {counts.quantizers} "
        f"quantizers, {rung.bytes / 1e6:.2f} MB. Screening threshold {screen.threshold} "
        f"(FP32: {reference.threshold}), both calibrated by {fp32.calibration.method}.\n"
        f"Settings: {rung.settings}.",
        _table(["check (drop: FP32 minus INT8)", "limit", *sets], _checks(rung.comparisons)),
        _table(["figure", "FP32", *(f"INT8 {isa}" for isa in sets)], _figures(rung.comparisons)),
        *(_flips(comparison) for comparison in rung.comparisons),
    ]
    return "\n\n".join(parts)


def _checks(comparisons: Sequence[Comparison]) -> Iterable[list[str]]:
    for checks in zip(*(comparison.checks for comparison in comparisons), strict=True):
        cells = [f"{check.value:.4f}" if check.passed else f"**{check.value:.4f} fails**" for check in checks]
        yield [checks[0].name, f"{checks[0].limit:.4f}", *cells]


def _figures(comparisons: Sequence[Comparison]) -> Iterable[list[str]]:
    def row(name: str, before: str, *after: str) -> list[str]:
        return [name, before, *after]

    fp32 = comparisons[0].fp32
    for name, label in (
        ("recall", "cancer recall"),
        ("specificity", "cancer specificity"),
        ("auroc", "cancer AUROC"),
        ("accuracy", "accuracy"),
    ):
        yield row(label, f"{getattr(fp32, name):.4f}", *(f"{getattr(c.int8, name):.4f}" for c in comparisons))
    for name, value in fp32.class_recall.items():
        after = (f"{c.int8.class_recall[name]:.4f}" for c in comparisons)
        yield row(f"{name} recall", f"{value:.4f}", *after)
    yield row("change of cancer recall", "", *(_interval(c.recall_change) for c in comparisons))
    yield row("change of cancer specificity", "", *(_interval(c.specificity_change) for c in comparisons))
    yield row("change of cancer AUROC", "", *(_interval(c.auroc_change) for c in comparisons))
    yield row("McNemar exact p, cancers", "", *(f"{c.mcnemar_recall:.3g}" for c in comparisons))
    yield row("McNemar exact p, benign", "", *(f"{c.mcnemar_specificity:.3g}" for c in comparisons))
    shifts = [c.shift for c in comparisons]
    yield row(
        "change of P(cancer): median, 99 %, 99.9 %, max",
        "",
        *(f"{s.median:.4f}, {s.p99:.3f}, {s.p999:.3f}, {s.max:.3f}" for s in shifts),
    )
    yield row("RMS change of the logits", "", *(f"{c.logit_rmse:.3f}" for c in comparisons))


def _flips(comparison: Comparison) -> str:
    lost, gained = (", ".join(ids) or "none" for ids in (comparison.lost, comparison.gained))
    return (
        f"Cancers found by FP32 and lost by INT8 ({comparison.isa}), {len(comparison.lost)}: {lost}. "
        f"Found by INT8 alone, {len(comparison.gained)}: {gained}."
    )


def _interval(change: Estimate) -> str:
    return f"{change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _verdict(passed: bool) -> str:
    return "passed" if passed else "failed"
