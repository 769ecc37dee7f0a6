"""A run as text: how far it is, what came of it, and how it compares with labels."""

from collections.abc import Iterable, Mapping

from edgeskin.batch.evaluation import Estimate, Evaluation
from edgeskin.batch.runner import Summary
from edgeskin.report.text import printable
from edgeskin.results import RISKS


def progress_text(done: int, total: int | None, computed: int, seconds: float) -> str:
    """How far a run is, its rate, and the time left.

    Args:
        done: Pictures done.
        total: All pictures; None if unknown, as with names on standard input.
        computed: Pictures of those done that this run assessed.
        seconds: That this took.
    """
    parts = [count(done, "picture") if total is None else f"{done:,} of {count(total, 'picture')}"]
    if computed and seconds > 0:
        rate = computed / seconds
        parts.append(f"{rate:.1f}/s")
        if total is not None:
            parts.append(f"{duration(max(0, total - done) / rate)} left")
    return ", ".join(parts)


def count(number: int, thing: str) -> str:
    """A number of things, such as ``1 picture`` and ``2,000 pictures``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def duration(seconds: float) -> str:
    """A time in at most two units, such as ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def summary_text(summary: Summary) -> str:
    """What came of a run, in a few lines."""
    errors = f" ({_counts(summary.errors.most_common())})" if summary.errors else ""
    statuses = (
        f"{number:,} {status}{errors if status == 'error' else ''}"
        for status, number in summary.statuses.most_common()
    )
    risks = [(risk, summary.risks[risk]) for risk in reversed(RISKS)]
    lines = [f"{count(summary.pictures, 'picture')}: {', '.join(statuses)}"]
    if summary.risks:
        lines.append(f"risk: {_counts(risks)}")
    rate = f" ({summary.computed / summary.seconds:.1f} pictures/s)" if summary.computed else ""
    lines.append(f"{summary.computed:,} processed by this run in {duration(summary.seconds)}{rate}")
    return "\n".join(lines)


def evaluation_text(evaluation: Evaluation) -> str:
    """Measures of labelled pictures as a table, with what they leave out."""
    of = evaluation
    rows: Mapping[str, Estimate | None] = {
        "cancer sensitivity": of.sensitivity,
        "specificity": of.specificity,
        "AUROC": of.auroc,
    }
    assessed = of.cancers + of.benign
    lines = [f"{count(of.labelled, 'picture')} with a known label; {assessed:,} assessed"]
    lines += [f"  {name:<20}{_estimate(one)}" for name, one in rows.items()]
    lines += [
        f"  {'cancers':<20}{of.cancers - of.missed:,} found, {of.missed:,} missed (LOW)",
        f"  {'benign':<20}{of.benign - of.referred:,} LOW, {of.referred:,} referred",
    ]
    if of.unassessed_cancers or of.unassessed_benign:
        lines.append(
            "  not counted above, as they were not assessed: "
            f"{count(of.unassessed_cancers, 'cancer')}, {of.unassessed_benign:,} benign"
        )
    if of.unknown:
        unknown = _counts((printable(label), number) for label, number in sorted(of.unknown.items()))
        lines.append(f"  left out, not a class of the network: {unknown}")
    lines.append("  by image; with several images of a lesion, the intervals are too narrow")
    return "\n".join(lines)


def _estimate(one: Estimate | None) -> str:
    if one is None:
        return "-"
    return f"{one.value:.3f} (95% interval {one.low:.3f} to {one.high:.3f}, {count(one.images, 'image')})"


def _counts(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in pairs)
