"""Where the lesion is, by its colour, and what it looks like in the words of the ABCD rule.

Descriptors, not a score: no threshold on them is known to find cancers. Nothing here uses the network.
"""

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Image
from edgeskin.imaging.preprocess import resize

Mask = npt.NDArray[np.bool_]
SIDE = 128
"""Pixels a side that a lesion is looked for at: it is a large thing, and small pictures are quick."""
DARK = 40
"""A pixel with less in every channel is a dermatoscope's black rim, not skin."""
COLORS = {
    "white": (220, 205, 200),
    "red": (185, 75, 75),
    "light brown": (175, 120, 85),
    "dark brown": (95, 60, 45),
    "blue-gray": (105, 115, 130),
    "black": (35, 30, 30),
}
"""RGB of the six colours that the ABCD rule of dermoscopy counts (Nachbar et al., JAAD 1994); the values are
ours."""
LEAST_COLOR = 0.05
"""Share of the lesion from which on a colour counts."""


@dataclass(frozen=True)
class Descriptors:
    """What the mask looks like.

    asymmetry: share of the lesion's area that does not meet itself when folded along the long and the short
    axis through its centre, 0 (a mirror image) to 1. border_irregularity: perimeter^2 / (4 pi area) of the
    smoothed border; 1 for a circle, more for what is long or jagged. colors: share of the lesion nearest to
    each of COLORS, for those of LEAST_COLOR and more, by falling share; skin's own colour may be among them.
    area_fraction: of the centre square. diameter_fraction: the longest extent, in sides of the square; there
    is no scale, so no millimetres. cut_off: the lesion reaches the edge of the square, so that everything
    here is of its visible part.
    """

    asymmetry: tuple[float, float]
    border_irregularity: float
    colors: dict[str, float]
    area_fraction: float
    diameter_fraction: float
    cut_off: bool


def segment(square: Image) -> Mask:
    """The lesion in a centre square, uint8 RGB (s, s, 3): (SIDE, SIDE), all False where nothing stands out.

    How much darker a pixel is than the skin at the margin, and twice how far its colour is from the skin's,
    weighted by a Gaussian for the middle; 0.55 of Otsu's threshold, since experts draw a lesion wider than
    the threshold that parts its pixels best. The piece nearest the middle, without holes. Colours in YCrCb:
    CIELAB found lesions no better, and OpenCV takes 0.1 s to prepare for it. The numbers were
    chosen on training images (``python -m benchmarks.explanations.faithfulness`` measures them on others).
    """
    small = resize(square, SIDE)
    colors = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    rim = cv2.blur(_value(small), (3, 3)) < DARK
    away = colors - _quantile(colors[_margin(small)], 0.5)
    stands_out = np.maximum(-away[..., 0], 0) + 2 * np.hypot(away[..., 1], away[..., 2])
    stands_out = cv2.GaussianBlur(stands_out, (0, 0), SIDE / 85) * _middle()
    rim &= _middle() < 0.7  # within, black is lesion
    brightest = max(float(_quantile(stands_out.ravel(), 0.995)), 1e-6)
    levels = np.clip(stands_out * (255 / brightest), 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(levels[~rim][None], 0, 255, cv2.THRESH_OTSU)
    return _middle_piece((levels > 0.55 * threshold) & ~rim)


def _quantile(values: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.float32]:
    """`numpy.quantile` over the first axis, whose first call takes 15 ms of a start."""
    ordered = np.sort(values, axis=0)
    place = share * (len(ordered) - 1)
    below = ordered[int(place)]
    return np.asarray(below + (ordered[math.ceil(place)] - below) * np.float32(place % 1))


def skin_color(square: Image) -> npt.NDArray[np.uint8]:
    """The median colour of the margin but for black corners: (s, s, 3) -> (3,)."""
    return np.asarray(np.rint(np.median(square[_margin(square)], axis=0)), dtype=np.uint8)


def describe(square: Image, mask: Mask) -> Descriptors | None:
    """Descriptors of the lesion in a square, uint8 RGB (s, s, 3); None where the mask (m, m) is empty."""
    if not mask.any():
        return None
    small = resize(square, len(mask))
    contour = outline(mask)
    area = cv2.contourArea(contour)
    rows, columns = np.nonzero(mask)
    center = np.array([columns.mean(), rows.mean()])
    points = np.stack([columns, rows], axis=1) - center
    _, axes = np.linalg.eigh(points.T @ points)
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    reach = cv2.convexHull(contour)[:, 0]
    extents = np.linalg.norm(reach[:, None] - reach[None], axis=2)
    return Descriptors(
        asymmetry=(_folded(mask, center, axes[:, 1]), _folded(mask, center, axes[:, 0])),
        border_irregularity=cv2.arcLength(contour, closed=True) ** 2 / (4 * np.pi * max(area, 1)),
        colors=_colors(small[mask]),
        area_fraction=float(mask.mean()),
        diameter_fraction=float(extents.max() / len(mask)),
        cut_off=bool(edge.any()),
    )


def outline(mask: Mask) -> npt.NDArray[np.float32]:
    """The border of the largest piece of a mask (m, m), smoothed: (n, 1, 2), x and y in its pixels."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = max(contours, key=cv2.contourArea)[:, 0].astype(np.float32)
    # Pixels' steps are no border's: a moving average over a tenth of it, closed.
    width = max(1, len(points) // 40) * 2 + 1
    wrapped = np.concatenate([points[-(width // 2) :], points, points[: width // 2]])
    kernel = np.full(width, 1 / width)
    smooth = [np.convolve(wrapped[:, axis], kernel, mode="valid") for axis in (0, 1)]
    return np.stack(smooth, axis=1)[:, None].astype(np.float32)


def _margin(square: Image) -> Mask:
    """The outer tenth of a square but for a black rim; all of it where it is black."""
    width = len(square) // 10
    frame = np.ones(square.shape[:2], dtype=bool)
    frame[width:-width, width:-width] = False
    skin = frame & (_value(square) > DARK)
    return skin if skin.any() else frame


def _value(image: Image) -> npt.NDArray[np.uint8]:
    """The largest of a pixel's channels: (h, w, 3) -> (h, w); numpy takes 20 times as long."""
    red, green, blue = cv2.split(image)
    return np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.uint8)


@cache
def _middle() -> npt.NDArray[np.float32]:
    """1 in the middle, falling by a Gaussian of half a side: (SIDE, SIDE)."""
    along = (np.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 2)
    weight = np.exp(-(along**2) / 2)
    return np.asarray(weight[:, None] * weight, dtype=np.float32)


def _middle_piece(mask: Mask) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    count, labels = cv2.connectedComponents(cv2.morphologyEx(closed, cv2.MORPH_OPEN, kernel))
    if count < 2:
        return np.zeros_like(mask)
    weights = np.bincount(labels.ravel(), (_middle() ** 4).ravel(), count)
    piece = (labels == 1 + weights[1:].argmax()).astype(np.uint8)
    contours, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(piece, contours, -1, 1, cv2.FILLED) > 0)


def _folded(mask: Mask, center: npt.NDArray[np.float64], axis: npt.NDArray[np.float64]) -> float:
    """Share of a mask that does not meet its mirror image in an axis (x, y) through its centre."""
    mirror = 2 * np.outer(axis, axis) - np.eye(2)
    transform = np.column_stack([mirror, center - mirror @ center])
    folded = cv2.warpAffine(mask.astype(np.uint8), transform, mask.shape[::-1], flags=cv2.INTER_NEAREST)
    return 1 - float((mask & (folded > 0)).sum() / mask.sum())


def _colors(pixels: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Shares of the colours that count among pixels, uint8 RGB (n, 3), by falling share."""
    colors = np.array(list(COLORS.values()), dtype=np.float32)
    # |p - c|^2 but for |p|^2, which is the same for every colour.
    distances = (colors**2).sum(axis=1) - 2 * (pixels.astype(np.float32) @ colors.T)
    shares = np.bincount(distances.argmin(axis=1), minlength=len(COLORS)) / len(pixels)
    named = sorted(zip(COLORS, shares.tolist(), strict=True), key=lambda item: -item[1])
    return {name: share for name, share in named if share >= LEAST_COLOR}
