"""Dihedral transforms of a square: rotations by quarter turns, with and without a reflection.

Test-time augmentation runs the network on the first 1 or all 8 of these views of a picture. How the answers
of the views are averaged is defined here, in `average_views`, and nowhere else.
"""

from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Image

DIHEDRAL = 8
"""Number of dihedral transforms of a square. View 0 is the identity; views 4 to 7 are reflected."""

Float = TypeVar("Float", bound=np.floating[Any])

_ROTATIONS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


def transform(array: npt.NDArray[Any], view: int, axes: tuple[int, int] = (0, 1)) -> npt.NDArray[Any]:
    """Apply a dihedral transform.

    Views 4 to 7 flip the second axis first. Then every view rotates counterclockwise by ``view % 4`` quarter
    turns.

    Args:
        array: Any shape with two equal sides.
        view: 0 to 7.
        axes: Row and column axis of the square.

    Returns:
        The transformed array, of the same shape. It may be a view of the memory of ``array``.
    """
    return np.rot90(np.flip(array, axes[1]) if view >= DIHEDRAL // 2 else array, view % 4, axes)


def inverse(array: npt.NDArray[Any], view: int, axes: tuple[int, int] = (0, 1)) -> npt.NDArray[Any]:
    """Undo `transform` with the same ``view`` and ``axes``."""
    upright = np.rot90(array, -(view % 4), axes)
    return np.flip(upright, axes[1]) if view >= DIHEDRAL // 2 else upright


def views_of(square: Image, count: int) -> list[Image]:
    """Return views 0 to ``count - 1`` of a picture, each contiguous.

    OpenCV rotates pixels in memory about ten times faster than numpy copies a rotated array.

    Args:
        square: uint8 RGB, shape (s, s, 3).
        count: 1 to 8.

    Returns:
        ``count`` pictures of shape (s, s, 3), equal to those of `transform`.
    """
    mirrored = cv2.flip(square, 1) if count > DIHEDRAL // 2 else square
    sides = [square] * (DIHEDRAL // 2) + [mirrored] * (DIHEDRAL // 2)
    pairs = zip(sides[:count], (_ROTATIONS * 2)[:count], strict=True)
    views = (side if rotation is None else cv2.rotate(side, rotation) for side, rotation in pairs)
    return [np.asarray(view, dtype=np.uint8) for view in views]


def average_views(values: npt.NDArray[Float], axis: int) -> npt.NDArray[Float]:
    """Average the answers of a picture's views: the arithmetic mean.

    Args:
        values: Logits, features or maps of each view, in any shape. Maps must be upright (see `inverse`).
        axis: The axis of the views.

    Returns:
        The mean, without that axis, in the dtype of ``values``.
    """
    return np.asarray(values.mean(axis=axis), dtype=values.dtype)
