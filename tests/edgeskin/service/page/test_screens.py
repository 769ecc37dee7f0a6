"""What holds on every screen: it is accessible, fits narrow windows and has its words from the table."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import NO_CAMERA, Visitor, busy
from tests.edgeskin.service.test_page_texts import PLACEHOLDER, TABLE


def test_an_age_out_of_range_is_refused_beside_its_field(visitor: Visitor) -> None:
    visitor.page.fill("#age", "121")
    visitor.page.click("#open-camera")
    assert visitor.page.is_visible(f"text={visitor.text('start.age_invalid')}")
    assert visitor.page.get_attribute("#age", "aria-invalid") == "true"
    assert visitor.page.evaluate("document.activeElement.id") == "age"
    assert visitor.page.is_visible("#start")


def start(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.page.fill("#age", "200")
    visitor.page.click("#open-camera")


def camera(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.page.click("#open-camera")
    visitor.page.wait_for_selector(".advice.good")


def camera_problem(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.page.evaluate(NO_CAMERA)
    visitor.page.click("#open-camera")
    visitor.wait("camera-problem")


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
    start, camera, camera_problem, waiting, assessed, uncertain, retake, out_of_scope, unreadable, occupied,
    offline, locked, compared, not_compared, counting_down,
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
