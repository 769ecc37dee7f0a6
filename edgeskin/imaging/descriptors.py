"""Descriptors of a lesion, in the terms of the ABCD rule of dermoscopy.

They describe and do not score: no threshold on them is known to find cancers. The network is not used.
"""

import cv2
import numpy as np

from edgeskin.arrays import Float64s, Image, Mask, UInt8s
from edgeskin.imaging.preprocess import resize
from edgeskin.imaging.segmentation import outline
from edgeskin.results import Descriptors

COLORS = {
    "white": (220, 205, 200),
    "red": (185, 75, 75),
    "light brown": (175, 120, 85),
    "dark brown": (95, 60, 45),
    "blue-gray": (105, 115, 130),
    "black": (35, 30, 30),
}
"""The six colours that the ABCD rule counts (Nachbar et al., JAAD 1994). The RGB values are edgeskin's."""
LEAST_COLOR = 0.05
"""Smallest share of the lesion at which a colour counts."""


def describe(square: Image, mask: Mask) -> Descriptors | None:
    """Describe the lesion in a square.

    Args:
        square: uint8 RGB (s, s, 3).
        mask: The lesion (m, m), of any size.

    Returns:
        The descriptors, or None if the mask is empty.
    """
    if not mask.any():
        return None
    small = resize(square, len(mask))
    contour = outline(mask)
    area = cv2.contourArea(contour)
    rows, columns = np.nonzero(mask)
    center = np.array([columns.mean(), rows.mean()])
    points = np.stack([columns, rows], axis=1) - center
    _, axes = np.linalg.eigh(points.T @ points)  # the short axis, then the long one
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    hull = cv2.convexHull(contour)[:, 0]
    extents = np.linalg.norm(hull[:, None] - hull[None], axis=2)
    return Descriptors(
        asymmetry=(_asymmetry(mask, center, axes[:, 1]), _asymmetry(mask, center, axes[:, 0])),
        border_irregularity=cv2.arcLength(contour, closed=True) ** 2 / (4 * np.pi * max(area, 1)),
        colors=_colors(small[mask]),
        area_fraction=float(mask.mean()),
        diameter_fraction=float(extents.max() / len(mask)),
        cut_off=bool(edge.any()),
    )


def _asymmetry(mask: Mask, center: Float64s, axis: Float64s) -> float:
    """Return the share of a mask outside its mirror image across an axis (x, y) through its centre."""
    mirror = 2 * np.outer(axis, axis) - np.eye(2)
    transform = np.column_stack([mirror, center - mirror @ center])
    mirrored = cv2.warpAffine(mask.astype(np.uint8), transform, mask.shape[::-1], flags=cv2.INTER_NEAREST)
    return 1 - float((mask & (mirrored > 0)).sum() / mask.sum())


def _colors(pixels: UInt8s) -> dict[str, float]:
    """Return the shares of the colours that count among RGB pixels (n, 3), largest first."""
    colors = np.array(list(COLORS.values()), dtype=np.float32)
    # |p - c|^2 without |p|^2, which is the same for every colour.
    distances = (colors**2).sum(axis=1) - 2 * (pixels.astype(np.float32) @ colors.T)
    shares = np.bincount(distances.argmin(axis=1), minlength=len(COLORS)) / len(pixels)
    by_share = sorted(zip(COLORS, shares.tolist(), strict=True), key=lambda item: -item[1])
    return {name: share for name, share in by_share if share >= LEAST_COLOR}
