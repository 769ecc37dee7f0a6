"""Masks and descriptors, on shapes whose values are known."""

import cv2
import numpy as np
import pytest

from edgeskin.imaging.segmentation import COLORS, _quantile, describe, outline, segment, skin_color

SKIN = (225, 180, 160)


def drawn(
    shape: str, side: int = 512, color: tuple[int, int, int] = (95, 60, 45)
) -> tuple[np.ndarray, np.ndarray]:
    """A picture of skin with one lesion, and the lesion's mask."""
    mask = np.zeros((side, side), np.uint8)
    middle, radius = side // 2, side // 4
    if shape == "circle":
        cv2.circle(mask, (middle, middle), radius, 1, cv2.FILLED)
    if shape == "ellipse":
        cv2.ellipse(mask, (middle, middle), (radius, radius // 2), 30, 0, 360, 1, cv2.FILLED)
    if shape == "half":
        cv2.ellipse(mask, (middle, middle), (radius, radius), 0, 0, 180, 1, cv2.FILLED)
    if shape == "edge":
        cv2.circle(mask, (middle, 0), radius, 1, cv2.FILLED)
    picture = np.full((side, side, 3), SKIN, np.uint8)
    picture[mask > 0] = (95, 60, 45)
    return picture, mask > 0


@pytest.mark.parametrize("shape", ["circle", "ellipse", "half"])
@pytest.mark.parametrize("side", [100, 224, 512])
def test_a_plain_lesion_is_found(shape: str, side: int) -> None:
    picture, truth = drawn(shape, side)
    found = cv2.resize(segment(picture).astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) > 0
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert dice > 0.92


@pytest.mark.parametrize("radius", [300, 225])
def test_black_corners_of_a_dermatoscope_are_no_lesion(radius: int) -> None:
    """Of a pale lesion too, beside which they are what stands out most."""
    picture, truth = drawn("circle")
    picture[truth] = (190, 140, 120)
    rows, columns = np.mgrid[:512, :512] - 255.5
    picture[np.hypot(rows, columns) > radius] = 0
    found = cv2.resize(segment(picture).astype(np.uint8), (512, 512), interpolation=cv2.INTER_NEAREST) > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.92
    np.testing.assert_array_equal(skin_color(picture), SKIN)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_on_a_blank_picture_nothing_is_found(level: int) -> None:
    picture = np.full((300, 300, 3), level, np.uint8)
    assert not segment(picture).any()
    assert describe(picture, segment(picture)) is None


def test_a_circles_descriptors() -> None:
    told = describe(*drawn("circle"))
    assert told is not None
    assert told.asymmetry == pytest.approx((0, 0), abs=0.03)
    assert told.border_irregularity == pytest.approx(1, abs=0.06)
    assert told.area_fraction == pytest.approx(np.pi / 16, rel=0.01)
    assert told.diameter_fraction == pytest.approx(0.5, abs=0.02)
    assert told.colors == {"dark brown": 1.0}
    assert not told.cut_off


def test_an_ellipse_is_symmetric_and_longer_than_a_circle() -> None:
    told = describe(*drawn("ellipse"))
    assert told is not None
    assert told.asymmetry == pytest.approx((0, 0), abs=0.03)
    # Ramanujan's perimeter of an ellipse of axes 2 : 1, squared, over 4 pi times its area.
    perimeter = np.pi * (3 * 3 - np.sqrt((3 * 2 + 1) * (2 + 3 * 1)))
    assert told.border_irregularity == pytest.approx(perimeter**2 / (4 * np.pi * np.pi * 2), rel=0.06)


def test_a_half_circle_folds_onto_itself_along_one_axis_only() -> None:
    """Along its long axis, through its centre 4 r / 3 pi from the straight side, it does not meet itself."""
    told = describe(*drawn("half"))
    assert told is not None
    along_long, along_short = told.asymmetry
    assert along_short == pytest.approx(0, abs=0.03)
    # By Monte Carlo: points of the half disc whose mirror image is outside it.
    points = np.random.default_rng(0).uniform(-1, 1, (400_000, 2))
    points = points[(np.hypot(*points.T) < 1) & (points[:, 1] > 0)]
    mirrored = points * [1, -1] + [0, 2 * 4 / (3 * np.pi)]
    outside = (np.hypot(*mirrored.T) > 1) | (mirrored[:, 1] < 0)
    assert along_long == pytest.approx(outside.mean(), abs=0.03)


def test_colours_count_from_a_twentieth_on() -> None:
    picture, mask = drawn("circle", 128)
    rows = np.nonzero(mask)[0]
    picture[mask & (np.arange(128)[:, None] < np.quantile(rows, 0.3))] = COLORS["black"]
    picture[mask & (np.arange(128)[:, None] > np.quantile(rows, 0.98))] = COLORS["white"]
    told = describe(picture, mask)
    assert told is not None
    assert list(told.colors) == ["dark brown", "black"]
    assert told.colors["black"] == pytest.approx(0.3, abs=0.03)


def test_a_lesion_at_the_edge_is_cut_off() -> None:
    told = describe(*drawn("edge"))
    assert told is not None
    assert told.cut_off


def test_the_outline_of_a_circle_keeps_its_distance_from_the_centre() -> None:
    _, mask = drawn("circle", 128)
    distances = np.hypot(*(outline(mask)[:, 0] - 64).T)
    assert distances == pytest.approx(32, abs=1.2)


@pytest.mark.parametrize("count", [1, 2, 7, 16384])
def test_quantiles_are_numpys(count: int) -> None:
    values = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    for share in (0.5, 0.995):
        np.testing.assert_allclose(_quantile(values, share), np.quantile(values, share, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(
        _quantile(np.rint(50 * values), 0.5), np.median(np.rint(50 * values), axis=0)
    )
