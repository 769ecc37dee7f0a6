"""Descriptors of shapes whose values are known."""

import numpy as np
import pytest

from edgeskin.imaging.descriptors import COLORS, describe
from tests.edgeskin.lesions import drawn


def test_an_empty_mask_has_no_descriptors() -> None:
    picture, mask = drawn("circle")
    assert describe(picture, np.zeros_like(mask)) is None


def test_descriptors_of_a_circle() -> None:
    descriptors = describe(*drawn("circle"))
    assert descriptors is not None
    assert descriptors.asymmetry == pytest.approx((0, 0), abs=0.03)
    assert descriptors.border_irregularity == pytest.approx(1, abs=0.06)
    assert descriptors.area_fraction == pytest.approx(np.pi / 16, rel=0.01)
    assert descriptors.diameter_fraction == pytest.approx(0.5, abs=0.02)
    assert descriptors.colors == {"dark brown": 1.0}
    assert not descriptors.cut_off


def test_an_ellipse_is_symmetric_and_longer_than_a_circle() -> None:
    descriptors = describe(*drawn("ellipse"))
    assert descriptors is not None
    assert descriptors.asymmetry == pytest.approx((0, 0), abs=0.03)
    # Ramanujan's perimeter of an ellipse of axes 2 : 1, squared, over 4 pi times its area.
    perimeter = np.pi * (3 * 3 - np.sqrt((3 * 2 + 1) * (2 + 3 * 1)))
    assert descriptors.border_irregularity == pytest.approx(perimeter**2 / (4 * np.pi * np.pi * 2), rel=0.06)


def test_a_half_circle_is_symmetric_about_one_axis_only() -> None:
    """The long axis through its centre, 4 r / 3 pi from the straight side, is no axis of symmetry."""
    descriptors = describe(*drawn("half"))
    assert descriptors is not None
    along_long, along_short = descriptors.asymmetry
    assert along_short == pytest.approx(0, abs=0.03)
    # By Monte Carlo: points of the half disc whose mirror image is outside it.
    points = np.random.default_rng(0).uniform(-1, 1, (400_000, 2))
    points = points[(np.hypot(*points.T) < 1) & (points[:, 1] > 0)]
    mirrored = points * [1, -1] + [0, 2 * 4 / (3 * np.pi)]
    outside = (np.hypot(*mirrored.T) > 1) | (mirrored[:, 1] < 0)
    assert along_long == pytest.approx(outside.mean(), abs=0.03)


def test_colours_count_from_a_twentieth_of_the_lesion() -> None:
    picture, mask = drawn("circle", 128)
    rows = np.nonzero(mask)[0]
    picture[mask & (np.arange(128)[:, None] < np.quantile(rows, 0.3))] = COLORS["black"]
    picture[mask & (np.arange(128)[:, None] > np.quantile(rows, 0.98))] = COLORS["white"]
    descriptors = describe(picture, mask)
    assert descriptors is not None
    assert list(descriptors.colors) == ["dark brown", "black"]
    assert descriptors.colors["black"] == pytest.approx(0.3, abs=0.03)


def test_a_lesion_at_the_edge_is_cut_off() -> None:
    descriptors = describe(*drawn("edge"))
    assert descriptors is not None
    assert descriptors.cut_off
