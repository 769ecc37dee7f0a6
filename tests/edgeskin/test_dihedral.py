"""Dihedral transforms, on squares that are worked by hand."""

import numpy as np
import pytest

from edgeskin.imaging.dihedral import DIHEDRAL, average_views, inverse, transform, views_of

pytestmark = pytest.mark.hazard("H-04")

SQUARE = np.array([[1, 2], [3, 4]])
EIGHT = [
    [[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]],
    [[2, 1], [4, 3]], [[1, 3], [2, 4]], [[3, 4], [1, 2]], [[4, 2], [3, 1]],
]  # fmt: skip


@pytest.mark.parametrize("view", range(DIHEDRAL))
def test_transform_and_inverse_by_hand(view: int) -> None:
    assert transform(SQUARE, view).tolist() == EIGHT[view]
    assert inverse(transform(SQUARE, view), view).tolist() == SQUARE.tolist()


@pytest.mark.parametrize("view", range(DIHEDRAL))
def test_other_axes_as_of_a_feature_map(view: int) -> None:
    channels = np.stack([SQUARE, 10 * SQUARE])
    transformed = transform(channels, view, (1, 2))
    assert transformed.tolist() == [EIGHT[view], (10 * np.array(EIGHT[view])).tolist()]
    assert inverse(transformed, view, (1, 2)).tolist() == channels.tolist()


@pytest.mark.parametrize("count", [1, 8])
def test_views_are_the_first_transforms_and_contiguous(count: int) -> None:
    square = np.random.default_rng(0).integers(0, 256, (37, 37, 3), dtype=np.uint8)
    views = views_of(square, count)
    assert len(views) == count
    for view, image in enumerate(views):
        np.testing.assert_array_equal(image, transform(square, view))
        assert image.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_views_are_averaged_by_their_arithmetic_mean(dtype: type[np.floating]) -> None:
    values = np.array([[[1, -2], [3, 4]], [[0, 0], [1, 10]]], dtype)  # (n, V, C)
    mean = average_views(values, axis=1)
    assert mean.tolist() == [[2, 1], [0.5, 5]]
    assert mean.dtype == dtype


def test_inverse_maps_average_to_the_map_that_was_transformed() -> None:
    heat = np.random.default_rng(0).random((5, 5), dtype=np.float32)
    upright = np.stack([inverse(transform(heat, view), view) for view in range(DIHEDRAL)])
    np.testing.assert_allclose(average_views(upright, axis=0), heat, rtol=1e-6)
