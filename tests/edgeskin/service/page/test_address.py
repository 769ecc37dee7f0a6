"""What the page's address says: a token, and that a kiosk shows the page."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import TOKEN


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
