"""Drawn things that lie on or before the skin in real photos: ruler marks, hairs, gel bubbles, pen marks.

They come more often with some classes and clinics than with others. Drawn on pictures of every class alike,
they tell the network nothing. Positions and lengths are shares of the picture's side.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.preprocess import Image

Mask = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

PENS = ((40, 50, 140), (90, 40, 130), (25, 25, 30))
"""Blue, purple and black ink, RGB."""
_SHIFT = 4
"""OpenCV takes positions in 1/2^_SHIFT of a pixel, so that thin lines do not jump from pixel to pixel."""


def draw_ruler(image: Image, rng: np.random.Generator) -> Image:
    """Dark marks at even distances along a straight line near an edge, every fifth one longer.

    image and result: uint8 RGB (s, s, 3).
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
    return _painted(image, mask, rng.uniform(10, 70, 3), rng.uniform(0.6, 1))


def draw_hairs(image: Image, rng: np.random.Generator) -> Image:
    """2 to 12 thin dark curved lines. image and result: uint8 RGB (s, s, 3)."""
    mask = _empty(image)
    for _ in range(rng.integers(2, 13)):
        start, angle = rng.uniform(-0.1, 1.1, 2), rng.uniform(0, 2 * np.pi)
        end = start + rng.uniform(0.2, 0.9) * np.array([np.cos(angle), np.sin(angle)])
        _line(mask, _curve(start, end, rng, bend=0.12), thickness=int(rng.integers(1, 3)))
    brown = rng.uniform(5, 60) * np.array([1.2, 0.9, 0.7])
    return _painted(image, mask, brown, rng.uniform(0.5, 0.95))


def draw_bubbles(image: Image, rng: np.random.Generator) -> Image:
    """1 to 8 bright rings, a little bright inside too. image and result: uint8 RGB (s, s, 3)."""
    mask = _empty(image)
    side = image.shape[0]
    for _ in range(rng.integers(1, 9)):
        centre, radius = _pixels(rng.uniform(0, 1, 2), side), rng.uniform(0.01, 0.07) * side
        around = round(radius * 2**_SHIFT)
        cv2.circle(mask, centre.tolist(), around, int(rng.integers(20, 60)), cv2.FILLED, cv2.LINE_AA, _SHIFT)
        cv2.circle(mask, centre.tolist(), around, 255, int(rng.integers(1, 3)), cv2.LINE_AA, _SHIFT)
    return _painted(image, mask, rng.uniform(220, 255, 3), rng.uniform(0.35, 0.85))


def draw_pen_marks(image: Image, rng: np.random.Generator) -> Image:
    """1 to 3 broad strokes of one pen, which begin near an edge. image and result: uint8 RGB (s, s, 3)."""
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
    return _painted(image, mask, ink, rng.uniform(0.4, 0.85))


DRAWINGS: tuple[Callable[[Image, np.random.Generator], Image], ...] = (
    draw_ruler,
    draw_hairs,
    draw_bubbles,
    draw_pen_marks,
)


def _empty(image: Image) -> Mask:
    return np.zeros(image.shape[:2], np.uint8)


def _pixels(points: Points, side: int) -> npt.NDArray[np.int32]:
    """Shares of the side as OpenCV takes them with `_SHIFT`, of the same shape."""
    return np.rint(points * side * 2**_SHIFT).astype(np.int32)


def _line(mask: Mask, points: Points, thickness: int) -> None:
    """Draw a line through points (n, 2) into a mask (s, s). thickness: pixels."""
    cv2.polylines(mask, [_pixels(points, len(mask))], False, 255, thickness, cv2.LINE_AA, _SHIFT)


def _curve(start: Points, end: Points, rng: np.random.Generator, bend: float) -> Points:
    """20 points (20, 2) of a quadratic Bezier curve. bend: deviation of its middle point."""
    share = np.linspace(0, 1, 20)[:, None]
    middle = (start + end) / 2 + rng.normal(0, bend, 2)
    return np.asarray((1 - share) ** 2 * start + 2 * share * (1 - share) * middle + share**2 * end)


def _painted(image: Image, mask: Mask, colour: Points, opacity: float) -> Image:
    """The picture (s, s, 3) covered by a colour (3,) as far as the mask (s, s) tells, 255 being opacity."""
    share = (opacity / 255 * mask)[..., None]
    return np.asarray(np.rint(image * (1 - share) + colour.clip(0, 255) * share), dtype=np.uint8)
