"""Whether the coded units of a JPEG fit together, where its data have the right length and may be wrong."""

import cv2
import numpy as np

from edgeskin.arrays import Float32s, UInt8s
from edgeskin.photo.jpeg import JpegLayout

TEAR = 6.0
"""Of `_tear`; one of 13,094 whole pictures of lesions is above."""
STRIPE = PATCH = 10.0
"""Of `_stripe` and `_patch`; one of 4,512 whole pictures of lesions is above."""
GAP_UNITS = 3
"""Units in a row that are not shifted and so end a tear."""
STRIPE_UNITS = 4
"""Length of a stripe, in units."""
FEWEST_UNITS = 8
"""Of a side, that are enough to compare."""


def looks_torn(image: UInt8s, layout: JpegLayout, scale: int) -> bool:
    """Whether some coded units hardly fit their neighbours, although the data have the right length.

    A whole picture with a sharp-edged overlay can look torn too.

    Args:
        image: uint8 BGR (h, w, 3), as stored.
        layout: Its layout.
        scale: Divisor by which the sides were reduced.
    """
    width, height = (8 * blocks // scale for blocks in layout.unit)
    columns, rows = image.shape[1] // width, len(image) // height
    if min(width, height) < 2 or min(columns, rows) < FEWEST_UNITS:
        return False
    whole = np.asarray(cv2.cvtColor(image[: rows * height, : columns * width], cv2.COLOR_BGR2YCrCb), np.uint8)
    down = _steps(whole, width, height)
    if _tear(down) > TEAR:
        return True
    if min(width, height) < 8:  # the edges of smaller units tell too little
        return False
    across = _steps(whole.swapaxes(0, 1), height, width).swapaxes(0, 1)
    down, across = (steps / (np.median(np.abs(steps), axis=(0, 1)) + 1) for steps in (down, across))
    above, below = down[:-1], -down[1:]
    left, right = across[:, :-1], -across[:, 1:]
    return _stripe(above, below) > STRIPE or _patch(above, below, left, right) > PATCH


def _steps(image: UInt8s, width: int, height: int) -> Float32s:
    """How much each unit but those of the first row differs from the one above it, at their border.

    Args:
        image: uint8 (rows * height, columns * width, 3).
        width: Pixels of a unit.
        height: Pixels of a unit.

    Returns:
        (rows - 1, columns, 3): The step across the border less the mean step inside both units.
    """
    # Colours are interpolated between the pixels on both sides of a border.
    near, far = (1, 4) if height >= 8 else (0, 1)
    borders = np.arange(height, len(image), height)
    lines = image[(borders + np.array([[far], [near], [-1 - near], [-1 - far]])).ravel()]
    means = lines.reshape(4, len(borders), -1, width, 3).mean(3, dtype=np.float32)
    inside = (means[0] - means[1] + means[2] - means[3]) / 2
    return np.asarray(means[1] - means[2] - inside)


def _tear(down: Float32s) -> float:
    """How clearly a picture is shifted in brightness or colour from some unit on.

    Brightness and colours are stored as differences from unit to unit. Where one is damaged, all units after
    it are shifted: the rest of its row against the row above, and the start of the next row likewise. So the
    steps are averaged over every stretch as long as a row, and divided by their standard error. A horizontal
    edge of the picture itself is strongest at the start of a row.
    """
    columns = down.shape[1]
    steps = np.pad(down.reshape(-1, 3), ((1, 0), (0, 0)))
    sums, squares = np.cumsum(steps, axis=0, dtype=np.float64), np.cumsum(steps**2, axis=0, dtype=np.float64)
    mean = (sums[columns:] - sums[:-columns]) / columns
    variance = np.maximum((squares[columns:] - squares[:-columns]) / columns - mean**2, 0)
    tear = np.abs(mean) * np.sqrt(columns) / (np.sqrt(variance) + 1)
    # All units of a stretch are shifted, unlike an edge of the picture between margins.
    has_gap = cv2.erode((np.abs(steps[1:]) < 2).astype(np.uint8), np.ones((GAP_UNITS, 1), np.uint8))
    gaps = np.cumsum(np.pad(has_gap, ((1, 0), (0, 0))), axis=0, dtype=np.int64)
    tear[gaps[columns:] > gaps[:-columns]] = 0
    column = np.arange(len(tear)) % columns
    is_inside = (column >= 2) & (column <= columns - 2)
    strongest = cv2.dilate(tear, np.ones((2 * columns + 1, 1), np.uint8))
    return float(np.where(is_inside[:, None] & (tear >= strongest), tear, 0).max())


def _stripe(above: Float32s, below: Float32s) -> float:
    """How clearly some units in a row differ alike from those above and below them."""
    sums = np.cumsum(np.pad(_least_alike(above, below), ((0, 0), (1, 0), (0, 0))), axis=1)
    return float(np.abs(sums[:, STRIPE_UNITS:] - sums[:, :-STRIPE_UNITS]).max()) / STRIPE_UNITS


def _patch(above: Float32s, below: Float32s, left: Float32s, right: Float32s) -> float:
    """How clearly a unit differs alike from its four neighbours."""
    return float(np.abs(_least_alike(above[:, 1:-1], below[:, 1:-1], left[1:-1], right[1:-1])).max())


def _least_alike(*steps: Float32s) -> Float32s:
    """The smallest of steps of one sign; 0 where their signs differ."""
    signs = np.sign(steps)
    return np.where((signs == signs[0]).all(0), signs[0] * np.abs(steps).min(0), 0)
