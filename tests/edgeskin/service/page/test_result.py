"""The screen of a result: its words are the service's, on the screen, on paper and as a file."""

import re
from pathlib import Path

import cv2
import pytest
from playwright.sync_api import Browser

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import Visitor
from tests.edgeskin.service.test_page_texts import TABLE

KEEP_FIELDS = """() => {
  const { fetch } = window;
  window.sent = [];
  window.fetch = (path, options = {}) => {
    if (options.body instanceof FormData) {
      const fields = [...options.body].filter(([, value]) => typeof value === "string");
      window.sent.push([path, Object.fromEntries(fields)]);
    }
    return fetch(path, options);
  };
}"""
"""Keep the fields of each form that the page sends, without the photo."""


@pytest.mark.parametrize(("risk", "locale"), [("HIGH", "en-GB"), ("MEDIUM", "de-DE"), ("LOW", "de-AT")])
def test_a_result_is_the_services(
    risk: str, locale: str, browser: Browser, address: str, pictures: dict[str, Path]
) -> None:
    expected = kiosk.asked(address, "v1/assess?age=30&site=nail", pictures[risk])
    assert expected["risk"] == risk
    with kiosk.visitor(browser, address, locale=locale) as visitor:
        page = visitor.page
        assert page.evaluate("document.documentElement.lang") == locale[:2]
        page.fill("#age", "30")
        page.select_option("#site", "nail")
        visitor.choose(pictures[risk])
        assert visitor.heading() == visitor.text(f"risk.{risk}")
        assert page.evaluate("document.activeElement === document.querySelector('#result h1')")
        assert page.inner_text(".verdict .action") == visitor.text(f"action.{expected['action_code']}")
        assert kiosk.per_cent(page.inner_text(".figure")) == pytest.approx(
            100 * expected["cancer_probability"], abs=0.05
        )
        thresholds = [100 * point["threshold"] for point in expected["operating_points"]]
        assert [
            kiosk.per_cent(one) for one in page.locator(".ticks span").all_inner_texts()
        ] == pytest.approx(thresholds, abs=0.05)
        assert page.inner_text(".confidence .level") == visitor.text(
            f"confidence.{expected['certainty']['level']}"
        )
        assert page.locator(".classes .name").all_text_contents() == [
            visitor.text(f"class.{code}") for code in expected["label_set"]
        ]
        codes = [one["code"] for one in expected["limitations"]]
        assert {"age_under_40", "site_nail"} <= set(codes)
        assert page.locator(".limits li").all_inner_texts() == [
            visitor.text(f"limitation.{code}") for code in codes
        ]
        assert visitor.text("page.safety_net") in page.inner_text("#result")
        assert visitor.text("page.notice") in page.inner_text("footer")
        marker, ranges = (page.locator(one).bounding_box() for one in (".marker", f".range.{risk}"))
        assert marker is not None
        assert ranges is not None
        assert ranges["x"] <= marker["x"] + marker["width"] / 2 <= ranges["x"] + ranges["width"]
        assert visitor.unexpected() == []


@pytest.mark.hazard("H-16")
@pytest.mark.parametrize("status", ["retake", "out_of_scope", "error"])
def test_a_refused_photo_has_no_risk(
    status: str, browser: Browser, address: str, pictures: dict[str, Path]
) -> None:
    with kiosk.visitor(browser, address) as visitor:
        visitor.choose(pictures[status])
        shown = visitor.page.inner_text("#result")
        assert visitor.heading() == visitor.text(f"status.{status}")
        assert visitor.text("refused.not_assessed") in shown
        assert not any(visitor.text(f"risk.{risk}") in shown for risk in ("HIGH", "MEDIUM", "LOW"))
        assert "%" not in shown
        assert visitor.page.locator("#result img, #result .scale").count() == 0
        if status == "error":
            assert visitor.text("error.unsupported_format") in shown
        else:
            assert visitor.text(f"action.{status}") in shown
        if status == "retake":
            failed = kiosk.asked(address, "v1/assess", pictures[status])["quality"]["failed"]
            assert len(failed) > 2
            assert visitor.page.locator(".quality li").all_inner_texts() == [
                visitor.text(f"quality.{code}") for code in failed
            ]
        visitor.page.click("#result button")
        visitor.wait("start")
        assert visitor.traces() == []
        assert visitor.unexpected(kiosk.REFUSED_BY_SERVER) == []


def test_a_photo_that_browsers_cannot_show_is_assessed(
    visitor: Visitor, pictures: dict[str, Path], tmp_path: Path
) -> None:
    picture = tmp_path / "lesion.tiff"
    assert cv2.imwrite(str(picture), cv2.imread(str(pictures["HIGH"])))
    visitor.choose(picture)
    assert visitor.heading() == visitor.text("risk.HIGH")
    visitor.page.wait_for_selector(f"text={visitor.text('evidence.no_preview')}")
    visitor.page.wait_for_selector(".map[src]:not([hidden])")
    assert visitor.page.locator(".evidence img").count() == 1  # the map alone


def test_it_prints_on_one_sheet(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    visitor.choose(pictures["HIGH"])
    page.wait_for_selector(".map[src]:not([hidden])")
    assert len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(prefer_css_page_size=True))) == 1
    page.emulate_media(media="print")
    printed = page.inner_text("body")
    for key in (
        "risk.HIGH",
        "action.refer_urgently",
        "limitation.skin_tone",
        "page.safety_net",
        "page.notice",
    ):
        assert visitor.text(key) in printed
    assert re.search(r"Assessed on .*20\d\d", printed)
    assert page.locator(".evidence img:visible").count() == 3  # the photo, and the photo under its map
    assert page.locator("button:visible, input:visible, select:visible").count() == 0


def test_the_longest_result_prints_on_one_sheet(
    browser: Browser, address: str, pictures: dict[str, Path]
) -> None:
    """All classes plausible, every limit, much advice, in the longer language."""
    answer = kiosk.asked(address, "v1/assess", pictures["MEDIUM"])
    answer["label_set"] = list(answer["probabilities"])
    answer["quality"]["advised"] = ["glare", "some_hair", "lesion_small", "lesion_off_centre"]
    with kiosk.visitor(browser, address, locale="de-DE") as visitor:
        visitor.page.route("**/v1/assess", lambda route: route.fulfill(json=answer))
        visitor.choose(pictures["MEDIUM"])
        assert visitor.page.locator(".classes li").count() == 8
        assert len(re.findall(rb"/Type\s*/Page[^s]", visitor.page.pdf(prefer_css_page_size=True))) == 1


def test_the_report_is_saved(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.choose(pictures["HIGH"])
    with visitor.page.expect_download() as saved:
        visitor.page.click(f"text={visitor.text('do.save')}")
    report = Path(saved.value.path()).read_text(encoding="utf-8")
    assert re.fullmatch(r"edgeskin-\d{8}T\d{4}\.html", saved.value.suggested_filename)
    assert "HIGH RISK" in report
    assert "lesion.jpg" not in report  # a file's name may name the patient
    visitor.page.wait_for_selector(f"text={visitor.text('do.saved')}")


@pytest.mark.parametrize("wording", ["It may be serious. <img src=x onerror=alert(1)>", None])
def test_a_machines_words_stand_below_the_services(
    wording: str | None, visitor: Visitor, pictures: dict[str, Path]
) -> None:
    page = visitor.page
    model = kiosk.asked(visitor.address, "v1/model") | {"wording": True}
    message = {"assessment": {}, "text": "The template. " * 60, "message": wording, "rejected": []}
    page.route("**/v1/model", lambda route: route.fulfill(json=model))
    page.route("**/v1/message", lambda route: route.fulfill(json=message))
    page.reload()
    visitor.choose(pictures["HIGH"])
    page.wait_for_selector(".message:not([hidden])")
    assert page.locator(".message > p").all_inner_texts() == [("The template. " * 60).strip()]
    expected = [] if wording is None else [wording, visitor.text("message.by_machine")]
    assert page.locator(".message blockquote p").all_inner_texts() == expected
    assert page.locator(".message img").count() == 0
    assert len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(prefer_css_page_size=True))) == 1


@pytest.mark.hazard("H-16")
def test_a_photo_that_the_gates_would_refuse_is_warned_of(
    browser: Browser, ungated: str, pictures: dict[str, Path]
) -> None:
    with kiosk.visitor(browser, ungated) as visitor:
        expected = kiosk.asked(ungated, "v1/assess", pictures["retake"])
        assert expected["status"] == "assessed"
        visitor.choose(pictures["retake"])
        shown = visitor.page.inner_text("#result .warning")
        assert visitor.text("result.warning") in shown
        failed = expected["quality"]["failed"]
        assert len(failed) > 2
        assert all(visitor.text(f"quality.{code}") in shown for code in failed)
        # A certified bound would promise what it was never measured on.
        assert visitor.page.locator(".probability .soft").count() == 2
        visitor.page.click("#result .actions button")
        visitor.wait("start")
        visitor.choose(pictures["LOW"])
        assert visitor.page.locator("#result .warning").count() == 0
        assert visitor.unexpected() == []


@pytest.mark.hazard("H-11")
def test_a_low_risk_and_a_low_confidence_are_qualified_beside_the_verdict(
    visitor: Visitor, pictures: dict[str, Path]
) -> None:
    answer = kiosk.asked(visitor.address, "v1/assess", pictures["LOW"])
    answer["certainty"]["level"] = "LOW"
    visitor.page.route("**/v1/assess", lambda route: route.fulfill(json=answer))
    visitor.choose(pictures["LOW"])
    verdict = visitor.page.inner_text(".verdict")
    assert visitor.text("result.low_confidence") in verdict
    assert visitor.text("result.dermatoscope_only") in verdict
    assert visitor.text("action.no_referral") in verdict


def test_a_high_risk_below_one_half_is_explained(visitor: Visitor, pictures: dict[str, Path]) -> None:
    answer = kiosk.asked(visitor.address, "v1/assess", pictures["HIGH"])
    threshold = answer["operating_points"][-1]["threshold"]
    explained = visitor.text("result.high_below_half", threshold=f"{threshold:.1%}")
    visitor.choose(pictures["HIGH"])
    assert explained not in visitor.page.inner_text(".probability")
    answer["cancer_probability"] = 0.236
    visitor.page.route("**/v1/assess", lambda route: route.fulfill(json=answer))
    visitor.page.click("#result .actions button")
    visitor.choose(pictures["HIGH"])
    assert explained in visitor.page.inner_text(".probability")


def test_a_wide_screen_shows_the_probability_at_once(
    browser: Browser, address: str, pictures: dict[str, Path]
) -> None:
    with kiosk.visitor(browser, address, viewport={"width": 1280, "height": 800}) as visitor:
        visitor.choose(pictures["HIGH"])
        for part in (".figure", ".stack"):
            box = visitor.page.locator(part).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] < 800


@pytest.mark.hazard("H-17")
def test_every_request_of_a_photo_has_its_context(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    model = kiosk.asked(visitor.address, "v1/model") | {"wording": True}
    page.route("**/v1/model", lambda route: route.fulfill(json=model))
    page.reload()
    visitor.wait("start")
    page.evaluate(KEEP_FIELDS)
    page.fill("#age", "30")
    page.select_option("#site", "nail")
    visitor.choose(pictures["HIGH"])
    page.wait_for_selector(".message:not([hidden])")
    page.wait_for_selector(".map[src]:not([hidden])")
    with page.expect_download():
        page.click(f"text={visitor.text('do.save')}")
    page.set_input_files("#earlier-file", pictures["turned"])
    visitor.wait("comparison")
    sent = page.evaluate("window.sent")
    names = {"assess", "explain", "message", "report", "compare"}
    assert {path.removeprefix("/v1/") for path, _ in sent} == names
    assert [fields for _, fields in sent if (fields.get("age"), fields.get("site")) != ("30", "nail")] == []


def test_plain_words_are_asked_for_once_a_language(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    model = kiosk.asked(visitor.address, "v1/model") | {"wording": True}
    page.route("**/v1/model", lambda route: route.fulfill(json=model))
    page.reload()
    visitor.choose(pictures["HIGH"])
    for language in ("de", "en", "de", "en"):
        page.click(f'[data-language="{language}"]')
        page.wait_for_selector(f".message:not([hidden]) >> text={TABLE['message.notice'][language]}")
    assert len([url for url in visitor.requests if url.endswith("/v1/message")]) == 2
