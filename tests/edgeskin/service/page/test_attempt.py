"""Requests that fail: each has a screen, and a way out."""

import json
from pathlib import Path

import pytest

from tests.edgeskin.service import kiosk
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
        assert visitor.text("page.safety_net") in page.inner_text("#notice")
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
    visitor.page.click(f"button:has-text('{visitor.text('do.retry')}')")
    visitor.wait("result")
    assert visitor.heading() == visitor.text("risk.LOW")
    visitor.complaints = visitor.unexpected("ERR_INTERNET_DISCONNECTED")


def test_a_service_that_fails_is_explained(visitor: Visitor, pictures: dict[str, Path]) -> None:
    body = json.dumps({"error": {"type": "X", "message": "<b>secret</b>", "code": "of_tomorrow"}})
    visitor.page.route("**/v1/assess", lambda route: route.fulfill(status=500, body=body))
    visitor.choose(pictures["LOW"], "notice")
    assert visitor.text("error.unknown", code="of_tomorrow") in visitor.page.inner_text("#notice")
    assert "secret" not in visitor.page.inner_text("body")
    visitor.page.click(f"text={visitor.text('do.again')}")
    visitor.wait("start")
    assert visitor.traces() == []
    visitor.complaints = visitor.unexpected("status of 500")


def test_a_photo_that_is_too_large_is_not_sent(visitor: Visitor, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(21_000_000))
    visitor.page.wait_for_selector("#privacy:not(:empty)")
    visitor.choose(large, "notice")
    assert visitor.heading() == visitor.text("failed.too_large")
    shown = visitor.page.inner_text("#notice")
    assert visitor.text("error.body_too_large") in shown
    assert visitor.text("page.safety_net") in shown
    # Another try would fail too.
    assert visitor.page.locator("#notice button").all_inner_texts() == [visitor.text("do.again")]
    assert not any(url.endswith("/v1/assess") for url in visitor.requests)


@pytest.mark.hazard("H-16")
@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("EdgeskinError", "network_failed", 500),
        ("ResourceError", "out_of_memory", 503),
    ],
)
def test_a_fault_of_the_service_is_not_the_photos(
    kind: str, code: str, status: int, visitor: Visitor, pictures: dict[str, Path]
) -> None:
    answer = kiosk.asked(visitor.address, "v1/assess", pictures["LOW"])
    failed = {
        "image": "photo", "status": "error", "model": answer["model"],
        "error": {"type": kind, "message": "x", "code": code},
    }  # fmt: skip
    visitor.page.route("**/v1/assess", lambda route: route.fulfill(status=status, json=failed), times=1)
    visitor.choose(pictures["LOW"], "notice")
    assert visitor.heading() == visitor.text("status.error")
    assert visitor.text(f"error.{code}") in visitor.page.inner_text("#notice")
    visitor.page.click(f"button:has-text('{visitor.text('do.retry')}')")
    visitor.wait("result")
    assert visitor.heading() == visitor.text("risk.LOW")
    visitor.complaints = visitor.unexpected("status of 50")


@pytest.mark.parametrize("body", ["<html>", '{"status": "assessed"}'])
def test_an_answer_that_makes_no_sense_leaves_a_way_out(
    body: str, visitor: Visitor, pictures: dict[str, Path]
) -> None:
    visitor.page.route("**/v1/assess", lambda route: route.fulfill(body=body), times=1)
    visitor.choose(pictures["LOW"], "notice")
    visitor.page.click(f"button:has-text('{visitor.text('do.retry')}')")
    visitor.wait("result")
    assert visitor.heading() == visitor.text("risk.LOW")
    visitor.complaints = visitor.unexpected("TypeError|undefined")


def test_a_visitor_who_waits_for_another_try_is_not_cleared(
    visitor: Visitor, pictures: dict[str, Path]
) -> None:
    page = visitor.page
    page.clock.install()
    page.route("**/v1/assess", lambda route: route.fulfill(**busy(seconds=60)), times=1)
    visitor.choose(pictures["LOW"], "notice")
    page.clock.run_for(50_000)
    assert page.is_hidden("#clearing")
    page.clock.run_for(11_000)
    visitor.wait("result")
    page.clock.run_for(38_000)
    assert page.is_hidden("#clearing")
    assert visitor.heading() == visitor.text("risk.LOW")
    visitor.complaints = visitor.unexpected("status of 503")


@pytest.mark.hazard("H-17")
def test_the_clearing_is_not_held_for_ever(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    page.clock.install()
    page.route("**/v1/assess", lambda route: route.fulfill(**busy(seconds=100_000)))
    visitor.choose(pictures["LOW"], "notice")
    page.clock.fast_forward(285_000)
    page.wait_for_selector("#clearing")
    page.clock.fast_forward(20_000)
    visitor.wait("start")
    assert [one for one in visitor.traces() if one != visitor.text("clearing.cleared")] == []
    visitor.complaints = visitor.unexpected("status of 503")
