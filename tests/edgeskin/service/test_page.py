"""The page in a real browser, through the real service with the default bundle."""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Playwright, expect, sync_playwright

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import FAKE_CAMERA, OTHER_NAME, TOKEN, Visitor, busy, decoded
from tests.edgeskin.service.test_page_texts import PLACEHOLDER, TABLE

REFUSED_BY_SERVER = r"status of 4(01|15|22)"
"""What Chromium itself logs of an answer that is an error, which a test provoked."""
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with kiosk.service(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return kiosk.pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def browser(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    video = kiosk.video(tmp_path_factory.mktemp("video") / "lesion.y4m", 1)
    with kiosk.chromium(playwright, *FAKE_CAMERA, f"--use-file-for-fake-video-capture={video}") as started:
        yield started


@pytest.fixture
def visitor(browser: Browser, address: str) -> Iterator[Visitor]:
    """A window on the page in English. Nothing may complain in it."""
    with kiosk.visitor(browser, address) as one:
        yield one
        assert one.unexpected() == []


def asked(address: str, path: str, picture: Path) -> Any:
    """The service's own answer, without the page."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(address + path, picture.read_bytes(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def per_cent(shown: str) -> float:
    return float(re.sub(r"[^\d.]", "", shown.replace(",", ".")))


@pytest.mark.parametrize(("risk", "locale"), [("HIGH", "en-GB"), ("MEDIUM", "de-DE"), ("LOW", "de-AT")])
def test_a_result_is_the_services(
    risk: str, locale: str, browser: Browser, address: str, pictures: dict[str, Path]
) -> None:
    expected = asked(address, "v1/assess?age=30&site=nail", pictures[risk])
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
        assert per_cent(page.inner_text(".figure")) == pytest.approx(
            100 * expected["cancer_probability"], abs=0.05
        )
        thresholds = [100 * point["threshold"] for point in expected["operating_points"]]
        assert [per_cent(one) for one in page.locator(".ticks span").all_inner_texts()] == pytest.approx(
            thresholds, abs=0.05
        )
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
            failed = asked(address, "v1/assess", pictures[status])["quality"]["failed"]
            assert len(failed) > 2
            assert visitor.page.locator(".quality li").all_inner_texts() == [
                visitor.text(f"quality.{code}") for code in failed
            ]
        visitor.page.click("#result button")
        visitor.wait("start")
        assert visitor.traces() == []
        assert visitor.unexpected(REFUSED_BY_SERVER) == []


def test_a_busy_service_is_tried_again(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    page.clock.install()
    page.route("**/v1/assess", lambda route: route.fulfill(**busy()), times=2)
    visitor.choose(pictures["LOW"], "notice")
    for _ in range(2):
        page.wait_for_selector(f"text={visitor.text('busy.countdown', seconds=3)}")
        assert visitor.heading() == visitor.text("busy.title")
        assert visitor.text("error.queue_full") in page.inner_text("#notice")
        page.clock.run_for(3100)
    visitor.wait("result")
    assert visitor.heading() == visitor.text("risk.LOW")
    assert len([url for url in visitor.requests if url.endswith("/v1/assess")]) == 3
    visitor.complaints = visitor.unexpected("status of 503")


def test_without_a_connection_the_photo_is_kept_for_another_try(
    visitor: Visitor, pictures: dict[str, Path]
) -> None:
    visitor.context.set_offline(True)
    visitor.choose(pictures["LOW"], "notice")
    assert visitor.heading() == visitor.text("offline.title")
    visitor.context.set_offline(False)
    visitor.page.click(f"text={visitor.text('do.retry')}")
    visitor.wait("result")
    assert visitor.heading() == visitor.text("risk.LOW")
    visitor.complaints = visitor.unexpected("ERR_INTERNET_DISCONNECTED")


def test_a_service_that_fails_is_explained(visitor: Visitor, pictures: dict[str, Path]) -> None:
    body = json.dumps({"error": {"type": "X", "message": "<b>secret</b>", "code": "of_tomorrow"}})
    visitor.page.route("**/v1/assess", lambda route: route.fulfill(status=500, body=body))
    visitor.choose(pictures["LOW"], "notice")
    assert visitor.text("error.unknown", code="of_tomorrow") in visitor.page.inner_text("#notice")
    assert "secret" not in visitor.page.inner_text("body")
    visitor.page.click(f"text={visitor.text('do.start_over')}")
    visitor.wait("start")
    assert visitor.traces() == []
    visitor.complaints = visitor.unexpected("status of 500")


def test_a_photo_that_is_too_large_is_not_sent(visitor: Visitor, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(21_000_000))
    visitor.page.wait_for_selector("#records:not(:empty)")
    visitor.choose(large, "notice")
    assert visitor.text("error.body_too_large") in visitor.page.inner_text("#notice")
    assert not any(url.endswith("/v1/assess") for url in visitor.requests)


def test_an_age_out_of_range_is_refused_beside_its_field(visitor: Visitor) -> None:
    visitor.page.fill("#age", "121")
    visitor.page.click("#open-camera")
    assert visitor.page.is_visible(f"text={visitor.text('start.age_invalid')}")
    assert visitor.page.get_attribute("#age", "aria-invalid") == "true"
    assert visitor.page.evaluate("document.activeElement.id") == "age"
    assert visitor.page.is_visible("#start")


@pytest.mark.hazard("H-17")
def test_a_token_is_asked_for_and_nothing_else_is_stored(
    browser: Browser, address: str, pictures: dict[str, Path]
) -> None:
    with kiosk.visitor(browser, address, token=None) as visitor:
        page = visitor.page
        for token in ("another-token-of-some-length", TOKEN):
            page.fill("#token-value", token)
            page.keyboard.press("Enter")
            if token != TOKEN:
                page.wait_for_selector(f"text={visitor.text('token.wrong')}")
        visitor.wait("start")
        # It may expire while a photo waits, which then is assessed after all.
        page.evaluate("sessionStorage.setItem('edgeskin-token', 'revoked')")
        visitor.choose(pictures["LOW"], "token")
        assert page.inner_text("#token-problem") == ""
        page.fill("#token-value", TOKEN)
        page.click("#token-form button")
        visitor.wait("result")
        assert visitor.heading() == visitor.text("risk.LOW")
        assert visitor.unexpected(REFUSED_BY_SERVER) == []
    with kiosk.visitor(browser, address) as visitor:
        assert visitor.page.url == address
        stored = visitor.page.evaluate(
            "async () => [Object.entries(sessionStorage), localStorage.length, document.cookie,"
            " (await caches.keys()).length, (await indexedDB.databases()).length,"
            " (await navigator.serviceWorker.getRegistrations()).length]"
        )
        assert stored == [[["edgeskin-token", TOKEN]], 0, "", 0, 0, 0]


KEEP_PHOTO = """() => {
  const { toBlob } = HTMLCanvasElement.prototype;
  HTMLCanvasElement.prototype.toBlob = function (keep, ...how) {
    toBlob.call(this, (blob) => { if (this.width > 320) window.taken = blob; keep(blob); }, ...how);
  };
}"""
PHOTO = "async () => [...new Uint8Array(await window.taken.arrayBuffer())]"
LOADS = """url => new Promise((resolve) => {
  const image = new Image();
  image.onload = () => resolve(true);
  image.onerror = () => resolve(false);
  image.src = url;
})"""


def test_the_camera_is_guided_and_its_photo_is_assessed(visitor: Visitor) -> None:
    page = visitor.page
    asked_at_once = [0, 0]

    def begun(request: Any) -> None:
        if request.url.endswith("/v1/quality"):
            asked_at_once[0] += 1
            asked_at_once[1] = max(asked_at_once)

    def ended(request: Any) -> None:
        asked_at_once[0] -= request.url.endswith("/v1/quality")

    page.on("request", begun)
    page.on("requestfinished", ended)
    page.on("requestfailed", ended)
    page.click("#open-camera")
    page.wait_for_selector(f"text={visitor.text('camera.good')}")
    assert asked_at_once[1] == 1
    assert page.get_attribute("#advice", "aria-live") == "polite"
    box = page.locator("#finder").bounding_box()
    assert box is not None
    assert box["width"] == pytest.approx(box["height"], abs=1)
    page.click('[data-language="de"]')
    assert page.inner_text("#advice") == TABLE["camera.good"]["de"]
    page.evaluate(KEEP_PHOTO)
    page.click("#capture")
    visitor.wait("result")
    photo = bytes(page.evaluate(PHOTO))
    assert photo[:3] == b"\xff\xd8\xff"
    assert b"Exif" not in photo
    frame = decoded(photo)
    assert frame.shape == (480, 640, 3)  # the whole frame
    assert visitor.heading() == visitor.text("risk.HIGH")
    assert page.evaluate("document.querySelector('video').srcObject") is None


def test_guidance_waits_where_the_service_is_busy(visitor: Visitor) -> None:
    page = visitor.page
    page.route("**/v1/quality", lambda route: route.fulfill(**busy(seconds=2)), times=1)
    page.click("#open-camera")
    page.wait_for_selector(f"text={visitor.text('camera.no_guidance')}")
    assert page.is_enabled("#capture")
    page.wait_for_selector(f"text={visitor.text('camera.good')}")
    page.click("#leave-camera")
    visitor.wait("start")
    assert visitor.traces() == []
    visitor.complaints = visitor.unexpected("status of 503")


def test_a_dark_picture_is_advised_on_live(playwright: Playwright, address: str, tmp_path: Path) -> None:
    video = kiosk.video(tmp_path / "dark.y4m", 0.2)
    with (
        kiosk.chromium(playwright, *FAKE_CAMERA, f"--use-file-for-fake-video-capture={video}") as browser,
        kiosk.visitor(browser, address) as visitor,
    ):
        visitor.page.click("#open-camera")
        visitor.page.wait_for_selector(f"text={visitor.text('quality.brightness_low')}")


@pytest.mark.parametrize(
    ("reason", "arguments"),
    [
        ("denied", ["--use-fake-device-for-media-stream", "--deny-permission-prompts"]),
        ("none", ["--use-fake-ui-for-media-stream"]),
        ("insecure", FAKE_CAMERA),
    ],
)
def test_where_there_is_no_camera_a_file_is_the_way_out(
    reason: str, arguments: list[str], playwright: Playwright, address: str, pictures: dict[str, Path]
) -> None:
    if reason == "insecure":
        address = address.replace("127.0.0.1", OTHER_NAME)
    with (
        kiosk.chromium(playwright, *arguments) as browser,
        kiosk.visitor(browser, address) as visitor,
    ):
        page = visitor.page
        page.click("#open-camera")
        visitor.wait("camera-problem")
        assert page.inner_text("#camera-reason") == visitor.text(f"camera.{reason}")
        with page.expect_file_chooser() as chooser:
            page.click("#native-camera")
        assert chooser.value.element.get_attribute("capture") == "environment"
        chooser.value.set_files(pictures["LOW"])
        visitor.wait("result")
        assert visitor.heading() == visitor.text("risk.LOW")


def shown_pixels(visitor: Visitor) -> np.ndarray:
    return decoded(visitor.page.locator(".stack").screenshot()).astype(int)


def test_the_map_is_laid_over_the_photo(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    visitor.choose(pictures["HIGH"])
    page.wait_for_selector(".map[src]:not([hidden])")
    page.evaluate("document.querySelector('.map').decode()")
    pixels = {}
    for opacity in ("100", "50", "0"):
        page.fill("#opacity", opacity)
        pixels[opacity] = shown_pixels(visitor)
    full, half = (np.abs(pixels[one] - pixels["0"]) for one in ("100", "50"))
    assert full.max() > 60
    assert half.mean() == pytest.approx(full.mean() / 2, rel=0.2)
    page.fill("#opacity", "100")
    with page.expect_request("**/v1/explain") as sent:
        page.select_option("#target", "NV")
    assert "image/png" in sent.value.headers["accept"]
    name = visitor.text("class.NV")
    page.wait_for_selector(f"text=/{re.escape(name)}.*({'|'.join(['no map is drawn', 'where, not why'])})/")
    assert {one.get_attribute("value") for one in page.locator("#target option").all()} == {
        "cancer", *asked(visitor.address, "v1/assess", pictures["HIGH"])["probabilities"],
    }  # fmt: skip


@pytest.mark.hazard("H-11")
def test_a_map_of_low_evidence_is_not_drawn(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.choose(pictures["LOW"])
    low = visitor.text("evidence.low", target=visitor.text("evidence.any_cancer"))
    visitor.page.wait_for_selector(f"text={low}")
    assert visitor.page.is_hidden(".map")
    assert visitor.page.is_hidden("#opacity")


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
    answer = asked(address, "v1/assess", pictures["MEDIUM"])
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


@pytest.mark.parametrize("which", ["turned", "changed"])
def test_a_follow_up_shows_what_changed(which: str, visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    visitor.choose(pictures["HIGH"])
    page.set_input_files("#earlier-file", pictures[which])
    visitor.wait("comparison")
    assert page.locator(".pair h2").all_inner_texts() == [visitor.text("risk.HIGH")] * 2
    assert page.locator("tbody tr").count() == 5
    beyond = page.locator("tr.beyond th").all_inner_texts()
    assert (visitor.text("change.largest_color_difference") in beyond) == (which == "changed")
    key = "compare.changed" if which == "changed" else "compare.unchanged"
    assert visitor.text(key) in page.inner_text(".change")
    assert visitor.text("compare.note") in page.inner_text("#comparison")
    page.click(f"text={visitor.text('do.back_to_result')}")
    visitor.wait("result")
    assert visitor.heading() == visitor.text("risk.HIGH")


@pytest.mark.parametrize(("other", "code"), [("LOW", "registration"), ("retake", "not_assessed")])
def test_photos_that_cannot_be_compared_stand_alone(
    other: str, code: str, visitor: Visitor, pictures: dict[str, Path]
) -> None:
    visitor.choose(pictures["HIGH"])
    visitor.page.set_input_files("#earlier-file", pictures[other])
    visitor.wait("comparison")
    assert visitor.heading() == visitor.text("compare.failed_title")
    assert visitor.text(f"error.{code}") in visitor.page.inner_text("#comparison")
    alone = [visitor.text("risk.LOW" if other == "LOW" else "status.retake"), visitor.text("risk.HIGH")]
    assert visitor.page.locator(".pair h2").all_inner_texts() == alone
    visitor.complaints = visitor.unexpected(REFUSED_BY_SERVER)


@pytest.mark.parametrize("wording", ["It may be serious. <img src=x onerror=alert(1)>", None])
def test_a_machines_words_stand_below_the_services(
    wording: str | None, visitor: Visitor, pictures: dict[str, Path]
) -> None:
    page = visitor.page
    model = asked_model(visitor.address) | {"wording": True}
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


def asked_model(address: str) -> Any:
    request = urllib.request.Request(address + "v1/model", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_back_and_forward_show_nothing_of_the_last_person(
    visitor: Visitor, pictures: dict[str, Path]
) -> None:
    page = visitor.page
    page.fill("#age", "44")
    visitor.choose(pictures["HIGH"])
    url = page.get_attribute(".stack .photo", "src")
    assert page.evaluate(LOADS, url) is True
    page.go_back()
    visitor.wait("start")
    assert visitor.traces() == []
    assert page.evaluate(LOADS, url) is False
    visitor.complaints = visitor.unexpected("ERR_FILE_NOT_FOUND")
    page.go_forward()
    visitor.wait("start")
    assert visitor.traces() == []
    # From another page too, whether the browser kept this one or not.
    visitor.choose(pictures["HIGH"])
    page.goto("about:blank")
    page.go_back()
    visitor.wait("start")
    assert visitor.traces() == []


def test_an_answer_that_comes_late_is_not_shown(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    held: list[Any] = []
    page.route("**/v1/assess", lambda route: held.append(route))
    visitor.choose(pictures["HIGH"], "waiting")
    page.go_back()
    visitor.wait("start")
    for route in held:
        route.abort()
    page.wait_for_timeout(200)
    assert page.is_visible("#start")
    assert visitor.traces() == []
    visitor.complaints = visitor.unexpected("ERR_FAILED")


@pytest.mark.parametrize("screen", ["result", "camera", "start"])
def test_it_clears_itself_after_a_minute(screen: str, visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    page.clock.install()
    if screen == "result":
        visitor.choose(pictures["HIGH"])
    elif screen == "camera":
        page.click("#open-camera")
        page.wait_for_selector("#capture:enabled")
    else:
        page.fill("#age", "44")
    page.keyboard.press("Shift")
    page.clock.fast_forward(38_000)
    assert page.is_hidden("#clearing")
    page.clock.fast_forward(6_000)
    page.wait_for_selector("#clearing")
    assert re.search(r"\b1[0-9] s\b", page.inner_text("#clearing-text"))
    assert "Press any key" in page.inner_text("#announcer")
    page.keyboard.press("Shift")
    assert page.is_hidden("#clearing")
    page.clock.fast_forward(38_000)
    assert page.is_hidden("#clearing")
    assert visitor.traces() != []
    page.clock.fast_forward(23_000)
    page.wait_for_selector("body[data-screen=start]")
    expect(page.locator("#age")).to_have_value("")
    page.wait_for_selector("#clearing", state="hidden")
    assert [one for one in visitor.traces() if one != visitor.text("clearing.cleared")] == []


def test_the_start_does_not_count_down(visitor: Visitor) -> None:
    visitor.page.clock.install()
    visitor.page.clock.fast_forward(100_000)
    assert visitor.page.is_hidden("#clearing")


# Each screen, for what holds on all of them.


def start(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.page.fill("#age", "200")
    visitor.page.click("#open-camera")


def camera(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.page.click("#open-camera")
    visitor.page.wait_for_selector(".advice.good")


def waiting(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.page.route("**/v1/assess", lambda route: None)
    visitor.choose(pictures["LOW"], "waiting")


def assessed(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.choose(pictures["HIGH"])
    visitor.page.wait_for_selector(".map[src]:not([hidden])")


def uncertain(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.choose(pictures["MEDIUM"])
    visitor.page.wait_for_selector(
        f"text={visitor.text('evidence.low', target=visitor.text('evidence.any_cancer'))}"
    )


def retake(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.choose(pictures["retake"])


def out_of_scope(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.choose(pictures["out_of_scope"])


def unreadable(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.choose(pictures["error"])


def occupied(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.page.route("**/v1/assess", lambda route: route.fulfill(**busy("rate_limited", 60)))
    visitor.choose(pictures["LOW"], "notice")


def offline(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.page.route("**/v1/assess", lambda route: route.abort())
    visitor.choose(pictures["LOW"], "notice")


def locked(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.page.evaluate("sessionStorage.clear()")
    visitor.choose(pictures["LOW"], "token")
    visitor.page.fill("#token-value", "wrong")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector("#token-problem:not(:empty)")


def compared(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.choose(pictures["HIGH"])
    visitor.page.set_input_files("#earlier-file", pictures["changed"])
    visitor.wait("comparison")


def not_compared(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.choose(pictures["HIGH"])
    visitor.page.set_input_files("#earlier-file", pictures["retake"])
    visitor.wait("comparison")


def counting_down(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.page.clock.install()
    visitor.choose(pictures["retake"])
    visitor.page.clock.fast_forward(45_000)
    visitor.page.wait_for_selector("#clearing")


SCREENS = (
    start, camera, waiting, assessed, uncertain, retake, out_of_scope, unreadable, occupied, offline, locked,
    compared, not_compared, counting_down,
)  # fmt: skip
WORDS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement, data } = walker.currentNode;
    if (!parentElement.closest("[hidden], noscript, script, [translate=no]")) found.push(data.trim());
  }
  for (const name of ["aria-label", "alt", "title", "placeholder", "aria-valuetext", "data-head"])
    for (const one of document.querySelectorAll(`[${name}]`))
      if (!one.closest("[hidden]")) found.push(one.getAttribute(name));
  return [document.title, ...found.filter((one) => one)];
}"""
NUMBER = r"[<>]?[\d.,]+(\s?%)?"
SMALL = """() => [...document.querySelectorAll("button, input, select, a")].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width > 1 && box.height > 0 && (box.height < 44 || box.width < 44);
}).map((one) => one.outerHTML)"""
AXE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.mark.parametrize("reach", SCREENS)
def test_a_screen_is_accessible_narrow_and_in_the_tables_words(
    reach: Callable[[Visitor, dict[str, Path]], None],
    browser: Browser,
    address: str,
    pictures: dict[str, Path],
) -> None:
    with kiosk.visitor(browser, address) as visitor:
        page = visitor.page
        reach(visitor, pictures)
        screen = page.get_attribute("body", "data-screen")
        for scheme, language, rules in (("light", "en", AXE), ("dark", "de", ["color-contrast"])):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.dispatch_event(f'[data-language="{language}"]', "click")
            assert page.get_attribute("body", "data-screen") == screen
            known = [
                PLACEHOLDER.sub(".+", re.escape(texts[language]).replace(r"\{", "{").replace(r"\}", "}"))
                for texts in TABLE.values()
            ]
            pattern = re.compile("|".join([*known, NUMBER]))
            page.wait_for_timeout(300 if reach is counting_down else 0)  # its next second
            assert [words for words in page.evaluate(WORDS) if not pattern.fullmatch(words)] == []
            found = (
                Axe()
                .run(page, options={"runOnly": rules, "resultTypes": ["violations"]})
                .response["violations"]
            )
            assert [
                (one["id"], one["nodes"][0]["html"])
                for one in found
                if one["impact"] in ("serious", "critical")
            ] == []
            assert page.locator("h1:visible").count() == 1
        # 320 px is also 400% zoom of 1280 px (WCAG 1.4.10); the root's size is 200% text (1.4.4).
        page.set_viewport_size({"width": 320, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        assert page.evaluate(SMALL) == []
        page.set_viewport_size({"width": 800, "height": 1000})
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert page.evaluate("document.documentElement.scrollWidth") <= 800
        motion = "document.getAnimations().filter((one) => one.playState === 'running').length"
        assert page.evaluate(motion) == 0


def press_until(visitor: Visitor, selector: str) -> None:
    """Press Tab until an element has the focus, which must be visible."""
    for _ in range(40):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate("selector => document.activeElement.matches(selector)", selector):
            outline = "getComputedStyle(document.activeElement).outlineWidth"
            assert float(visitor.page.evaluate(outline).removesuffix("px")) >= 2
            return
    raise AssertionError(f"no Tab reaches {selector}")


def test_the_keyboard_alone_is_enough(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    press_until(visitor, "#age")
    page.keyboard.type("30")
    press_until(visitor, "#site")
    page.keyboard.press("ArrowDown")
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.id") == "open-file":
            break
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(pictures["HIGH"])
    visitor.wait("result")
    assert page.evaluate("document.activeElement.textContent") == visitor.text("risk.HIGH")
    page.wait_for_selector(".map[src]:not([hidden])")
    press_until(visitor, "#opacity")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.querySelector('.map').style.opacity") == "0.95"
    assert page.get_attribute("#opacity", "aria-valuetext") == visitor.text(
        "evidence.opacity_value", value="95%"
    )
    press_until(visitor, "#target")
    press_until(visitor, ".actions button")
    page.keyboard.press("Enter")
    visitor.wait("start")
    assert page.evaluate("document.activeElement.textContent") == visitor.text("start.title")
