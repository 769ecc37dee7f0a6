"""The camera, its live advice, and what the page offers where there is none."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Playwright

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import FAKE_CAMERA, OTHER_NAME, Visitor, busy, decoded
from tests.edgeskin.service.test_page_texts import TABLE

KEEP_PHOTO = """() => {
  const { toBlob } = HTMLCanvasElement.prototype;
  HTMLCanvasElement.prototype.toBlob = function (keep, ...how) {
    toBlob.call(this, (blob) => { if (this.width > 320) window.taken = blob; keep(blob); }, ...how);
  };
}"""

PHOTO = "async () => [...new Uint8Array(await window.taken.arrayBuffer())]"


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
