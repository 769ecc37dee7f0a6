"""Assessments, comparisons and bundles as text for a terminal."""

import textwrap
from collections.abc import Iterable
from math import floor

from edgeskin.bundle.bundle import Bundle
from edgeskin.imaging.change import LIMITS_OF, Comparison
from edgeskin.results import RISKS, AppliedPoint, Assessment, Confidence, Quality, Risk, Uncertainty
from edgeskin.taxonomy import full_name

WIDTH = 100
LABEL_WIDTH = 14
"""Columns before a line's text."""
SHOWN_CLASSES = 3
SAFETY_NET = "have any lesion examined that changes, bleeds, itches or worries you"
"""`edgeskin.results.SAFETY_NET` in one line."""
PHONE_PHOTOS = "phone photos"
"""What edgeskin is not for, although the scope gate hardly recognises it."""
MOST_LINES = 16
MOST_WARNINGS = 6
_DROPPED_FIRST = ("Classes", "Hint", "Picture", "Dropout", "Not for")
"""Rows that give way where an answer would be longer than MOST_LINES."""
_COLORS: dict[Risk, str] = {"HIGH": "\x1b[1;31m", "MEDIUM": "\x1b[1;33m", "LOW": "\x1b[1;32m"}
_RESET = "\x1b[0m"
_CONTROLS = (
    *range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)
)  # fmt: skip
"""C0, DEL and C1, line and paragraph separators, and the controls of text direction (Unicode, UAX #9)."""
_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in _CONTROLS}
_REFUSALS = {
    "retake": "NOT ASSESSED: the picture is not good enough",
    "out_of_scope": "NOT ASSESSED: not a kind of picture that can be assessed",
    "error": "NOT ASSESSED: the picture cannot be read",
}


def printable(text: str) -> str:
    """The text on one line, with backslash escapes for characters that a terminal would obey.

    File names may hold them; unescaped, they could erase lines, fake others, or turn text round.
    """
    return text.translate(_ESCAPES)


def render_text(assessment: Assessment, *, color: bool = False) -> str:
    """An assessment in at most 16 lines of 100 columns, the verdict first.

    Args:
        assessment: Of any status.
        color: Whether to colour the verdict by ANSI codes.
    """
    rows = _refused(assessment) if assessment.risk is None else _assessed(assessment)
    dropped = 0
    while len(labelled_lines(rows)) >= MOST_LINES and dropped < len(_DROPPED_FIRST):
        rows = [row for row in rows if row[0] != _DROPPED_FIRST[dropped]]
        dropped += 1
    first = f"{printable(assessment.image)}: {verdict(assessment, color=color)}"
    return "\n".join([first, *labelled_lines(rows)]) + "\n"


def verdict(assessment: Assessment, *, color: bool = False) -> str:
    """The verdict in a few words."""
    if assessment.risk is None:
        return _REFUSALS[assessment.status]
    text = f"{assessment.risk} RISK of cancer"
    return f"{_COLORS[assessment.risk]}{text}{_RESET}" if color else text


def warnings(assessment: Assessment) -> list[str]:
    """What the gates would have refused the picture for, had they not been switched off."""
    found, ood = [], assessment.ood
    if ood is not None and ood.score > ood.threshold:
        found.append(
            f"not dermoscopy as the network knows it (distance {ood.score:.1f}, limit {ood.threshold:.1f})"
        )
    return [*found, *(assessment.quality.retake if assessment.quality else ())]


def certified(point: AppliedPoint) -> str:
    """What the bound of a threshold means; empty without one."""
    if point.bound is None:
        return ""
    return (
        f"at least {floor(100 * point.bound.sensitivity)}% of cancers in dermoscopy score above "
        f"{point.threshold:.3f} ({point.bound.confidence:.0%} confidence, from {point.bound.lesions})"
    )


def plausible(assessment: Assessment) -> str:
    """The prediction set, and the most serious of several; empty without one."""
    if assessment.prediction_set is None or assessment.most_serious_label is None:
        return ""
    names = ", ".join(map(full_name, assessment.prediction_set))
    is_alone = len(assessment.prediction_set) == 1
    return names if is_alone else f"{names}; most serious: {full_name(assessment.most_serious_label)}"


def likeliest(assessment: Assessment) -> str:
    """The predicted class, and what the prediction is conditioned on."""
    assert assessment.predicted_class is not None
    name = full_name(assessment.predicted_class)
    if assessment.class_priors:
        return f"{name} would be the likeliest if all classes were equally common"
    return f"{name} is the likeliest"


def cancer_probability_text(assessment: Assessment) -> str:
    """P(cancer) beside its thresholds, and the share of cancers for which it is calibrated."""
    points = assessment.operating_points
    assert points is not None
    assert assessment.cancer_probability is not None
    first, last = points[0].threshold, points[-1].threshold
    urgently = f"refer urgently from {last:.3f}"
    thresholds = urgently if len(points) == 1 else f"refer from {first:.3f}, urgently from {last:.3f}"
    text = f"{assessment.cancer_probability:.3f}; {thresholds}"
    if assessment.prevalence is not None:
        text += f" (too high where under {assessment.prevalence:.0%} are cancers)"
    return text


def sampled(uncertainty: Uncertainty) -> str:
    """P(cancer) over the MC-dropout samples."""
    low, high = uncertainty.cancer_interval
    return f"P(cancer) {low:.3f} to {high:.3f} in 95% of {uncertainty.samples} networks sampled by dropout"


def _assessed(assessment: Assessment) -> list[tuple[str, str]]:
    points = assessment.operating_points
    assert points is not None
    assert assessment.cancer_probability is not None
    assert assessment.action is not None
    model, total = assessment.model, assessment.timing_ms["total"]
    refusable = warnings(assessment)
    if len(refusable) > MOST_WARNINGS:
        refusable = [*refusable[:MOST_WARNINGS], f"and {len(refusable) - MOST_WARNINGS} more"]
    rows = [
        ("Action", assessment.action),
        ("WARNING", "; ".join(refusable)),
        ("P(cancer)", cancer_probability_text(assessment)),
        # A picture that the gates would refuse is not like those that the threshold was certified on.
        ("Certified", "" if refusable else certified(points[0])),
        ("Confidence", _confidence(assessment.confidence)),
        ("Dropout", sampled(assessment.uncertainty) if assessment.uncertainty else ""),
        ("Plausible", plausible(assessment)),
        ("Classes", _classes(assessment)),
        ("Hint", likeliest(assessment)),
        ("Picture", _advice(assessment.quality)),
        ("Not for", PHONE_PHOTOS),
        ("Less sure for", "; ".join(one.subject for one in assessment.limitations)),
        ("Always", SAFETY_NET),
        ("Model", f"{model.name} {model.version}, {model.precision.upper()}, {total:.0f} ms"),
    ]
    return [row for row in rows if row[1]]


def _refused(assessment: Assessment) -> list[tuple[str, str]]:
    reason = assessment.error.message if assessment.error else assessment.action or ""
    label = "Reason" if assessment.error else "Action"
    return [(label, reason), ("Always", SAFETY_NET)]


def _confidence(confidence: Confidence | None) -> str:
    if confidence is None:
        return ""
    text = f"{confidence.level} (score {confidence.score:.2f} of 1)"
    return f"{text}: get a second look" if confidence.level == "LOW" else text


def _classes(assessment: Assessment) -> str:
    assert assessment.probabilities is not None
    ranked = sorted(assessment.probabilities.items(), key=lambda item: -item[1])[:SHOWN_CLASSES]
    return ", ".join(f"{full_name(name)} {share:.3f}" for name, share in ranked)


def _advice(quality: Quality | None) -> str:
    return "; ".join(quality.advice) if quality else ""


def _row(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        printable(text),
        WIDTH,
        initial_indent=f"  {label:<{LABEL_WIDTH}}",
        subsequent_indent=" " * (LABEL_WIDTH + 2),
    ) or [f"  {label}"]


MEASURES = {
    "cancer_log_odds": "P(cancer), log odds",
    "asymmetry": "asymmetry (0 to 1)",
    "border_irregularity": "border irregularity (circle: 1)",
    "colors": "number of colours",
    "largest_color_difference": "largest colour change (levels)",
}


def comparison_text(comparison: Comparison, *, color: bool = False) -> str:
    """Two photos of one lesion, side by side. color: whether to colour the verdicts by ANSI codes."""
    before, after, fit = comparison.before, comparison.after, comparison.registration
    assert before.risk is not None
    assert after.risk is not None
    assert before.cancer_probability is not None
    assert after.cancer_probability is not None
    worse = max(before, after, key=lambda one: RISKS.index(one.risk or "LOW"))
    assert worse.action is not None
    rows = [
        ("Action", f"{worse.action} (by the higher risk of the two, {worse.risk})"),
        ("Change", _change(comparison)),
    ]
    for name, one in (("before", before), ("after", after)):
        rows += [("WARNING", f"{name}: {warning}") for warning in warnings(one)]
    lines = [
        f"before {printable(before.image)}: {verdict(before, color=color)}",
        f"after  {printable(after.image)}: {verdict(after, color=color)}",
        *labelled_lines(rows),
        f"  {'':<31}{'before':>9}{'after':>9}{'limit':>9}",
        f"  {'risk':<31}{before.risk:>9}{after.risk:>9}",
        f"  {'P(cancer)':<31}{before.cancer_probability:>9.3f}{after.cancer_probability:>9.3f}",
    ]
    for change in comparison.changes:
        limit = "none" if change.limit is None else f"{change.limit:.2f}"
        note = "  beyond" if change.beyond else ""
        lines.append(
            f"  {MEASURES[change.name]:<31}{change.before:>9.2f}{change.after:>9.2f}{limit:>9}{note}"
        )
    rows = [
        ("Limit", f"95% of {LIMITS_OF.pairs} pairs of photos of one lesion stay within each limit"),
        ("Aligned", f"correlation {fit.correlation:.2f} (1: identical), overlap {fit.overlap:.0%}"),
        (
            "Note",
            "within the limits does not mean unchanged: small and slow changes are not found, and growth is "
            "not measured, since a photo has no scale",
        ),
        ("Always", SAFETY_NET),
    ]
    if any(change.limit is None for change in comparison.changes):
        rows.insert(1, ("No limit", "for P(cancer): its limit holds for the default bundle's INT8 alone"))
    return "\n".join([*lines, *labelled_lines(rows)]) + "\n"


def _change(comparison: Comparison) -> str:
    """Which measures differ by more than their limits."""
    beyond = [MEASURES[change.name].partition(" (")[0] for change in comparison.changes if change.beyond]
    found = f"beyond the limit: {', '.join(beyond)}" if beyond else "no measure that has a limit exceeds it"
    is_same = comparison.before.risk == comparison.after.risk
    return found if is_same else f"the risk has changed; {found}"


def bundle_text(opened: Bundle) -> str:
    """What a bundle holds. Its files must have been verified."""
    manifest, preprocessing = opened.manifest, opened.manifest.preprocessing
    rows = [
        ("Folder", str(opened.folder)),
        ("SHA-256", f"{opened.sha256} (every file verified)"),
        ("Classes", ", ".join(f"{name} {full_name(name)}" for name in manifest.classes)),
        ("Cancer", ", ".join(manifest.cancer_classes)),
        (
            "Input",
            f"{preprocessing.size} px, colour constancy {preprocessing.color_constancy}, "
            f"{preprocessing.views} views",
        ),
    ]
    for precision, rules in manifest.decision_rules.items():
        rows.append((precision.upper(), f"calibration: {rules.calibration.method}"))
        for point in rules.operating_points:
            bound = f", certified {point.bound.sensitivity:.3f}" if point.bound else ""
            rows.append(
                (
                    "",
                    f"{point.name}: P(cancer) >= {point.threshold:.4f}; on validation sensitivity "
                    f"{point.recall:.3f}{bound}, specificity {point.specificity:.3f}",
                )
            )
        if rules.prediction_sets is not None:
            pairs = zip(manifest.classes, rules.prediction_sets.thresholds, strict=True)
            thresholds = ", ".join(f"{name} {threshold:.4f}" for name, threshold in pairs)
            coverage = rules.prediction_sets.coverage
            rows.append(("", f"prediction sets of {coverage:.0%} of each class, from {thresholds}"))
        if rules.ood_threshold is not None:
            rows.append(("", f"out of scope above {rules.ood_threshold:.3f}"))
    rows += [(name, f"{record.size / 1e6:.2f} MB") for name, record in manifest.files.items()]
    return "\n".join([printable(f"{manifest.name} {manifest.version}"), *labelled_lines(rows)])


def labelled_lines(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Labels with their texts beside them, which are wrapped at WIDTH columns."""
    return [line for row in rows for line in _row(*row)]
