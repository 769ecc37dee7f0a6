"""Artifacts of dermoscopy, drawn at random: ruler marks, hairs, gel bubbles and pen marks.

Some classes and clinics have more artifacts than others, so a network can use them as shortcuts. Drawn on
images of every class at the same rate, they carry no information about the class. Positions and lengths are
shares of the image's side.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Image

Mask = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

PENS = ((40, 50, 140), (90, 40, 130), (25, 25, 30))
"""Blue, purple and black ink, RGB (0 to 255)."""
_SHIFT = 4
"""Fractional bits of the positions that OpenCV draws at, so that thin lines are not snapped to pixels."""


def draw_ruler(image: Image, rng: np.random.Generator) -> Image:
    """Draw the marks of a ruler: dark, evenly spaced along a line near an edge, every fifth one longer.

    Args:
        image: uint8 RGB (s, s, 3), which stays as it is.
        rng: Source of the random numbers.

    Returns:
        A new image, uint8 RGB (s, s, 3).
    """
    mask = _empty(image)
    angle = rng.integers(4) * np.pi / 2 + rng.normal(0, 0.1)
    along = np.array([np.cos(angle), np.sin(angle)])
    inwards = np.array([-along[1], along[0]])
    middle = 0.5 - rng.uniform(0.3, 0.45) * inwards
    step, length = rng.uniform(0.025, 0.07), rng.uniform(0.02, 0.05)
    count = int(0.8 / step)
    for number in range(count):
        foot = middle + (number - count / 2) * step * along
        reach = length * (1.8 if number % 5 == 0 else 1)
        _line(mask, np.stack([foot, foot + reach * inwards]), thickness=1)
    return _blended(image, mask, rng.uniform(10, 70, 3), rng.uniform(0.6, 1))


def draw_hairs(image: Image, rng: np.random.Generator) -> Image:
    """Draw 2 to 12 hairs: thin, dark, curved lines.

    Args:
        image: uint8 RGB (s, s, 3), which stays as it is.
        rng: Source of the random numbers.

    Returns:
        A new image, uint8 RGB (s, s, 3).
    """
    mask = _empty(image)
    for _ in range(rng.integers(2, 13)):
        start, angle = rng.uniform(-0.1, 1.1, 2), rng.uniform(0, 2 * np.pi)
        end = start + rng.uniform(0.2, 0.9) * np.array([np.cos(angle), np.sin(angle)])
        _line(mask, _curve(start, end, rng, bend=0.12), thickness=int(rng.integers(1, 3)))
    brown = rng.uniform(5, 60) * np.array([1.2, 0.9, 0.7])
    return _blended(image, mask, brown, rng.uniform(0.5, 0.95))


def draw_bubbles(image: Image, rng: np.random.Generator) -> Image:
    """Draw 1 to 8 gel bubbles: bright rings with a slightly brighter inside.

    Args:
        image: uint8 RGB (s, s, 3), which stays as it is.
        rng: Source of the random numbers.

    Returns:
        A new image, uint8 RGB (s, s, 3).
    """
    mask = _empty(image)
    side = image.shape[0]
    for _ in range(rng.integers(1, 9)):
        centre, radius = _pixels(rng.uniform(0, 1, 2), side), rng.uniform(0.01, 0.07) * side
        around = round(radius * 2**_SHIFT)
        cv2.circle(mask, centre.tolist(), around, int(rng.integers(20, 60)), cv2.FILLED, cv2.LINE_AA, _SHIFT)
        cv2.circle(mask, centre.tolist(), around, 255, int(rng.integers(1, 3)), cv2.LINE_AA, _SHIFT)
    return _blended(image, mask, rng.uniform(220, 255, 3), rng.uniform(0.35, 0.85))


def draw_pen_marks(image: Image, rng: np.random.Generator) -> Image:
    """Draw 1 to 3 broad strokes of one pen, each from near an edge.

    Args:
        image: uint8 RGB (s, s, 3), which stays as it is.
        rng: Source of the random numbers.

    Returns:
        A new image, uint8 RGB (s, s, 3).
    """
    mask = _empty(image)
    side = image.shape[0]
    for _ in range(rng.integers(1, 4)):
        towards = rng.uniform(0, 2 * np.pi)
        start = 0.5 + rng.uniform(0.35, 0.6) * np.array([np.cos(towards), np.sin(towards)])
        angle = rng.uniform(0, 2 * np.pi)
        end = start + rng.uniform(0.1, 0.45) * np.array([np.cos(angle), np.sin(angle)])
        _line(mask, _curve(start, end, rng, bend=0.08), max(2, round(rng.uniform(0.015, 0.045) * side)))
    mask = np.asarray(cv2.GaussianBlur(mask, (3, 3), 0), dtype=np.uint8)
    ink = np.array(PENS[rng.integers(len(PENS))]) * rng.uniform(0.7, 1.3)
    return _blended(image, mask, ink, rng.uniform(0.4, 0.85))


DRAWINGS: tuple[Callable[[Image, np.random.Generator], Image], ...] = (
    draw_ruler,
    draw_hairs,
    draw_bubbles,
    draw_pen_marks,
)
"""All artifacts."""


def _empty(image: Image) -> Mask:
    return np.zeros(image.shape[:2], np.uint8)


def _pixels(points: Points, side: int) -> npt.NDArray[np.int32]:
    """Convert shares of the side to OpenCV's fixed-point pixels with `_SHIFT` fractional bits."""
    return np.asarray(np.rint(points * side * 2**_SHIFT), dtype=np.int32)


def _line(mask: Mask, points: Points, thickness: int) -> None:
    """Draw a line through points (n, 2) into a mask (s, s). The thickness is in pixels."""
    cv2.polylines(mask, [_pixels(points, len(mask))], False, 255, thickness, cv2.LINE_AA, _SHIFT)


def _curve(start: Points, end: Points, rng: np.random.Generator, bend: float) -> Points:
    """20 points (20, 2) of a quadratic Bezier curve; ``bend`` is the deviation of its control point."""
    share = np.linspace(0, 1, 20)[:, None]
    middle = (start + end) / 2 + rng.normal(0, bend, 2)
    return np.asarray((1 - share) ** 2 * start + 2 * share * (1 - share) * middle + share**2 * end)


def _blended(image: Image, mask: Mask, colour: Points, opacity: float) -> Image:
    """Blend a colour (3,) into an image (s, s, 3); where the mask (s, s) is 255, by the opacity (0 to 1)."""
    share = (opacity / 255 * mask)[..., None]
    return np.asarray(np.rint(image * (1 - share) + colour.clip(0, 255) * share), dtype=np.uint8)
