"""The report of one photo: a self-contained HTML file of one A4 page, a JSON file, or a picture.

The HTML loads nothing from outside itself and runs no script; its Content-Security-Policy enforces that.
"""

import base64
import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from html import escape as escape_markup
from importlib.resources import files
from pathlib import Path
from string import Template

from edgeskin import NOTICE, __version__
from edgeskin.arrays import Image
from edgeskin.errors import SettingError
from edgeskin.report import dicom, figures
from edgeskin.report.text import (
    cancer_probability_text,
    certified,
    likeliest,
    plausible,
    printable,
    render_text,
    sampled,
    verdict,
    warnings,
)
from edgeskin.results import Assessment
from edgeskin.taxonomy import full_name

INTENDED_USE = "Intended use: research, on dermoscopy pictures of one skin lesion in the middle."
RISK_COLORS = {
    "HIGH": ("#b3261e", "#f2756b"),
    "MEDIUM": ("#8a5200", "#f0a94a"),
    "LOW": ("#2f6b4a", "#7cc7a0"),
    None: ("#44444f", "#b6b6c4"),
}
"""On light and on dark paper; the risk is always given in words too."""


def render_html(assessment: Assessment, created: datetime | None = None) -> str:
    """The report as a self-contained HTML page.

    Args:
        assessment: Of any status. Assessed with ``explain=``, its photo, map and descriptors are shown.
        created: When it was made, with a time zone; None for now.
    """
    created = created or datetime.now().astimezone()
    ink, ink_dark = RISK_COLORS[assessment.risk]
    template = files("edgeskin.report").joinpath("templates", "report.html").read_text(encoding="utf-8")
    sections = _assessed(assessment) if assessment.status == "assessed" else []
    sections += [
        *_picture(assessment),
        *_appearance(assessment),
        *_limitations(assessment),
        _model(assessment),
    ]
    return Template(template).substitute(
        title=escape(Path(assessment.image).name),  # folders may name the patient
        version=escape(__version__),
        created=created.isoformat(sep=" ", timespec="minutes"),
        ink=ink,
        ink_dark=ink_dark,
        headline=escape(verdict(assessment)),
        decision=_decision(assessment),
        pictures=_pictures(assessment),
        sections="".join(sections),
        footer=escape(f"{NOTICE} {INTENDED_USE}"),
    )


def escape(text: str) -> str:
    """The text as HTML, with backslash escapes for control characters."""
    return escape_markup(printable(text))


def encode(
    assessment: Assessment, path: Path, created: datetime, source: dicom.Source | None = None
) -> bytes:
    """The content of a report of the kind that its path's suffix names.

    Args:
        assessment: Of any status.
        path: It ends in .html, .json, .png, or those of `edgeskin.report.dicom`.
        created: When it was made, with a time zone.
        source: The picture, for those of DICOM.

    Raises:
        SettingError: The suffix is another one.
        PhotoError: What the source says of patient or study is not valid DICOM.
    """
    if source is not None and dicom.is_dicom_report(path):
        return dicom.encode(assessment, path, created, source)
    return _encoder(path)(assessment, created)


def require_writable(path: Path) -> None:
    """Raise SettingError unless `encode` knows the suffix and the folder exists."""
    if not dicom.is_dicom_report(path):
        _encoder(path)
    if os.path.isdir(path):  # noqa: PTH112  (Path.is_dir raises OSError for a name that is too long)
        raise SettingError(f"{path}: this is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise SettingError(f"{path}: its folder does not exist; make it first")


def _encoder(path: Path) -> Callable[[Assessment, datetime], bytes]:
    suffix = path.suffix.lower()
    if suffix not in _ENCODERS:
        raise SettingError(f"{path}: choose a name that ends in {', '.join([*_ENCODERS, *dicom.SUFFIXES])}")
    return _ENCODERS[suffix]


def _as_html(assessment: Assessment, created: datetime) -> bytes:
    # A file name that is not valid text still names the photo.
    return render_html(assessment, created).encode("utf-8", "backslashreplace")


def _as_json(assessment: Assessment, created: datetime) -> bytes:
    values = {
        "created": created.isoformat(timespec="seconds"),
        "edgeskin": __version__,
        **assessment.to_dict(),
    }
    return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()


def _as_png(assessment: Assessment, created: datetime) -> bytes:
    date = f"  {'Created':<14}{created.isoformat(sep=' ', timespec='minutes')}"
    return figures.encode_png(figures.page(assessment, f"{render_text(assessment)}{date}\n\n{NOTICE}"))


_ENCODERS = {".html": _as_html, ".json": _as_json, ".png": _as_png}


def _decision(assessment: Assessment) -> str:
    paragraphs = []
    points = assessment.operating_points
    if points is not None and assessment.action is not None:
        # A picture that was refused says so in its headline.
        paragraphs += [f'<p class="warning">{escape(warning)}</p>' for warning in warnings(assessment)]
        paragraphs.append(f"<p>{escape(assessment.action.capitalize())}.</p>")
        paragraphs.append(f"<p>P(cancer) {escape(cancer_probability_text(assessment))}.</p>")
        if (promise := certified(points[0])) and not warnings(assessment):
            paragraphs.append(f"<p>Certified: {escape(promise)}.</p>")
    elif assessment.error is not None:
        paragraphs.append(f"<p>{escape(assessment.error.message)}</p>")
    else:
        paragraphs.append(f"<p>{escape((assessment.action or '').capitalize())}.</p>")
    return "".join(paragraphs) + f"<p>{escape(assessment.safety_net.capitalize())}.</p>"


def _pictures(assessment: Assessment) -> str:
    pixels, explanation = assessment.pixels, assessment.explanation
    if pixels is None:
        return ""
    if pixels.mask is None or explanation is None:
        shown = [(pixels.square, "The centre square.")]
    else:
        text = figures.caption(explanation)
        line = f"{text[:1].upper()}{text[1:]}."
        if not explanation.low_evidence:
            line += (
                " Brighter means more evidence, within this picture alone. "
                f"Line: the {figures.HOTTEST:.0%} with most."
            )
        outlined = figures.outlined(pixels.square, pixels.mask)
        shown = [
            (outlined, "The centre square. Line: the lesion, found by its colour."),
            (figures.overlay(pixels.square, explanation), line),
        ]
    return "".join(
        f'<figure><img src="{_data_uri(image)}" width="{image.shape[1]}" height="{image.shape[0]}" '
        f'alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for image, caption in shown
    )


def _data_uri(image: Image) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(figures.encode_jpeg(image)).decode()}"


def _assessed(assessment: Assessment) -> list[str]:
    assert assessment.probabilities is not None
    hint = f'<p class="note">Hint: {escape(likeliest(assessment))}. Red counts as cancer.</p>'
    bars = _bars(assessment.probabilities, assessment.cancer_classes or ())
    sections = [_section("Probabilities", bars + hint)]
    rows = []
    if assessment.prediction_set is not None:
        rows.append(("plausible", plausible(assessment)))
    confidence = assessment.confidence
    if confidence is not None:
        rows.append(("confidence", f"{confidence.level} ({confidence.score:.2f} of 1)"))
        rows += [(name, f"{value:.2f}") for name, value in vars(confidence.parts).items()]
    uncertainty = assessment.uncertainty
    if uncertainty is not None:
        disagreement = f"{uncertainty.epistemic:.3f} of {uncertainty.entropy:.2f} nats of entropy"
        rows += [("dropout", sampled(uncertainty)), ("disagreement", disagreement)]
    return [*sections, _section("Confidence", _table(rows))] if rows else sections


def _bars(probabilities: Mapping[str, float], cancer: Iterable[str]) -> str:
    rows = []
    for name, share in sorted(probabilities.items(), key=lambda item: -item[1]):
        kind = "cancer" if name in cancer else "benign"
        rows.append(
            f'<tr><td>{escape(full_name(name))}</td><td class="bar">'
            f'<svg viewBox="0 0 100 9" preserveAspectRatio="none"><rect class="{kind}" '
            f'width="{100 * share:.2f}" height="9"/></svg></td><td class="number">{share:.3f}</td></tr>'
        )
    return f"<table>{''.join(rows)}</table>"


def _picture(assessment: Assessment) -> list[str]:
    quality, ood = assessment.quality, assessment.ood
    if quality is None:
        return []
    instructions = [*quality.retake, *quality.advice]
    note = ""
    if ood is not None:
        note = (
            f'<p class="note">OOD score {ood.score:.1f}: 0 is typical of training pictures, out of scope is '
            f"above {ood.threshold:.1f}. Phone photos are hardly recognised.</p>"
        )
    return [_section("Picture", _list(instructions or ["meets the quality limits"]) + note)]


def _appearance(assessment: Assessment) -> list[str]:
    descriptors = assessment.descriptors
    if assessment.pixels is None or assessment.pixels.mask is None:
        return []
    if descriptors is None:
        return [_section("Appearance", "<p>No lesion stands out from the skin.</p>")]
    long, short = descriptors.asymmetry
    colors = ", ".join(f"{name} {share:.0%}" for name, share in descriptors.colors.items())
    rows = [
        ("asymmetry", f"{long:.0%} and {short:.0%}, folded along the long and the short axis"),
        ("border", f"{descriptors.border_irregularity:.2f} times as irregular as a circle"),
        ("colours", f"{len(descriptors.colors)}: {colors}"),
        ("size", f"{descriptors.area_fraction:.0%} of the square; no scale, so no millimetres"),
    ]
    note = '<p class="note">The lesion reaches the edge: its visible part.</p>' if descriptors.cut_off else ""
    return [_section("Appearance (descriptors, not a score)", _table(rows) + note)]


def _limitations(assessment: Assessment) -> list[str]:
    texts = [limitation.text for limitation in assessment.limitations]
    return [_section("Known limitations", _list(texts))] if texts else []


def _model(assessment: Assessment) -> str:
    model = assessment.model
    rows = [
        ("model", f"{model.name} {model.version}, {model.precision} on {model.isa}"),
        ("bundle", f"SHA-256 {model.sha256}"),
        ("time", f"{assessment.timing_ms['total']:.0f} ms"),
    ]
    return _section("Model", _table(rows))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"
