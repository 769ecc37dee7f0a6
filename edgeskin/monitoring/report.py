"""A drift report as text for a terminal, as JSON, and as a self-contained HTML page."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from string import Template

from edgeskin import NOTICE, __version__
from edgeskin.errors import SettingError
from edgeskin.monitoring.drift import DriftReport, MeasureDrift, Reason, Verdict
from edgeskin.report.html import RISK_COLORS, escape
from edgeskin.report.text import labelled_lines, printable
from edgeskin.results import Risk, to_plain

SCHEMA_VERSION = 1
SHOWN_MEASURES = 6
NOT_SEEN = (
    "whether the answers are right. That takes pictures with a confirmed diagnosis, and accuracy may fall "
    "without any drift"
)
_LOOK_AT = {
    "quality_": "the camera, its lens, light and settings",
    "retake": "the camera, and how the pictures are taken",
    "out_of_scope": "whether these are dermoscopy pictures of one lesion",
    "ood_": "whether the pictures are of another kind, camera or site than those of the reference",
    "": "whether other patients or lesions come, and a sample of the answers against the diagnoses",
}
"""What to look at, by the start of a measure's name."""
_MISSING: dict[Reason, str] = {
    "not_in_table": "without a value in the tables",
    "not_in_reference": "without enough values in the reference",
}
"""Why measures are not compared."""
_WITHOUT_ORDER = ("predicted_class",)
"""Measures whose categories are neither low nor high."""
_RISKS: dict[Verdict, Risk | None] = {"drift": "HIGH", "no_drift": "LOW", "too_few": None}
"""Whose colours a verdict has."""


def report_text(report: DriftReport) -> str:
    """The report in a few lines of 100 columns, the verdict first."""
    drifting = _drifting(report)
    rows = [("Drift", _finding(one)) for one in drifting[:SHOWN_MEASURES]]
    if len(drifting) > SHOWN_MEASURES:
        rows.append(("", f"and {len(drifting) - SHOWN_MEASURES} more (--json lists all)"))
    if drifting:
        rows.append(("Look at", "; ".join(_advice(report))))
    rows += [
        *([("Not compared", _not_compared(report))] if report.not_compared else []),
        ("Pictures", _pictures(report)),
        ("Reference", _reference(report)),
        ("False alarms", _false_alarms(report)),
        ("Not seen", NOT_SEEN),
        ("Model", f"{report.model} {report.version}, {report.precision.upper()}"),
    ]
    return "\n".join([headline(report), *labelled_lines(rows)])


def headline(report: DriftReport) -> str:
    """The verdict in one line."""
    if report.verdict == "drift":
        return f"DRIFT in {len(_drifting(report))} of {_measures(report)}"
    if report.verdict == "no_drift":
        return f"no drift found in {_measures(report)}"
    return f"no verdict: {report.pictures} pictures are too few, at least {report.needed} are needed"


def encode(report: DriftReport, path: Path, created: datetime) -> bytes:
    """The content of a report of the kind that its path's suffix names: .html or .json."""
    return encoder(path)(report, created)


def encoder(path: Path) -> Callable[[DriftReport, datetime], bytes]:
    """What makes the content of a report; raises SettingError for an unknown suffix."""
    suffix = path.suffix.lower()
    if suffix not in _ENCODERS:
        raise SettingError(f"{path}: choose a name that ends in {', '.join(_ENCODERS)}")
    return _ENCODERS[suffix]


def report_json(report: DriftReport, created: datetime) -> str:
    """The report as one JSON object on a line."""
    values = {
        "schema_version": SCHEMA_VERSION,
        "created": created.isoformat(timespec="seconds"),
        "edgeskin": __version__,
        **to_plain(report),
        "notice": NOTICE,
    }
    return json.dumps(values, allow_nan=False)


def render_html(report: DriftReport, created: datetime) -> str:
    """The report as a page that loads nothing and runs no script, in the style of a picture's report."""
    ink, ink_dark = RISK_COLORS[_RISKS[report.verdict]]
    template = files("edgeskin.report").joinpath("templates", "report.html").read_text(encoding="utf-8")
    advice = _advice(report)
    lines = [
        *([f"Look at {'; '.join(advice)}"] if advice else []),
        *([f"Not compared: {_not_compared(report)}"] if report.not_compared else []),
        _pictures(report),
        f"Reference: {_reference(report)}",
        f"False alarms: {_false_alarms(report)}",
        f"Not seen: {NOT_SEEN}",
        "Each bin has a bar and a share of the reference first, then of the pictures",
    ]
    model = f"{report.model} {report.version}, {report.precision}, bundle SHA-256 {report.sha256}"
    return Template(template).substitute(
        title="drift",
        version=escape(__version__),
        created=created.isoformat(sep=" ", timespec="minutes"),
        ink=ink,
        ink_dark=ink_dark,
        headline=escape(headline(report)),
        decision="".join(f"<p>{escape(line)}.</p>" for line in lines),
        pictures="",
        sections="".join(map(_section, report.measures)),
        footer=escape(f"{model}. {NOTICE}"),
    )


def _as_json(report: DriftReport, created: datetime) -> bytes:
    return f"{report_json(report, created)}\n".encode()


def _as_html(report: DriftReport, created: datetime) -> bytes:
    return render_html(report, created).encode("utf-8", "backslashreplace")


_ENCODERS = {".html": _as_html, ".json": _as_json}


def _drifting(report: DriftReport) -> list[MeasureDrift]:
    return [one for one in report.measures if one.verdict == "drift"]


def _finding(measure: MeasureDrift) -> str:
    most = measure.most_changed
    now, before = most.pictures / measure.pictures, most.reference / measure.reference_pictures
    return (
        f"{measure.name} {_change(measure)} ({most.label}: {now:.0%} of {measure.pictures} pictures, "
        f"{before:.0%} of the reference); {_effect(measure)}"
    )


def _change(measure: MeasureDrift) -> str:
    shift = None if measure.name in _WITHOUT_ORDER else measure.shift
    return f"is {shift}" if shift else "is distributed differently"


def _effect(measure: MeasureDrift) -> str:
    return f"PSI {measure.psi:.2f} ({measure.expected_psi:.2g} without drift), p {measure.p_value:.2g}"


def _advice(report: DriftReport) -> list[str]:
    starts = (next(start for start in _LOOK_AT if one.name.startswith(start)) for one in _drifting(report))
    return [_LOOK_AT[start] for start in dict.fromkeys(starts)]


def _measures(report: DriftReport) -> str:
    compared, left = len(report.measures), len(report.not_compared)
    return f"{compared} measure{'' if compared == 1 else 's'}{f'; {left} not compared' if left else ''}"


def _not_compared(report: DriftReport) -> str:
    missing = Counter(report.not_compared.values())
    parts = [f"{missing[reason]} {words}" for reason, words in _MISSING.items() if missing[reason]]
    return f"{', '.join(parts)} (--json names them)"


def _pictures(report: DriftReport) -> str:
    if not report.errors:
        return f"{report.pictures} pictures"
    return f"{report.pictures} pictures; {report.errors} more could not be read and count nowhere"


def _reference(report: DriftReport) -> str:
    most = max((one.reference_pictures for one in report.measures), default=0)
    source = "the bundle's, of its validation pictures" if report.reference == "bundle" else report.reference
    return f"{printable(source)} ({most} pictures)"


def _false_alarms(report: DriftReport) -> str:
    return (
        f"a chance of at most {report.false_alarm_rate:.0%} over all measures and all looks at this series, "
        "while it grows at its end"
    )


def _section(measure: MeasureDrift) -> str:
    rows = []
    for one in measure.bins:
        reference = one.reference / measure.reference_pictures
        pictures = one.pictures / measure.pictures
        rows.append(
            f'<tr><td>{escape(one.label)}</td><td class="bar"><svg viewBox="0 0 100 9" '
            f'preserveAspectRatio="none"><rect width="{100 * reference:.2f}" height="4"/>'
            f'<rect y="5" width="{100 * pictures:.2f}" height="4" style="fill:var(--ink)"/></svg></td>'
            f'<td class="number">{reference:.1%}, {pictures:.1%}</td></tr>'
        )
    verdict = {"drift": "drift", "no_drift": "no drift found", "too_few": "too few pictures"}[measure.verdict]
    emphasis = "warning" if measure.verdict == "drift" else "note"
    note = f"{verdict}; {measure.pictures} pictures, {_effect(measure)}"
    return (
        f"<section><h2>{escape(measure.name)}</h2>"
        f'<p class="{emphasis}">{escape(note)}</p><table>{"".join(rows)}</table></section>'
    )
