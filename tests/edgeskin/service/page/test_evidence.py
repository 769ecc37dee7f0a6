"""The heat map over the photo."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import Visitor, busy, decoded


def shown_pixels(visitor: Visitor) -> np.ndarray:
    return decoded(visitor.page.locator(".stack").screenshot()).astype(int)


def test_the_map_is_laid_over_the_photo(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    visitor.choose(pictures["HIGH"])
    page.wait_for_selector(".map[src]:not([hidden])")
    page.evaluate("document.querySelector('.map').decode()")
    pixels = {}
    for opacity in ("100", "50", "0"):
        page.fill("#opacity", opacity)
        pixels[opacity] = shown_pixels(visitor)
    full, half = (np.abs(pixels[one] - pixels["0"]) for one in ("100", "50"))
    assert full.max() > 60
    assert half.mean() == pytest.approx(full.mean() / 2, rel=0.2)
    page.fill("#opacity", "100")
    with page.expect_request("**/v1/explain") as sent:
        page.select_option("#target", "NV")
    assert "image/png" in sent.value.headers["accept"]
    shown = [visitor.text(f"evidence.{key}", target=visitor.text("class.NV")) for key in ("low", "caption")]
    page.wait_for_selector(f"text=/^({'|'.join(map(re.escape, shown))})$/")
    assert {one.get_attribute("value") for one in page.locator("#target option").all()} == {
        "cancer", *kiosk.asked(visitor.address, "v1/assess", pictures["HIGH"])["probabilities"],
    }  # fmt: skip


@pytest.mark.hazard("H-11")
def test_a_map_of_low_evidence_is_not_drawn(visitor: Visitor, pictures: dict[str, Path]) -> None:
    visitor.choose(pictures["LOW"])
    low = visitor.text("evidence.low", target=visitor.text("evidence.any_cancer"))
    visitor.page.wait_for_selector(f"text={low}")
    assert visitor.page.is_hidden(".map")
    assert visitor.page.is_hidden("#opacity")


@pytest.mark.hazard("H-11")
def test_a_map_never_stands_under_another_target(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    visitor.choose(pictures["HIGH"])
    page.wait_for_selector(".map[src]:not([hidden])")
    held: list[Any] = []
    page.route("**/v1/explain", lambda route: held.append(route))
    page.select_option("#target", "MEL")
    page.wait_for_selector(f"text={visitor.text('evidence.loading', target=visitor.text('class.MEL'))}")
    assert page.is_hidden(".map")
    assert page.is_hidden(".legend")
    assert page.get_attribute(".stack .photo", "alt") == visitor.text("evidence.photo")
    held[0].continue_()
    page.wait_for_selector(".map[src]:not([hidden])")
    assert visitor.text("class.MEL") in str(page.get_attribute(".stack .photo", "alt"))


def test_a_map_that_fails_can_be_asked_for_again(visitor: Visitor, pictures: dict[str, Path]) -> None:
    page = visitor.page
    page.route("**/v1/explain", lambda route: route.fulfill(**busy()), times=1)
    visitor.choose(pictures["HIGH"])
    page.wait_for_selector(f"text={visitor.text('evidence.failed')}")
    page.click(f".evidence button:has-text('{visitor.text('do.retry')}')")
    page.wait_for_selector(".map[src]:not([hidden])")
    assert page.is_hidden(".evidence button")
    visitor.complaints = visitor.unexpected("status of 503")
