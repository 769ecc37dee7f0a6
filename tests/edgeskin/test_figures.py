"""What is drawn: maps over photos, outlines, and what stays as it was."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeskin import Classifier
from edgeskin.examination import Examination
from edgeskin.explain.cam import FAINT, Explanation
from edgeskin.report.figures import (
    HOTTEST,
    caption,
    colored,
    encode_png,
    outlined,
    overlay,
    page,
    side_by_side,
)
from edgeskin.results import ModelInfo

PALETTE = colored(np.arange(256, dtype=np.uint8)[None])[0]
MODEL = ModelInfo("micro", "0", "0" * 64, "fp32", "generic")


def explanation(values: np.ndarray) -> Explanation:
    return Explanation("grad-cam", "cancer", values.astype(np.float32), MODEL)


@pytest.fixture(scope="module")
def found(shared_micro_bundle: Path, lesion_jpg: Path) -> Examination:
    return Classifier(shared_micro_bundle).examine(lesion_jpg, target="NV")


def test_where_nothing_speaks_for_the_target_the_photo_stays() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (70, 70, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay(photo, explanation(np.zeros((7, 7)))), photo)


def test_the_map_shows_where_it_is_hot_and_its_line_holds_the_hottest_share() -> None:
    photo = np.full((140, 140, 3), 200, np.uint8)
    values = np.zeros((7, 7))
    values[1:3, 4:6] = 1
    drawn = overlay(photo, explanation(values))
    changed = (drawn != photo).any(axis=2)
    assert changed[35:45, 95:105].all()
    assert not changed[100:, :40].any()
    # Yellow, the palette's end, half way from the photo.
    np.testing.assert_allclose(drawn[40, 100], 0.4 * photo[40, 100] + 0.6 * PALETTE[-1], atol=3)
    inside = np.zeros((140, 140), np.uint8)
    line, _ = cv2.findContours(
        (drawn.max(axis=2) < 60).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(inside, line, -1, 1, cv2.FILLED)
    assert inside.mean() == pytest.approx(HOTTEST, abs=0.06)


def test_the_palette_gets_lighter_all_along() -> None:
    """So that it can be read without colour: rising CIELAB lightness."""
    lightness = cv2.cvtColor(PALETTE[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0, :, 0]
    assert (np.diff(lightness) > -0.1).all()
    assert lightness[-1] - lightness[0] > 60


def test_an_outline_goes_around_the_lesion() -> None:
    photo = np.full((400, 400, 3), 150, np.uint8)
    mask = np.zeros((100, 100), np.uint8)
    cv2.circle(mask, (50, 50), 25, 1, cv2.FILLED)
    changed = (outlined(photo, mask > 0) != photo).any(axis=2)
    rows, columns = np.nonzero(changed)
    distances = np.hypot(rows - 201, columns - 201)
    assert 92 < distances.min() < distances.max() < 108
    np.testing.assert_array_equal(outlined(photo, np.zeros((100, 100), bool)), photo)


def test_photo_and_map_stand_beside_each_other(found: Examination) -> None:
    both = side_by_side(found)
    turned_away = side_by_side(dataclasses.replace(found, mask=None, explanation=None))
    assert both.shape[1] - turned_away.shape[1] == 464


def test_letters_that_cannot_be_drawn_do_not_stop_the_page(found: Examination) -> None:
    assert page(found, "  risk      HIGH\nfoto_größe_病変.jpg").shape[1] == 944


def test_a_png_holds_the_picture_bit_for_bit(found: Examination) -> None:
    drawn = side_by_side(found)
    decoded = cv2.imdecode(np.frombuffer(encode_png(drawn), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], drawn)


def test_captions_say_what_is_shown() -> None:
    assert caption(explanation(np.ones((7, 7)))) == "where, not why: the evidence for cancer (grad-cam)"
    assert caption(explanation(np.zeros((7, 7)))).startswith("hardly anything speaks for cancer")
    eigen = dataclasses.replace(explanation(np.ones((7, 7))), method="eigen-cam", target=None)
    assert caption(eigen) == "what stands out in the features (eigen-cam)"


def test_a_faint_map_leaves_the_photo_as_it_is() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (70, 70, 3), dtype=np.uint8)
    faint = explanation(np.eye(7) * 0.9 * FAINT)
    np.testing.assert_array_equal(overlay(photo, faint), photo)
    assert (overlay(photo, dataclasses.replace(faint, method="occlusion")) != photo).any()
