"""The report of one photo, opened in a real browser: it renders, asks for nothing, and prints on one page."""

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from edgeskin import Classifier, SettingError, __version__
from edgeskin.decision.limitations import Context
from edgeskin.examination import Examination
from edgeskin.report.html import render, require_writable, write

WHEN = datetime(2026, 1, 2, 3, 4)


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
def assessed(classifier: Classifier, lesion_jpg: Path) -> Examination:
    return classifier.examine(lesion_jpg, mc_samples=30, target="NV")


def retaken(classifier: Classifier) -> Examination:
    return classifier.examine(np.zeros((300, 300, 3), np.uint8))


def of_a_long_hostile_name(classifier: Classifier, found: Examination) -> Examination:
    name = "/photos/" + "<img src=x onerror=alert(1)>&\"'" * 6 + "longwithoutspaces" * 8 + ".jpg"
    return dataclasses.replace(found, assessment=dataclasses.replace(found.assessment, image=name))


def with_warnings(classifier: Classifier, found: Examination) -> Examination:
    """All that a report can hold at once: each class in the set, warnings, every advice."""
    told = found.assessment
    assert told.quality is not None
    assert told.ood is not None
    assert told.probabilities is not None
    told = dataclasses.replace(
        told,
        quality=dataclasses.replace(
            told.quality, retake=("use more light",) * 3, advice=("move closer",) * 3
        ),
        ood=dataclasses.replace(told.ood, threshold=told.ood.score - 1),
        label_set=tuple(told.probabilities),
    )
    return dataclasses.replace(found, assessment=told)


CASES = {
    "assessed": lambda classifier, found: found,
    "retake": lambda classifier, found: retaken(classifier),
    "hostile name": of_a_long_hostile_name,
    "warnings": with_warnings,
}


@pytest.mark.parametrize("case", CASES)
def test_it_renders_alone_in_a_browser_and_prints_on_one_page(
    case: str, browser: Browser, classifier: Classifier, assessed: Examination, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    write(CASES[case](classifier, assessed), path, WHEN)
    widths = [300] if case == "retake" else [150, 150]
    paper = {scheme: shown(browser, path, scheme, widths) for scheme in ("light", "dark")}
    assert paper["light"].min() > 240
    assert paper["dark"].max() < 40


def shown(browser: Browser, path: Path, scheme: str, widths: list[int]) -> np.ndarray:
    """Open a report in one colour scheme, expect all that is promised of it; the colour of its corner.

    widths: pixels of the pictures in it. The micro-bundle's small input lets JPEG be decoded at a quarter.
    """
    context = browser.new_context(color_scheme=scheme, viewport={"width": 800, "height": 1000})
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert page.evaluate("[...document.images].map(image => image.naturalWidth)") == widths
    assert page.evaluate("document.documentElement.scrollWidth") <= 800
    assert page.evaluate("document.scripts.length") == 0
    assert len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(prefer_css_page_size=True))) == 1
    look = cv2.imdecode(np.frombuffer(page.screenshot(full_page=True), np.uint8), cv2.IMREAD_COLOR)
    context.close()
    return look[5, 5]


def test_it_fits_a_narrow_screen(browser: Browser, assessed: Examination, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write(assessed, path, WHEN)
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()


def test_it_tells_what_the_assessment_tells(assessed: Examination) -> None:
    html = render(assessed, WHEN)
    told = assessed.assessment
    assert told.uncertainty is not None
    assert told.certainty is not None
    for words in (
        f"{told.risk} risk: {told.action}",
        f"{told.cancer_probability:.3f}",
        "screen threshold 0.300",
        "at least 95 % of cancers like the 100 it was chosen on",
        "95 % of 30 networks",
        f"{told.certainty.level} (",
        told.model.sha256,
        "Research software, not a medical device",
        "2026-01-02 03:04",
        "skin tones were not recorded",
        "no scale, so no millimetres",
        "melanocytic nevus",
        "the evidence for NV (grad-cam)",
    ):
        assert words.lower() in html.lower()
    assert "$" not in html


def test_what_is_known_of_the_patient_is_told(classifier: Classifier, lesion_jpg: Path) -> None:
    found = classifier.examine(lesion_jpg, context=Context(30, "nail"))
    assert "nails: no pictures to learn from" in render(found, WHEN)


def test_a_picture_turned_away_has_no_risk_and_no_map(classifier: Classifier) -> None:
    html = render(retaken(classifier), WHEN)
    assert "Not assessed: take the picture again" in html
    assert not re.search(r"(HIGH|MEDIUM|LOW) risk", html)
    assert "Probabilities" not in html
    assert "the evidence" not in html
    assert "Looks" not in html
    assert "found by its colour" not in html


def test_a_name_that_is_no_text_does_not_stop_it(assessed: Examination, tmp_path: Path) -> None:
    name = "/patients/someone/bad\udcff.jpg"
    told = dataclasses.replace(assessed.assessment, image=name)
    write(dataclasses.replace(assessed, assessment=told), tmp_path / "report.html", WHEN)
    html = (tmp_path / "report.html").read_text()
    assert "bad\\udcff.jpg" in html
    assert "someone" not in html  # folders may tell who the patient is


def test_a_faint_map_is_not_drawn(assessed: Examination) -> None:
    assert assessed.explanation is not None
    faint = dataclasses.replace(assessed.explanation, map=assessed.explanation.map * 1e-3)
    html = render(dataclasses.replace(assessed, explanation=faint), WHEN)
    assert "Hardly anything speaks for NV" in html
    assert "The brighter" not in html


def test_json_is_the_examinations(assessed: Examination, tmp_path: Path) -> None:
    write(assessed, tmp_path / "report.JSON", WHEN)
    told = json.loads((tmp_path / "report.JSON").read_text())
    assert told.pop("created") == "2026-01-02T03:04:00"
    assert told.pop("edgeskin") == __version__
    assert told == json.loads(json.dumps(assessed.to_dict()))
    assert np.shape(told["explanation"]["map"]) == (8, 8)
    assert told["descriptors"]["area_fraction"] > 0.2


def test_the_picture_holds_photo_map_and_words(assessed: Examination, tmp_path: Path) -> None:
    write(assessed, tmp_path / "report.png", WHEN)
    page = cv2.imread(str(tmp_path / "report.png"))
    assert page.shape[1] == 944
    assert (page[700:] < 128).any(axis=(1, 2)).sum() > 100  # rows with letters


def test_a_photo_that_was_turned_away_has_a_picture_too(classifier: Classifier, tmp_path: Path) -> None:
    write(retaken(classifier), tmp_path / "report.png", WHEN)
    assert cv2.imread(str(tmp_path / "report.png")) is not None


@pytest.mark.parametrize("name", ["report.pdf", "report", "missing/report.html"])
def test_a_file_that_cannot_be_written_is_refused_beforehand(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"name it \.html, \.json, \.png|make it first"):
        require_writable(tmp_path / name)
