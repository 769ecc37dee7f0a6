"""What the tests of the page share: a real service in a process, a real browser, and pictures.

    python -m tests.edgeskin.service.kiosk

takes the screenshots of the documents.
"""

import contextlib
import json
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from tests.conftest import ROOT
from tests.edgeskin.service.test_page_texts import TABLE

TOKEN = "a-token-for-the-tests-of-the-page"
OTHER_NAME = "kiosk.test"
"""A name of the service that is not loopback, where browsers allow no camera without https."""
NO_NETWORK = f"--host-resolver-rules=MAP {OTHER_NAME} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
REFUSED_BY_SERVER = r"status of 4(01|15|22)"
"""What Chromium itself logs of an answer that is an error, which a test provoked."""
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

NO_CAMERA = """() => {
  const none = new DOMException("", "NotFoundError");
  navigator.mediaDevices.getUserMedia = () => Promise.reject(none);
}"""
"""Make a page believe that there is no camera."""


@contextlib.contextmanager
def service(folder: Path, *options: str) -> Iterator[str]:
    """Run `edgeskin serve` with the default bundle and a token. Yields the address of the page."""
    tokens = folder / "tokens"
    tokens.write_text(TOKEN + "\n")
    command = [sys.executable, "-m", "edgeskin", "serve", "--port", "0", "--tokens", str(tokens)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--allowed-host", OTHER_NAME, *options],
            stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), (folder / "log").read_text()
            yield address
        finally:
            process.terminate()
            process.communicate(timeout=30)


@contextlib.contextmanager
def chromium(playwright: Playwright, *arguments: str) -> Iterator[Browser]:
    """Headless Chromium that reaches this machine alone; skips where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None and not Path(playwright.chromium.executable_path).exists():
        pytest.skip("no Chromium here: apt install chromium, or playwright install chromium")
    options = ["--no-sandbox", "--disable-gpu", NO_NETWORK, *arguments]
    browser = playwright.chromium.launch(executable_path=found, args=options)
    yield browser
    browser.close()


@dataclass
class Visitor:
    """A browser window on the page, and all that it asked for and complained of."""

    context: BrowserContext
    page: Page
    address: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def text(self, key: str, **values: object) -> str:
        """A text of the table in the page's language."""
        language = self.page.evaluate("document.documentElement.lang")
        return PLACEHOLDERS.sub(lambda found: str(values[found[1]]), TABLE[key][language])

    def wait(self, screen: str) -> None:
        self.page.wait_for_selector(f"#{screen}:not([hidden])")

    def choose(self, picture: Path, screen: str = "result") -> None:
        """Choose a file and wait for a screen."""
        self.page.set_input_files("#file", picture)
        self.wait(screen)

    def heading(self) -> str:
        return self.page.inner_text(".screen:not([hidden]) h1")

    def traces(self) -> list[str]:
        """What the page still holds of a person."""
        found: list[str] = self.page.evaluate(TRACES)
        return found

    def unexpected(self, allowed: str = "") -> list[str]:
        """Complaints, but for those of the network that a test provoked."""
        return [one for one in self.complaints if not (allowed and re.search(allowed, one))]


PLACEHOLDERS = re.compile(r"\{(\w+)\}")
TRACES = """() => [
  ...[...document.querySelectorAll("#result > *, #comparison > *, #notice > *")].map((one) => one.outerHTML),
  ...[...document.images].map((one) => one.src).filter((url) => url.startsWith("blob:")),
  ...[...document.querySelectorAll("input, select")].map((one) => one.type === "range" ? "" : one.value),
  ...["advice", "camera-reason", "announcer"].map((id) => document.getElementById(id).textContent),
  document.querySelector("video").srcObject ? "camera" : "",
].filter((one) => one)"""


@contextlib.contextmanager
def visitor(
    browser: Browser, address: str, *, token: str | None = TOKEN, **options: Any
) -> Iterator[Visitor]:
    """Open the page in a window of its own. Afterwards nothing but the service was asked for anything."""
    context = browser.new_context(**{"viewport": {"width": 800, "height": 1000}, "locale": "en-GB"} | options)
    context.set_default_timeout(20_000)
    page = context.new_page()
    one = Visitor(context, page, address)
    page.on("console", lambda message: one.complaints.append(message.text))
    page.on("pageerror", lambda error: one.complaints.append(str(error)))
    page.on("request", lambda request: one.requests.append(request.url))
    # Playwright takes choosers over only while somebody listens, and not at once.
    page.on("filechooser", lambda _: None)
    page.goto(address + (f"#token={token}" if token else ""))
    one.wait("start" if token else "token")
    yield one
    outside = [url for url in one.requests if not url.startswith((address, f"blob:{address}", "data:"))]
    assert outside == []
    context.close()


def pictures(folder: Path) -> dict[str, Path]:
    """Pictures with the default bundle's answer to each as their name."""
    draw = runpy.run_path(str(ROOT / "examples" / "draw_lesion.py"))["draw_lesion"]
    high = cv2.imread(str(ROOT / "examples" / "lesion.jpg"))
    turn = cv2.getRotationMatrix2D((300, 300), 8, 1)
    turned = cv2.warpAffine(high, turn, (600, 600), borderMode=cv2.BORDER_REFLECT)
    changed = turned.copy()
    cv2.circle(changed, (250, 380), 45, (120, 75, 70), cv2.FILLED)
    drawn = {
        "MEDIUM": draw("DF", np.random.default_rng(11), 400)[..., ::-1],
        "LOW": draw("BKL", np.random.default_rng(0), 400)[..., ::-1],
        "out_of_scope": draw("VASC", np.random.default_rng(0), 400)[..., ::-1],
        "retake": np.zeros((300, 300, 3), np.uint8),
        "turned": turned,
        "changed": cv2.GaussianBlur(changed, (0, 0), 1),
    }
    paths = {"HIGH": ROOT / "examples" / "lesion.jpg", "error": folder / "error.jpg"}
    paths["error"].write_bytes(b"no picture")
    for name, image in drawn.items():
        paths[name] = folder / f"{name}.png"
        assert cv2.imwrite(str(paths[name]), image)
    return paths


def video(path: Path, brightness: float) -> Path:
    """The example lesion as a still video for Chromium's fake camera (YUV4MPEG2, 640 x 480)."""
    square = cv2.resize(cv2.imread(str(ROOT / "examples" / "lesion.jpg")), (480, 480))
    frame = cv2.copyMakeBorder(square, 0, 0, 80, 80, cv2.BORDER_REPLICATE)
    planes = cv2.cvtColor((frame * brightness).astype(np.uint8), cv2.COLOR_BGR2YUV_I420)
    header = b"YUV4MPEG2 W640 H480 F20:1 Ip A1:1 C420jpeg\n"
    path.write_bytes(header + (b"FRAME\n" + planes.tobytes()) * 4)
    return path


def decoded(screenshot: bytes) -> np.ndarray:
    """A screenshot as uint8 BGR (h, w, 3)."""
    return np.asarray(cv2.imdecode(np.frombuffer(screenshot, np.uint8), cv2.IMREAD_COLOR))


def asked(address: str, path: str, picture: Path | None = None) -> Any:
    """The service's own answer, without the page. picture: None for GET."""
    body = None if picture is None else picture.read_bytes()
    request = urllib.request.Request(address + path, body, {"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def per_cent(shown: str) -> float:
    """The number that is shown, such as 12.3 of ``12,3 %``."""
    return float(re.sub(r"[^\d.]", "", shown.replace(",", ".")))


def busy(code: str = "queue_full", seconds: int = 3) -> dict[str, Any]:
    """Playwright's answer in place of a service that has no room."""
    body = {"error": {"type": "RequestError", "message": "busy", "code": code}, "request_id": "test"}
    headers = {"Retry-After": str(seconds), "Content-Type": "application/json"}
    return {"status": 503, "headers": headers, "body": json.dumps(body)}


def main() -> None:
    """Take the screenshots of docs/gallery: a kiosk with a result, and four phones side by side."""
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        drawn, film = pictures(folder), video(folder / "lesion.y4m", 1)
        camera = f"--use-file-for-fake-video-capture={film}"
        with service(folder) as address, chromium(playwright, *FAKE_CAMERA, camera) as browser:
            with visitor(browser, address, viewport={"width": 800, "height": 1580}) as one:
                one.choose(drawn["HIGH"])
                one.page.wait_for_selector(".map[src]:not([hidden])")
                one.page.evaluate("document.activeElement.blur()")
                _write("page-result", decoded(one.page.screenshot()))
            phones = [
                _phone(browser, address, "de-DE", "light", lambda one: None),
                _phone(browser, address, "en-GB", "dark", _frame),
                _phone(browser, address, "de-DE", "light", lambda one: one.choose(drawn["MEDIUM"])),
                _phone(browser, address, "en-GB", "dark", lambda one: one.choose(drawn["retake"])),
            ]
            shown = cv2.resize(np.hstack(phones), None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
            _write("page-phones", np.asarray(shown))


def _frame(one: Visitor) -> None:
    one.page.click("#open-camera")
    one.page.wait_for_selector(".advice.good")


def _phone(
    browser: Browser, address: str, locale: str, scheme: str, reach: Callable[[Visitor], None]
) -> np.ndarray:
    size = {"width": 390, "height": 844}
    with visitor(browser, address, locale=locale, color_scheme=scheme, viewport=size) as one:
        reach(one)
        one.page.evaluate("scrollTo(0, 0)")
        one.page.wait_for_timeout(1000)  # what is drawn late
        return cv2.copyMakeBorder(
            decoded(one.page.screenshot()), 12, 12, 12, 12, cv2.BORDER_CONSTANT, value=GRAY
        )


GRAY = (160, 160, 160)


def _write(name: str, image: np.ndarray) -> None:
    path = ROOT / "docs" / "gallery" / f"{name}.jpg"
    assert cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == "__main__":
    main()
