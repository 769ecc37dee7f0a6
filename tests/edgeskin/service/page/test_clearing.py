"""Nothing of a person stays on the page."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import Visitor

DEAF = """() => {
  const { fetch } = window;
  document.body.dataset.answered = 0;
  window.fetch = async (path, { signal, ...options } = {}) => {
    const answer = await fetch(path, options);
    const json = answer.json.bind(answer);
    answer.json = async () => {
      const content = await json();
      if (path === "/v1/assess") document.body.dataset.answered = 1 + Number(document.body.dataset.answered);
      return content;
    };
    return answer;
  };
}"""
"""Let answers come although the page has given the request up, as when both cross."""
LOADS = """url => new Promise((resolve) => {
  const image = new Image();
  image.onload = () => resolve(true);
  image.onerror = () => resolve(false);
  image.src = url;
})"""


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


@pytest.mark.hazard("H-17")
def test_an_answer_that_comes_late_is_not_shown(visitor: Visitor, pictures: dict[str, Path]) -> None:
    """Neither to nobody, nor to the next visitor."""
    page = visitor.page
    answers = {risk: kiosk.asked(visitor.address, "v1/assess", pictures[risk]) for risk in ("HIGH", "LOW")}
    held: list[Any] = []
    page.route("**/v1/assess", lambda route: held.append(route))
    page.evaluate(DEAF)
    visitor.choose(pictures["HIGH"], "waiting")
    page.go_back()
    visitor.wait("start")
    held[0].fulfill(json=answers["HIGH"])
    page.wait_for_selector("body[data-answered='1']")
    page.wait_for_timeout(100)
    assert page.is_visible("#start")
    assert visitor.traces() == []
    visitor.choose(pictures["HIGH"], "waiting")
    page.go_back()
    visitor.wait("start")
    visitor.choose(pictures["LOW"], "waiting")
    held[1].fulfill(json=answers["HIGH"])
    page.wait_for_selector("body[data-answered='2']")
    page.wait_for_timeout(100)
    assert page.is_visible("#waiting")
    held[2].fulfill(json=answers["LOW"])
    visitor.wait("result")
    assert visitor.heading() == visitor.text("risk.LOW")


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
