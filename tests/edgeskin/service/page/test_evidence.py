"""The heat map over the photo."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.edgeskin.service import kiosk
from tests.edgeskin.service.kiosk import Visitor, decoded


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
    name = visitor.text("class.NV")
    page.wait_for_selector(f"text=/{re.escape(name)}.*({'|'.join(['no map is drawn', 'where, not why'])})/")
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
