"""Masks and outlines of shapes whose values are known."""

import cv2
import numpy as np
import pytest

from edgeskin.imaging.segmentation import outline, segment, skin_color
from tests.edgeskin.lesions import SKIN, drawn


@pytest.mark.parametrize("shape", ["circle", "ellipse", "half"])
@pytest.mark.parametrize("side", [100, 224, 512])
def test_a_plain_lesion_is_found(shape: str, side: int) -> None:
    picture, truth = drawn(shape, side)
    found = cv2.resize(segment(picture).astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) > 0
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert dice > 0.92


@pytest.mark.parametrize("radius", [300, 225])
def test_black_corners_of_a_dermatoscope_are_no_lesion(radius: int) -> None:
    """Not even beside a pale lesion, where the corners stand out most."""
    picture, truth = drawn("circle")
    picture[truth] = (190, 140, 120)
    rows, columns = np.mgrid[:512, :512] - 255.5
    picture[np.hypot(rows, columns) > radius] = 0
    found = cv2.resize(segment(picture).astype(np.uint8), (512, 512), interpolation=cv2.INTER_NEAREST) > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.92
    np.testing.assert_array_equal(skin_color(picture), SKIN)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_nothing_is_found_in_a_blank_picture(level: int) -> None:
    picture = np.full((300, 300, 3), level, np.uint8)
    assert not segment(picture).any()


def test_the_outline_of_a_circle_keeps_its_distance_from_the_centre() -> None:
    _, mask = drawn("circle", 128)
    distances = np.hypot(*(outline(mask)[:, 0] - 64).T)
    assert distances == pytest.approx(32, abs=1.2)
