"""Figures: maps over photos, outlines, and what is left as it is."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeskin import Assessment, Classifier, compare_photos
from edgeskin.imaging.change import Comparison
from edgeskin.report.figures import (
    HOTTEST,
    caption,
    colored,
    compared,
    encode_jpeg,
    encode_png,
    evidence_layer,
    outlined,
    overlay,
    page,
    side_by_side,
)
from edgeskin.results import LOW_EVIDENCE, Explanation, ModelInfo

PALETTE = colored(np.arange(256, dtype=np.uint8)[None])[0]
MODEL = ModelInfo("micro", "0", "0" * 64, "fp32", "generic")


def explanation(values: np.ndarray) -> Explanation:
    return Explanation("grad-cam", "cancer", values.astype(np.float32), MODEL)


@pytest.fixture(scope="module")
def explained(shared_micro_bundle: Path, lesion_jpg: Path) -> Assessment:
    return Classifier(shared_micro_bundle).assess(lesion_jpg, explain="grad-cam", target="NV")


@pytest.fixture(scope="module")
def comparison(explained: Assessment) -> Comparison:
    return compare_photos(explained, explained)


def test_without_evidence_the_photo_stays_as_it_is() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (70, 70, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay(photo, explanation(np.zeros((7, 7)))), photo)


def test_the_layer_over_a_photo_is_the_overlay_without_its_line(explained: Assessment) -> None:
    """Composited by the rule of PNG (specification, 13.16) outside the line and its two black edges."""
    assert explained.pixels is not None
    assert explained.explanation is not None
    square = explained.pixels.square
    layer = evidence_layer(explained.explanation, len(square))
    read = cv2.imdecode(np.frombuffer(encode_png(layer), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, layer[..., [2, 1, 0, 3]])
    opacity = layer[..., 3:] / 255
    composite = opacity * layer[..., :3] + (1 - opacity) * square
    difference = np.abs(composite - overlay(square, explained.explanation)).max(axis=2)
    hottest = explained.explanation.hottest(len(square), HOTTEST).astype(np.uint8)
    around = np.ones((9, 9), np.uint8)
    inside = cv2.erode(hottest, around, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    is_line = (cv2.dilate(hottest, around) > 0) & (inside == 0)
    assert difference[~is_line].max() <= 3
    assert (~is_line).mean() > 0.4
    assert opacity.max() > 0.5


def test_a_map_of_low_evidence_is_a_transparent_layer() -> None:
    assert not evidence_layer(explanation(np.full((7, 7), LOW_EVIDENCE / 2)), 70).any()


def test_the_map_shows_where_the_evidence_is_and_its_line_holds_the_hottest_share() -> None:
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
    """It can be read without colour: CIELAB lightness rises."""
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


def test_photo_and_map_are_side_by_side(explained: Assessment) -> None:
    assert explained.pixels is not None
    both = side_by_side(explained)
    refused = side_by_side(
        dataclasses.replace(
            explained,
            status="retake",
            explanation=None,
            descriptors=None,
            pixels=dataclasses.replace(explained.pixels, mask=None),
        )
    )
    assert both.shape == (536, 944, 3)
    assert refused.shape == (536, 480, 3)


def test_a_comparison_is_three_panels(comparison: Comparison) -> None:
    figure = compared(comparison)
    assert figure.shape == (536, 1408, 3)
    # Before, and after aligned to it: the same photo, apart from the lesion's outline and the sampling.
    before, after = figure[16:464, 16:464].astype(int), figure[16:464, 480:928].astype(int)
    assert np.median(np.abs(before - after)) <= 2


def test_letters_outside_ascii_do_not_stop_the_page(explained: Assessment) -> None:
    assert page(explained, "  Action       refer\nfoto_größe_病変.jpg").shape[1] == 944


def test_long_lines_of_a_page_are_wrapped(explained: Assessment) -> None:
    short, long = (page(explained, "  Always       " + "word " * count) for count in (5, 60))
    assert long.shape[1] == short.shape[1] == 944
    assert long.shape[0] - short.shape[0] == 3 * 18


def test_a_png_holds_the_picture_bit_for_bit(explained: Assessment) -> None:
    figure = side_by_side(explained)
    decoded = cv2.imdecode(np.frombuffer(encode_png(figure), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], figure)


def test_a_jpeg_is_nearly_the_picture(explained: Assessment) -> None:
    assert explained.pixels is not None
    square = explained.pixels.square
    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(square), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(decoded.astype(int) - square).mean() < 3


def test_captions_name_method_and_target() -> None:
    """A map of low evidence has another caption, as it is not shown."""
    evidence = caption(explanation(np.ones((7, 7))))
    none = caption(explanation(np.zeros((7, 7))))
    assert evidence != none
    assert all("cancer" in text and "grad-cam" in text for text in (evidence, none))
    eigen = dataclasses.replace(explanation(np.ones((7, 7))), method="eigen-cam", target=None)
    assert "eigen-cam" in caption(eigen)
    assert "cancer" not in caption(eigen)


@pytest.mark.hazard("H-23")
def test_a_map_of_low_evidence_leaves_the_photo_as_it_is() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (70, 70, 3), dtype=np.uint8)
    low = explanation(np.eye(7) * 0.9 * LOW_EVIDENCE)
    np.testing.assert_array_equal(overlay(photo, low), photo)
    assert (overlay(photo, dataclasses.replace(low, method="occlusion")) != photo).any()


def test_figures_leave_their_source_as_it_is(explained: Assessment) -> None:
    assert explained.pixels is not None
    assert explained.pixels.mask is not None
    assert explained.explanation is not None
    before = explained.pixels.square.copy()
    overlay(explained.pixels.square, explained.explanation)
    outlined(explained.pixels.square, explained.pixels.mask)
    side_by_side(explained)
    np.testing.assert_array_equal(explained.pixels.square, before)
