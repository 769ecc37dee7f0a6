"""Two photos of one lesion."""

from pathlib import Path

import pytest

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import Visitor


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
    visitor.complaints = visitor.unexpected(kiosk.REFUSED_BY_SERVER)
