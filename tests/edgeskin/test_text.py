"""Text for a terminal: its size, its order, its colour, and the numbers in it."""

import dataclasses
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from edgeskin import Assessment, Classifier, PatientContext, compare_photos, open_bundle, render_text
from edgeskin.imaging.quality import LIMITS
from edgeskin.report.text import bundle_text, comparison_text, printable, verdict, warnings
from edgeskin.results import RISKS
from edgeskin.taxonomy import full_name
from tests.conftest import change_rules, write_micro_bundle

LINES, COLUMNS = 16, 100


@pytest.fixture(scope="module")
def assessed(shared_micro_bundle: Path, lesion_jpg: Path) -> Assessment:
    return Classifier(shared_micro_bundle).assess(
        lesion_jpg, explain="grad-cam", mc_samples=20, context=PatientContext(30, "nail"), name="lesion.jpg"
    )


@pytest.fixture(scope="module")
def refused(shared_micro_bundle: Path) -> dict[str, Assessment]:
    classifier = Classifier(shared_micro_bundle)
    (error,) = classifier.assess_many(["missing.jpg"])
    retake = classifier.assess(np.zeros((300, 300, 3), np.uint8))
    return {
        "retake": retake,
        "out_of_scope": dataclasses.replace(retake, status="out_of_scope", action_code="out_of_scope"),
        "error": error,
    }


def rows(text: str) -> dict[str, str]:
    """The text after each label, wrapped lines joined."""
    found: dict[str, str] = {}
    label = ""
    for line in text.splitlines()[1:]:
        label = line[2:16].strip() or label
        found[label] = f"{found[label]} {line[16:]}" if label in found else line[16:]
    return found


def require_small(text: str) -> None:
    lines = text.splitlines()
    assert len(lines) <= LINES, text
    assert max(map(len, lines)) <= COLUMNS, text


@pytest.mark.hazard("H-11")
def test_the_verdict_comes_first_then_the_action(
    assessed: Assessment, refused: dict[str, Assessment]
) -> None:
    for result in (assessed, *refused.values()):
        first, second = render_text(result).splitlines()[:2]
        assert first.startswith(f"{result.image}: ")
        assert verdict(result) in first
        assert second.startswith("  Reason" if result.status == "error" else "  Action")
    assert assessed.risk is not None
    assert assessed.risk in verdict(assessed)


def test_text_holds_the_numbers_of_the_assessment(assessed: Assessment) -> None:
    found = rows(render_text(assessed))
    assert assessed.probabilities is not None
    assert assessed.confidence is not None
    assert assessed.uncertainty is not None
    for row, values in {
        "P(cancer)": [f"{assessed.cancer_probability:.3f}", "0.300", "0.600", "25%"],
        "Certified": ["95%", "0.300", "100"],
        "Confidence": [assessed.confidence.level, f"{assessed.confidence.score:.2f}"],
        "Dropout": [*(f"{limit:.3f}" for limit in assessed.uncertainty.cancer_interval), "20"],
        "Classes": [f"{max(assessed.probabilities.values()):.3f}"],
        "Model": ["micro 0", "INT8"],
    }.items():
        assert all(value in found[row] for value in values), row
    assert found["Action"] == assessed.action


def test_a_custom_sensitivity_is_shown_and_confidence_is_not(
    shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    found = rows(render_text(Classifier(shared_micro_bundle, sensitivity=0.9).assess(lesion_jpg)))
    assert "Confidence" not in found
    # The bound of 0.910 is rounded down.
    assert "91%" in found["Certified"]
    assert f"{5 / 101:.3f}" in found["Certified"]


def test_the_predicted_class_is_shown_however_small_its_probability(
    micro_bundle: Path, lesion_jpg: Path
) -> None:
    """A prior of nearly nothing makes the least probable class the predicted one."""
    probabilities = Classifier(micro_bundle).assess(lesion_jpg).probabilities
    assert probabilities is not None
    least = min(probabilities, key=probabilities.__getitem__)
    change_rules(micro_bundle, class_priors=[1e-12 if name == least else 0.1 for name in probabilities])
    result = Classifier(micro_bundle).assess(lesion_jpg)
    assert result.predicted_class == least
    assert full_name(least) in rows(render_text(result))["Hint"]


def test_parts_that_a_bundle_lacks_leave_no_row(assessed: Assessment) -> None:
    bare = dataclasses.replace(
        assessed,
        prediction_set=None,
        most_serious_label=None,
        confidence=None,
        uncertainty=None,
        limitations=(),
    )
    absent = {"Plausible", "Confidence", "Dropout", "Less sure for"}
    assert set(rows(render_text(assessed))) - set(rows(render_text(bare))) == absent
    assert rows(render_text(bare))["Not for"] == "phone photos"


def worst_case(assessed: Assessment) -> Assessment:
    """All at once: every warning and every advice, the longest set, sampling, gates off, unknown context."""
    quality, ood = assessed.quality, assessed.ood
    assert quality is not None
    assert ood is not None
    assert assessed.probabilities is not None
    retake, advice = (
        tuple(limit.instruction for limit in LIMITS if limit.kind == kind) for kind in ("retake", "advice")
    )
    return dataclasses.replace(
        assessed,
        quality=dataclasses.replace(quality, retake=retake, advice=advice),
        ood=dataclasses.replace(ood, threshold=ood.score - 1),
        prediction_set=tuple(assessed.probabilities),
        most_serious_label="SCC",
        predicted_class="SCC",
    )


def test_the_worst_case_fits(assessed: Assessment, shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    worst = worst_case(assessed)
    require_small(render_text(worst))
    unknown = Classifier(shared_micro_bundle).assess(lesion_jpg, mc_samples=1000, name="lesion.jpg")
    require_small(render_text(worst_case(unknown)))
    custom = Classifier(shared_micro_bundle, sensitivity=0.9, quality_gate=False, scope_gate=False)
    require_small(render_text(worst_case(custom.assess(lesion_jpg, mc_samples=1000, name="lesion.jpg"))))
    certified = dataclasses.replace(worst, quality=assessed.quality, ood=assessed.ood)
    require_small(render_text(certified))


def test_real_pictures_with_everything_on_fit(lesion_jpg: Path) -> None:
    """Of both shipped bundles, gates off, on noise, on a dark picture and on the example."""
    noise = np.random.default_rng(0).integers(0, 256, (110, 110, 3), dtype=np.uint8)
    dark = np.zeros((300, 300, 3), np.uint8)
    for bundle in ("default", "lite"):
        with Classifier(bundle, "fp32", quality_gate=False, scope_gate=False, sensitivity=0.98) as classifier:
            for image in (noise, dark, lesion_jpg):
                require_small(render_text(classifier.assess(image, mc_samples=100, name="photo.jpg")))


@pytest.mark.hazard("H-11")
def test_refusals_fit(refused: dict[str, Assessment]) -> None:
    every = tuple(limit.instruction for limit in LIMITS if limit.kind == "retake")
    action = f"take the picture again: {'; '.join(every)}; if it gets no better, refer on clinical grounds"
    for result in refused.values():
        require_small(render_text(dataclasses.replace(result, action=action)))
        assert not any(f"{risk} RISK" in render_text(result) for risk in RISKS)


def test_warnings_are_what_the_gates_would_have_refused(assessed: Assessment) -> None:
    assert warnings(assessed) == []
    worst = worst_case(assessed)
    assert worst.quality is not None
    assert worst.ood is not None
    found = warnings(worst)
    assert found[1:] == list(worst.quality.retake)
    assert f"{worst.ood.score:.1f}" in found[0]
    text = rows(render_text(worst))
    assert "WARNING" in text
    # Such a picture is not like those on which the threshold was certified.
    assert "Certified" not in text
    assert "Certified" in rows(render_text(assessed))


@pytest.mark.hazard("H-11")
def test_the_scope_warning_is_shown_among_many(assessed: Assessment) -> None:
    """Warnings are cut to two lines; this one matters most."""
    worst = worst_case(assessed)
    assert worst.ood is not None
    assert f"{worst.ood.score:.1f}" in rows(render_text(worst))["WARNING"]


@pytest.mark.parametrize("risk", RISKS)
def test_colour_only_when_asked(assessed: Assessment, risk: str) -> None:
    result = dataclasses.replace(assessed, risk=risk)
    assert "\x1b" not in render_text(result)
    colored = render_text(result, color=True)
    assert colored.count("\x1b[") == 2
    assert colored.splitlines()[0].endswith("\x1b[0m")
    plain = "".join(
        part.partition("m")[2] if place else part for place, part in enumerate(colored.split("\x1b"))
    )
    assert plain == render_text(result)
    assert risk in colored.splitlines()[0]


def test_refusals_have_no_colour(refused: dict[str, Assessment]) -> None:
    assert all("\x1b" not in render_text(result, color=True) for result in refused.values())


def test_a_comparison_shows_both_photos_and_every_change(assessed: Assessment) -> None:
    comparison = compare_photos(assessed, assessed)
    text = comparison_text(comparison)
    assert text.splitlines()[0].startswith("before lesion.jpg: ")
    assert text.splitlines()[1].startswith("after  lesion.jpg: ")
    for change in comparison.changes:
        assert f"{change.before:>9.2f}{change.after:>9.2f}" in text
        assert change.limit is None or f"{change.limit:.2f}" in text
    assert f"{assessed.cancer_probability:>9.3f}" in text
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert "\x1b" not in text
    assert comparison_text(comparison, color=True).count("\x1b[") == 4


def test_a_comparison_acts_on_the_higher_risk_and_warns_of_both(assessed: Assessment) -> None:
    assert assessed.quality is not None
    low = dataclasses.replace(
        assessed,
        risk="LOW",
        action="act on LOW",
        quality=dataclasses.replace(assessed.quality, retake=("more light",)),
    )
    high = dataclasses.replace(assessed, risk="HIGH", action="act on HIGH")
    comparison = compare_photos(assessed, assessed)
    for before, after, warned in ((low, high, "before"), (high, low, "after")):
        found = rows(comparison_text(dataclasses.replace(comparison, before=before, after=after)))
        assert found["Action"].startswith("act on HIGH")
        assert found["WARNING"].startswith(f"{warned}: more light")


def test_a_bundles_text_holds_its_rules_and_files() -> None:
    opened = open_bundle()
    text = bundle_text(opened)
    assert opened.sha256 in text
    for rules in opened.manifest.decision_rules.values():
        assert all(f"{point.threshold:.4f}" in text for point in rules.operating_points)
        assert f"{rules.ood_threshold:.3f}" in text
    assert all(name in text for name in opened.manifest.files)


def test_a_bundles_text_needs_no_optional_part(tmp_path: Path) -> None:
    bundle = write_micro_bundle(tmp_path / "bundle")
    change_rules(bundle, prediction_sets=None)
    assert "micro 0" in bundle_text(open_bundle(bundle))


def test_controls_are_escaped_and_letters_are_not() -> None:
    """By Unicode's own categories: controls, line and paragraph separators, marks of text direction."""
    escaped = {code for code in range(0x110000) if printable(chr(code)) != chr(code)}
    directions = {code for code in range(0x110000) if chr(code) in "\u061c\u200e\u200f"} | {
        code
        for code in range(0x110000)
        if unicodedata.bidirectional(chr(code))
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    }
    controls = {code for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Zl", "Zp")}
    assert escaped == controls | directions
    assert printable("皮膚 é 'a'\\b.jpg") == "皮膚 é 'a'\\b.jpg"
    assert printable("a\n\x1b[2K\x9b\u202e\u2028") == r"a\n\x1b[2K\x9b\u202e\u2028"


def test_a_file_name_fakes_no_line(assessed: Assessment, refused: dict[str, Assessment]) -> None:
    name = "a\nb.jpg: LOW RISK of cancer\x1b[1A\r\u202e"
    for result in (assessed, *refused.values()):
        error = result.error and dataclasses.replace(result.error, message=f"{name}: damaged")
        text = render_text(dataclasses.replace(result, image=name, error=error))
        plain = render_text(dataclasses.replace(result, image="x", error=error))
        assert len(text.splitlines()) == len(plain.splitlines())
        assert text == "".join(line + "\n" for line in map(printable, text.split("\n")[:-1]))
    fakes = [dataclasses.replace(assessed, image=name)] * 2
    text = comparison_text(compare_photos(*fakes))
    assert text.count(printable(name)) == 2
    assert text == "".join(line + "\n" for line in map(printable, text.split("\n")[:-1]))
