"""Requests that fail: each has a screen, and a way out."""

import json
from pathlib import Path

from tests.edgeskin.service.kiosk import Visitor, busy


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
