"""One photo's report: a self-contained HTML file of one A4 page, a JSON file, or a picture.

The HTML asks for nothing outside itself and runs no script; its Content-Security-Policy holds browsers to it.
"""

import base64
import json
from collections.abc import Callable, Iterable
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from edgeskin import NOTICE, __version__
from edgeskin.arrays import Image
from edgeskin.errors import SettingError
from edgeskin.examination import Examination
from edgeskin.report import figures as draw
from edgeskin.report.text import block, certified, plausible, turned_away, where
from edgeskin.taxonomy import full_name

INTENDED_USE = "Intended use: research, on dermoscopy pictures of one skin lesion in the middle."
INKS = {
    "HIGH": ("#b3261e", "#f2756b"),
    "MEDIUM": ("#8a5200", "#f0a94a"),
    "LOW": ("#2f6b4a", "#7cc7a0"),
    None: ("#44444f", "#b6b6c4"),
}
"""Of a risk, on light and on dark paper; the risk is always told in words too."""
NOT_ASSESSED = {
    "retake": "Not assessed: take the picture again",
    "out_of_scope": "Not assessed: not a kind of picture that can be",
}


def render(found: Examination, created: datetime) -> str:
    """The report as HTML of one examination whose photo could be read."""
    told = found.assessment.to_dict()
    ink, ink_dark = INKS[told["risk"]]
    template = files("edgeskin.report").joinpath("templates", "report.html").read_text(encoding="utf-8")
    sections = _assessed(told) if told["status"] == "assessed" else []
    sections += [_picture(told), *_looks(found), _unknown(told), _model(told)]
    return Template(template).substitute(
        title=escape(Path(told["image"]).name),  # folders may tell who the patient is
        version=escape(__version__),
        created=created.isoformat(sep=" ", timespec="minutes"),
        ink=ink,
        ink_dark=ink_dark,
        headline=escape(NOT_ASSESSED.get(told["status"]) or f"{told['risk']} risk: {told['action']}"),
        decision=_decision(told),
        pictures=_pictures(found),
        sections="".join(sections),
        footer=escape(f"{NOTICE} {INTENDED_USE}"),
    )


def write(found: Examination, path: Path, created: datetime) -> None:
    """Write an examination whose photo could be read, as the file's suffix says: HTML, JSON or PNG.

    Raises SettingError for another suffix, OSError when it cannot be written.
    """
    path.write_bytes(_writer(path)(found, created))


def require_writable(path: Path) -> None:
    """Raise SettingError unless the suffix is one that `write` knows and the folder exists."""
    _writer(path)
    if path.is_dir():
        raise SettingError(f"{path}: this is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise SettingError(f"{path}: its folder does not exist; make it first")


def _writer(path: Path) -> Callable[[Examination, datetime], bytes]:
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise SettingError(f"{path}: name it {', '.join(_WRITERS)}")
    return _WRITERS[suffix]


def _as_html(found: Examination, created: datetime) -> bytes:
    # A name that is no text still names the photo.
    return render(found, created).encode("utf-8", "backslashreplace")


def _as_json(found: Examination, created: datetime) -> bytes:
    told = {"created": created.isoformat(timespec="seconds"), "edgeskin": __version__, **found.to_dict()}
    return (json.dumps(told, indent=2, allow_nan=False) + "\n").encode()


def _as_png(found: Examination, created: datetime) -> bytes:
    words = f"{block(found.assessment.to_dict())}  created   {created.isoformat(sep=' ', timespec='minutes')}"
    return draw.encode_png(draw.page(found, f"{words}\n\n{NOTICE}"))


_WRITERS = {".html": _as_html, ".json": _as_json, ".png": _as_png}


def _decision(told: dict[str, Any]) -> str:
    if told["status"] == "assessed":
        limits = [f"{one['name']} threshold {one['threshold']:.3f}" for one in told["operating_points"]]
        p_cancer = f"<strong>{told['cancer_probability']:.3f}</strong>{where(told['prevalence'])}"
        lines = [f"P(cancer) {p_cancer}; {escape(', '.join(limits))}"]
        promised = certified(told)
        if promised:
            lines.append(f"The {escape(told['operating_point']['name'])} threshold: {escape(promised)}.")
    else:
        lines = [escape(told["action"])]
    lines.append(escape(f"{told['safety_net'].capitalize()}."))
    # A picture that is turned away says so in its headline.
    warnings = turned_away(told) if told["status"] == "assessed" else []
    return "".join(
        [f'<p class="warning">{escape(warning)}</p>' for warning in warnings]
        + [f"<p>{line}</p>" for line in lines]
    )


def _pictures(found: Examination) -> str:
    if found.square is None:
        return ""
    if found.mask is None or found.explanation is None:
        shown = [(found.square, "The centre square.")]
    else:
        words = draw.caption(found.explanation)
        line = f"{words[:1].upper()}{words[1:]}."
        if not found.explanation.faint:
            most = f"{draw.HOTTEST:.0%} with most"
            line += f" The brighter, the more, within this picture alone. Line: the {most}."
        outlined = draw.outlined(found.square, found.mask)
        shown = [
            (outlined, "The centre square. Line: the lesion, found by its colour."),
            (draw.overlay(found.square, found.explanation), line),
        ]
    return "".join(
        f'<figure><img src="{_data_uri(image)}" width="{image.shape[1]}" height="{image.shape[0]}" '
        f'alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for image, caption in shown
    )


def _data_uri(image: Image) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(draw.encode_jpeg(image)).decode()}"


def _assessed(told: dict[str, Any]) -> list[str]:
    sections = [_section("Probabilities", _bars(told["probabilities"], told["cancer_classes"]) + _hint(told))]
    sure = []
    if told["label_set"] is not None:
        sure.append(("plausible", plausible(told)))
    certainty = told["certainty"]
    if certainty is not None:
        sure.append(("certainty", f"{certainty['level']} ({certainty['score']:.2f})"))
        sure += [(name, f"{value:.2f}") for name, value in certainty["parts"].items()]
    sampled = told["uncertainty"]
    if sampled is not None:
        low, high = sampled["cancer_interval"]
        sure += [
            ("sampled", f"95 % of {sampled['samples']} networks: P(cancer) {low:.3f} to {high:.3f}"),
            ("entropy", f"{sampled['entropy']:.2f} nats, {sampled['epistemic']:.3f} of it disagreement"),
        ]
    return [*sections, _section("How sure", _table(sure))] if sure else sections


def _hint(told: dict[str, Any]) -> str:
    even = " (the most probable if all were as frequent)" if told["class_priors"] else ""
    name = full_name(told["predicted_class"])
    return f'<p class="note">Class, a hint: {escape(name)}{even}. Red counts as cancer.</p>'


def _bars(probabilities: dict[str, float], cancer: Iterable[str]) -> str:
    rows = []
    for name, share in sorted(probabilities.items(), key=lambda item: -item[1]):
        kind = "cancer" if name in cancer else "other"
        rows.append(
            f'<tr><td>{escape(full_name(name))}</td><td class="bar">'
            f'<svg viewBox="0 0 100 9" preserveAspectRatio="none"><rect class="{kind}" '
            f'width="{100 * share:.2f}" height="9"/></svg></td><td class="number">{share:.3f}</td></tr>'
        )
    return f"<table>{''.join(rows)}</table>"


def _picture(told: dict[str, Any]) -> str:
    quality, ood = told["quality"], told["ood"]
    said = [*quality["retake"], *quality["advice"]]
    kind = ""
    if ood is not None:
        kind = (
            f'<p class="note">Distance from the pictures that the network knows: {ood["score"]:.1f}; '
            f"out of scope above {ood['threshold']:.1f}. Phone photos are hardly told apart.</p>"
        )
    return _section("Picture", _list(said or ["good enough to be judged"]) + kind)


def _looks(found: Examination) -> list[str]:
    looks = found.descriptors
    if found.mask is None:
        return []
    if looks is None:
        return [_section("Looks", "<p>No lesion stands out from the skin.</p>")]
    long, short = looks.asymmetry
    colors = ", ".join(f"{name} {share:.0%}" for name, share in looks.colors.items())
    rows = [
        ("asymmetry", f"{long:.0%} and {short:.0%}, folded along the long and the short axis"),
        ("border", f"{looks.border_irregularity:.2f} times as irregular as a circle"),
        ("colours", f"{len(looks.colors)}: {colors}"),
        ("size", f"{looks.area_fraction:.0%} of the square; no scale, so no millimetres"),
    ]
    cut = '<p class="note">Cut off by the edge: of its visible part.</p>' if looks.cut_off else ""
    return [_section("Looks, as descriptors, not a score", _table(rows) + cut)]


def _unknown(told: dict[str, Any]) -> str:
    return _section("Not known", _list(told["blind_spots"]))


def _model(told: dict[str, Any]) -> str:
    model = told["model"]
    rows = [
        ("model", f"{model['name']} {model['version']}, {model['precision']} on {model['isa']}"),
        ("bundle", f"SHA-256 {model['sha256']}"),
        ("time", f"{told['timing_ms']['total']:.0f} ms"),
    ]
    return _section("Model", _table(rows))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"
