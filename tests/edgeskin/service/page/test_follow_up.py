"""Two photos of one lesion."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import Visitor, busy


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
    shown = visitor.page.inner_text("#comparison")
    assert visitor.text(f"error.{code}") in shown
    assert visitor.text("compare.may_have_changed") in shown
    alone = [visitor.text("risk.LOW" if other == "LOW" else "status.retake"), visitor.text("risk.HIGH")]
    assert visitor.page.locator(".pair h2").all_inner_texts() == alone
    visitor.complaints = visitor.unexpected(kiosk.REFUSED_BY_SERVER)


@pytest.mark.hazard("H-16")
def test_a_photo_that_the_gates_would_refuse_is_warned_of(
    browser: Browser, ungated: str, pictures: dict[str, Path]
) -> None:
    with kiosk.visitor(browser, ungated) as visitor:
        visitor.choose(pictures["HIGH"])
        visitor.page.set_input_files("#earlier-file", pictures["retake"])
        visitor.wait("comparison")
        earlier, newer = visitor.page.locator(".pair figure").all()
        assert earlier.locator(".warning h3").inner_text() == visitor.text("result.warning")
        failed = kiosk.asked(ungated, "v1/assess", pictures["retake"])["quality"]["failed"]
        assert earlier.locator(".warning li").all_inner_texts() == [
            visitor.text(f"quality.{code}") for code in failed
        ]
        assert newer.locator(".warning").count() == 0


@pytest.mark.hazard("H-11")
def test_a_low_risk_is_qualified_here_too(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.choose(pictures["LOW"])
    visitor.page.set_input_files("#earlier-file", pictures["LOW"])
    visitor.wait("comparison")
    for verdict in visitor.page.locator(".pair .verdict").all_inner_texts():
        assert visitor.text("result.dermatoscope_only") in verdict
    assert visitor.text("compare.unchanged") in visitor.page.inner_text(".change")


def test_two_photos_that_are_too_large_together_are_not_sent(
    visitor: Visitor, tmp_path: Path, pictures: dict[str, Path]
) -> None:
    page = visitor.page
    large = tmp_path / "large.jpg"
    large.write_bytes(pictures["HIGH"].read_bytes() + bytes(12_000_000))
    visitor.choose(large)
    page.set_input_files("#earlier-file", large)
    visitor.wait("notice")
    assert visitor.text("compare.too_large") in page.inner_text("#notice")
    assert not any(url.endswith("/v1/compare") for url in visitor.requests)
    assert page.locator("#notice button").all_inner_texts() == [visitor.text("do.back_to_result")]
    page.click("#notice button")
    visitor.wait("result")
    assert visitor.heading() == visitor.text("risk.HIGH")


@pytest.mark.parametrize("failure", ["internal", "unreachable", "queue_full"])
def test_a_comparison_that_fails_leads_back_to_the_result(
    failure: str, visitor: Visitor, pictures: dict[str, Path]
) -> None:
    page = visitor.page
    visitor.choose(pictures["HIGH"])
    answers = {"internal": {"status": 500, "body": "{}"}, "queue_full": busy(seconds=60)}
    page.route(
        "**/v1/compare",
        lambda route: route.fulfill(**answers[failure]) if failure in answers else route.abort(),
    )
    page.set_input_files("#earlier-file", pictures["turned"])
    visitor.wait("notice")
    page.click(f"text={visitor.text('do.back_to_result')}")
    visitor.wait("result")
    assert visitor.heading() == visitor.text("risk.HIGH")
    visitor.complaints = visitor.unexpected("status of 50|ERR_FAILED")


def test_back_leads_from_a_comparison_to_its_result(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    visitor.choose(pictures["HIGH"])
    page.set_input_files("#earlier-file", pictures["turned"])
    visitor.wait("comparison")
    page.go_back()
    visitor.wait("result")
    assert visitor.heading() == visitor.text("risk.HIGH")
    # One that is under way is given up.
    held: list[Any] = []
    page.route("**/v1/compare", lambda route: held.append(route))
    page.set_input_files("#earlier-file", pictures["changed"])
    visitor.wait("waiting")
    page.go_back()
    visitor.wait("result")
    held[0].fulfill(json={})
    page.wait_for_timeout(200)
    assert page.is_visible("#result")
    page.go_back()
    visitor.wait("start")
    assert visitor.traces() == []
