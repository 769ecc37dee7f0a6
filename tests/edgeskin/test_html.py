"""The report of one photo, opened in a real browser: it renders, loads nothing, and prints on one page."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from edgeskin import Assessment, Classifier, PatientContext, SettingError, __version__, render_html
from edgeskin.report.html import encode, require_writable
from edgeskin.report.text import verdict
from edgeskin.results import RISKS
from edgeskin.taxonomy import full_name

CREATED = datetime(2026, 1, 2, 3, 4)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    with sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium here: apt install chromium, or playwright install chromium")
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def classifier(shared_micro_bundle: Path) -> Classifier:
    return Classifier(shared_micro_bundle)


@pytest.fixture(scope="module")
def assessed(classifier: Classifier, lesion_jpg: Path) -> Assessment:
    return classifier.assess(lesion_jpg, mc_samples=30, explain="grad-cam", target="NV")


@pytest.fixture(scope="module")
def retake(classifier: Classifier) -> Assessment:
    return classifier.assess(np.zeros((300, 300, 3), np.uint8), explain="grad-cam")


@pytest.fixture(scope="module")
def failed(classifier: Classifier) -> Assessment:
    (result,) = classifier.assess_many([b"no picture"], explain="grad-cam")
    return result


def with_a_hostile_name(assessed: Assessment) -> Assessment:
    name = "/photos/" + "<img src=x onerror=alert(1)>&\"'" * 6 + "longwithoutspaces" * 8 + ".jpg"
    return dataclasses.replace(assessed, image=name)


def with_warnings(assessed: Assessment) -> Assessment:
    """All that a report can hold at once: every class in the set, warnings, and much advice."""
    assert assessed.quality is not None
    assert assessed.ood is not None
    assert assessed.probabilities is not None
    return dataclasses.replace(
        assessed,
        quality=dataclasses.replace(
            assessed.quality, retake=("use more light",) * 3, advice=("move closer",) * 3
        ),
        ood=dataclasses.replace(assessed.ood, threshold=assessed.ood.score - 1),
        prediction_set=tuple(assessed.probabilities),
    )


CASES: dict[str, Callable[[Assessment], Assessment]] = {
    "assessed": lambda assessed: assessed,
    "hostile name": with_a_hostile_name,
    "warnings": with_warnings,
}


def write(assessment: Assessment, path: Path, created: datetime) -> None:
    path.write_bytes(encode(assessment, path, created))


@pytest.mark.hazard("H-17")
@pytest.mark.parametrize("case", [*CASES, "retake", "error"])
def test_it_renders_alone_in_a_browser_and_prints_on_one_page(
    case: str,
    browser: Browser,
    assessed: Assessment,
    retake: Assessment,
    failed: Assessment,
    tmp_path: Path,
) -> None:
    path = tmp_path / "report.html"
    refused = {"retake": retake, "error": failed}
    write(refused[case] if case in refused else CASES[case](assessed), path, CREATED)
    widths = {"retake": [300], "error": []}.get(case, [150, 150])
    paper = {scheme: shown(browser, path, scheme, widths) for scheme in ("light", "dark")}
    assert paper["light"].min() > 240
    assert paper["dark"].max() < 40


def shown(browser: Browser, path: Path, scheme: str, widths: list[int]) -> np.ndarray:
    """Open a report in one colour scheme, check all that it promises, and return the colour of its corner.

    Args:
        browser: The browser.
        path: The report.
        scheme: ``light`` or ``dark``.
        widths: Pixels of the pictures in it. JPEG is decoded at a quarter for the micro-bundle's small input.
    """
    context = browser.new_context(color_scheme=scheme, viewport={"width": 800, "height": 1000})
    page = context.new_page()
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert page.evaluate("[...document.images].map(image => image.naturalWidth)") == widths
    assert page.evaluate("document.documentElement.scrollWidth") <= 800
    assert page.evaluate("document.scripts.length") == 0
    assert len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(prefer_css_page_size=True))) == 1
    screenshot = cv2.imdecode(np.frombuffer(page.screenshot(full_page=True), np.uint8), cv2.IMREAD_COLOR)
    context.close()
    return np.asarray(screenshot[5, 5])


def test_it_fits_a_narrow_screen(browser: Browser, assessed: Assessment, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write(assessed, path, CREATED)
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()


def test_it_holds_the_assessments_numbers(assessed: Assessment) -> None:
    html = render_html(assessed, CREATED)
    assert assessed.uncertainty is not None
    assert assessed.confidence is not None
    assert assessed.probabilities is not None
    assert assessed.descriptors is not None
    for value in (
        verdict(assessed),
        assessed.action,
        f"{assessed.cancer_probability:.3f}",
        "0.300",
        "95%",
        "(95% confidence, from 100)",
        f"{assessed.uncertainty.samples} networks",
        *(f"{limit:.3f}" for limit in assessed.uncertainty.cancer_interval),
        f"{assessed.confidence.level} (",
        *(f"{part:.2f}" for part in vars(assessed.confidence.parts).values()),
        f"{assessed.descriptors.border_irregularity:.2f}",
        assessed.model.sha256,
        assessed.safety_net,
        assessed.notice,
        "2026-01-02 03:04",
        __version__,
        *(limitation.text for limitation in assessed.limitations),
        *(full_name(name) for name in assessed.probabilities),
        "NV (grad-cam)",
    ):
        assert value is not None
        assert value.lower() in html.lower()
    assert "$" not in html


@pytest.mark.hazard("H-11")
def test_known_limitations_follow_the_context(classifier: Classifier, lesion_jpg: Path) -> None:
    result = classifier.assess(lesion_jpg, context=PatientContext(30, "nail"))
    html = render_html(result, CREATED)
    assert all(limitation.text in html for limitation in result.limitations)
    assert "site_nail" in [limitation.code for limitation in result.limitations]


def test_without_explanation_there_is_no_picture(classifier: Classifier, lesion_jpg: Path) -> None:
    html = render_html(classifier.assess(lesion_jpg), CREATED)
    assert "<figure>" not in html
    assert "Probabilities" in html


@pytest.mark.hazard("H-16")
def test_a_refused_picture_has_no_risk_and_no_map(retake: Assessment, failed: Assessment) -> None:
    for result, figures in ((retake, 1), (failed, 0)):
        html = render_html(result, CREATED)
        assert verdict(result) in html
        assert not any(f"{risk} RISK" in html for risk in RISKS)
        assert "<svg" not in html
        assert "P(cancer)" not in html
        assert html.count("<figure>") == figures
    assert retake.quality is not None
    assert all(instruction in render_html(retake, CREATED) for instruction in retake.quality.retake)


@pytest.mark.hazard("H-11")
def test_every_warning_of_the_gates_is_shown_and_nothing_is_certified(assessed: Assessment) -> None:
    worst = with_warnings(assessed)
    assert worst.ood is not None
    html = render_html(worst, CREATED)
    assert html.count('class="warning"') == 4
    assert f"{worst.ood.score:.1f}" in html
    assert render_html(assessed, CREATED).count("(95% confidence, from 100)") == 1
    assert "(95% confidence, from 100)" not in html


def test_a_name_that_is_not_valid_text_is_written_all_the_same(assessed: Assessment, tmp_path: Path) -> None:
    write(
        dataclasses.replace(assessed, image="/patients/someone/bad\udcff.jpg"),
        tmp_path / "report.html",
        CREATED,
    )
    html = (tmp_path / "report.html").read_text()
    assert "bad\\udcff.jpg" in html
    assert "someone" not in html  # folders may name the patient


def test_control_characters_of_a_name_are_escaped(assessed: Assessment, failed: Assessment) -> None:
    name = "a\u202egpj.<b>\x1b"
    assert failed.error is not None
    error = dataclasses.replace(failed.error, message=f"{name}: damaged")
    for page in (
        render_html(dataclasses.replace(assessed, image=name)),
        render_html(dataclasses.replace(failed, image=name, error=error)),
    ):
        assert r"a\u202egpj.&lt;b&gt;\x1b" in page
        assert "\u202e" not in page


def test_a_map_of_low_evidence_is_not_drawn(assessed: Assessment) -> None:
    assert assessed.explanation is not None
    low = dataclasses.replace(assessed.explanation, map=assessed.explanation.map * 1e-3)
    assert low.low_evidence
    html = render_html(dataclasses.replace(assessed, explanation=low), CREATED)
    # The legend of a map names the share that its line holds.
    assert "20%" in render_html(assessed, CREATED).partition('<section class="columns">')[0]
    assert "20%" not in html.partition('<section class="columns">')[0]
    assert "NV (grad-cam)" in html


def test_the_json_is_the_assessments(assessed: Assessment, tmp_path: Path) -> None:
    write(assessed, tmp_path / "report.JSON", CREATED)
    values = json.loads((tmp_path / "report.JSON").read_text())
    assert values.pop("created") == "2026-01-02T03:04:00"
    assert values.pop("edgeskin") == __version__
    assert values == json.loads(json.dumps(assessed.to_dict()))
    assert np.shape(values["explanation"]["map"]) == (8, 8)
    assert values["descriptors"]["area_fraction"] > 0.2


def test_the_png_holds_photo_map_and_text(assessed: Assessment, tmp_path: Path) -> None:
    write(assessed, tmp_path / "report.png", CREATED)
    page = cv2.imread(str(tmp_path / "report.png"))
    assert page.shape[1] == 944
    assert (page[540:] < 128).any(axis=(1, 2)).sum() > 100  # rows with letters


def test_a_refused_photo_has_a_png_too(retake: Assessment, tmp_path: Path) -> None:
    write(retake, tmp_path / "report.png", CREATED)
    assert cv2.imread(str(tmp_path / "report.png")) is not None


@pytest.mark.parametrize("name", ["report.pdf", "report", "missing/report.html", "folder.html"])
def test_a_file_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(SettingError, match=name) as caught:
        require_writable(tmp_path / name)
    assert caught.value.code == "setting"
    require_writable(tmp_path / "report.html")
