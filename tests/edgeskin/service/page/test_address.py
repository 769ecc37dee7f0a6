"""What the page's address says: a token, and that a kiosk shows the page."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import NO_CAMERA, TOKEN, Visitor


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
        assert visitor.unexpected(kiosk.REFUSED_BY_SERVER) == []
    with kiosk.visitor(browser, address) as visitor:
        assert visitor.page.url == address
        stored = visitor.page.evaluate(
            "async () => [Object.entries(sessionStorage), localStorage.length, document.cookie,"
            " (await caches.keys()).length, (await indexedDB.databases()).length,"
            " (await navigator.serviceWorker.getRegistrations()).length]"
        )
        assert stored == [[["edgeskin-token", TOKEN]], 0, "", 0, 0, 0]


@pytest.mark.parametrize("wrong", ["€uro", "two words"])
def test_a_token_that_no_request_can_carry_is_forgotten(
    wrong: str, browser: Browser, address: str, pictures: dict[str, Path]
) -> None:
    with kiosk.visitor(browser, address, token=None) as visitor:
        page = visitor.page
        page.evaluate("token => sessionStorage.setItem('edgeskin-token', token)", wrong)
        page.reload()
        visitor.wait("token")
        assert page.evaluate("sessionStorage.length") == 0
        page.evaluate("token => { location.hash = `token=${encodeURIComponent(token)}`; }", wrong)
        visitor.wait("token")
        page.fill("#token-value", wrong)
        page.keyboard.press("Enter")
        page.wait_for_selector(f"text={visitor.text('token.wrong')}")
        page.fill("#token-value", TOKEN)
        page.keyboard.press("Enter")
        visitor.wait("start")
        # It may be there while a photo waits.
        page.evaluate("token => sessionStorage.setItem('edgeskin-token', token)", wrong)
        visitor.choose(pictures["LOW"], "token")
        page.fill("#token-value", TOKEN)
        page.keyboard.press("Enter")
        visitor.wait("result")
        assert visitor.unexpected(kiosk.REFUSED_BY_SERVER) == []


def test_a_token_may_hold_a_plus(browser: Browser, address: str) -> None:
    with kiosk.visitor(browser, address) as visitor:
        with visitor.page.expect_request("**/v1/model") as sent:
            visitor.page.evaluate("() => { location.hash = 'token=a+b/c='; }")
        assert sent.value.headers["authorization"] == "Bearer a+b/c="
        visitor.wait("token")


def test_a_kiosk_offers_no_files(browser: Browser, address: str, pictures: dict[str, Path]) -> None:
    with kiosk.visitor(browser, address, token=f"{TOKEN}&kiosk") as visitor:
        page = visitor.page
        assert page.url == address
        for _ in range(2):
            assert page.is_visible("#open-camera")
            assert page.is_hidden("#open-file")
            visitor.choose(pictures["HIGH"])
            offered = page.locator("#result button:visible").all_inner_texts()
            assert offered == [visitor.text("do.again"), visitor.text("do.print")]
            assert visitor.text("do.report_language") not in page.inner_text("#result")
            page.go_back()
            visitor.wait("start")
            page.reload()
            visitor.wait("start")
        page.evaluate(NO_CAMERA)
        page.click("#open-camera")
        visitor.wait("camera-problem")
        assert page.locator("#camera-problem button:visible").all_inner_texts() == [
            visitor.text("do.start_over")
        ]
        assert page.is_hidden(f"text={visitor.text('camera.instead')}")
        page.click("#camera-problem button:visible")
        visitor.wait("start")
    with kiosk.visitor(browser, address) as visitor:
        assert visitor.page.is_visible("#open-file")


def test_the_start_says_first_that_photos_are_stored(visitor: Visitor) -> None:
    page = visitor.page
    page.wait_for_selector(f"text={visitor.text('privacy.not_stored')}")
    model = kiosk.asked(visitor.address, "v1/model") | {"records": True}
    page.route("**/v1/model", lambda route: route.fulfill(json=model))
    page.reload()
    page.wait_for_selector(f"text={visitor.text('privacy.records')}")
    assert (
        page.inner_text("#privacy") == f"{visitor.text('privacy.records')} {visitor.text('privacy.clears')}"
    )
