"""Whether the compressed data of a JPEG end where its picture ends.

JPEG has no checksum, and libjpeg repairs what is missing without an error. But where bytes are lost, zeroed
or changed, the Huffman codes after them decode to too few or too many blocks. So filler is appended to the
data, and one row of blocks more than the picture has is decoded, with several fillers. The first block that
depends on the filler is where the data end. In a whole file that is the first block after the picture.
"""

import functools
import random
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from edgeskin.arrays import Float32s, Image, UInt8s
from edgeskin.errors import PhotoError
from edgeskin.photo.formats import cut_off, damaged
from edgeskin.photo.jpeg import JpegLayout

RESTART = re.compile(rb"\xff([\xd0-\xd7])")
LONGEST_SIDE = 65_500
"""Of libjpeg, pixels."""
FEWEST_FILLERS, MOST_FILLERS = 2, 32
MOST_PIXELS = 500_000_000
"""That are decoded with all fillers; more fillers than the fewest are left out of a large picture."""
PADDING_BITS = 8
"""At most so many blocks can be made of the bits that pad a scan's data."""
FEW_UNITS = 2
"""Units after the data that may look alike with all fillers."""
BYTES_A_BLOCK, LEAST_BYTES = 96, 4096
"""Of filler: about three times what its blocks take, and more where there are few of them."""
MOST_INTERVALS = 2048
"""Restart intervals that are checked one by one; each takes 0.1 ms."""
CERTAIN_TEAR, POSSIBLE_TEAR = 6.5, 5.0
"""Of `_tear`; the highest value of 13,094 whole pictures of lesions is 6.3, and one in 1,500 is above 5."""
POSSIBLE_STRIPE = POSSIBLE_PATCH = 5.0
"""Of `_stripe` and `_patch`; one whole picture of a lesion in 1,500 is above."""
GAP_UNITS = 3
"""Units in a row that are not shifted and so end a tear."""
STRIPE_UNITS = 4
"""Length of a stripe, in units."""
FEWEST_UNITS = 8


def require_whole(data: bytes, layout: JpegLayout) -> None:
    """Raise PhotoError unless the compressed data fill the picture exactly.

    Args:
        data: The file.
        layout: Its layout.

    Raises:
        PhotoError: ``cut_off`` where data are missing, ``damaged`` where there are too many.
    """
    if layout.by_rows:
        most = MOST_PIXELS // (layout.width * layout.height)
        fillers = min(max(most, FEWEST_FILLERS), MOST_FILLERS)
        for part in _intervals(data, layout):
            _require_units(part, fillers)
    else:
        _require_all_scans(data, layout)


@dataclass(frozen=True)
class _Interval:
    """Compressed data of (columns x rows) coded units without restarts, and the file's head before them."""

    head: bytes
    data: bytes
    layout: JpegLayout
    columns: int
    rows: int


def _intervals(data: bytes, layout: JpegLayout) -> list[_Interval]:
    """The parts between restart markers, which a decoder decodes independently of each other."""
    (scan,) = layout.scans
    # Bytes of 1s may stand before a marker (T.81, B.1.1.2); with filler behind them, they would be one.
    head, coded = data[: scan.start], data[scan.start : scan.end].rstrip(b"\xff")
    columns, rows = layout.grid
    if layout.restart_at is None:
        return [_Interval(head, coded, layout, columns, rows)]
    (units,) = struct.unpack_from(">H", head, layout.restart_at)
    head = _patched(head, layout.restart_at, ">H", 0)
    if units == 0 or units >= columns * rows:
        return [_Interval(head, coded, layout, columns, rows)]
    markers = list(RESTART.finditer(coded))
    numbers = [marker[1][0] - 0xD0 for marker in markers]
    if numbers != [place % 8 for place in range(-(-columns * rows // units) - 1)]:
        raise damaged()
    if len(numbers) >= MOST_INTERVALS:
        # So short that damage spoils little, unless it takes a restart marker with it.
        return []
    starts = [0, *(marker.end() for marker in markers)]
    ends = [*(marker.start() for marker in markers), len(coded)]
    counts = [units] * len(markers) + [columns * rows - units * len(markers)]
    return [
        _Interval(head, coded[start:end], layout, columns, count // columns)
        if count % columns == 0
        else _Interval(head, coded[start:end], layout, count, 1)
        for start, end, count in zip(starts, ends, counts, strict=True)
        if count % columns == 0 or count * 8 * layout.unit[0] <= LONGEST_SIDE
    ]


def _require_units(part: _Interval, fillers: int) -> None:
    """Raise PhotoError unless the interval holds as many blocks as it should, by so many fillers."""
    (h, v), columns, rows = part.layout.unit, part.columns, part.rows
    head = _patched(part.head, part.layout.size_at, ">HH", (rows + 1) * 8 * v, columns * 8 * h)
    blocks = sum(one * other for one, other in part.layout.sampling)
    end = rows * v
    first: list[UInt8s] | None = None
    differs = np.zeros((v, columns * h), np.bool_)
    for place, filler in enumerate(_fillers(columns * blocks * BYTES_A_BLOCK, fillers)):
        # At 1/8, a pixel is the mean of a block, and colours are not interpolated. Of a unit, luminance comes
        # first and chrominance last. Without an end marker, libjpeg gives no warnings.
        gray = _decode(head + part.data + filler, cv2.IMREAD_REDUCED_GRAYSCALE_8)
        if gray is None or gray.shape != (end + v, columns * h):
            # More filler makes a picture of data that are cut off, and none of data that are no JPEG's.
            more = head + part.data + filler * (rows + 1)
            raise damaged() if _decode(more, cv2.IMREAD_REDUCED_GRAYSCALE_8) is None else cut_off()
        images = [gray]
        if place < FEWEST_FILLERS:
            color = _decode(head + part.data + filler, cv2.IMREAD_REDUCED_COLOR_8)
            images += [gray if color is None else color]
        first = first or images
        if not all(np.array_equal(one[:end], other[:end]) for one, other in zip(images, first, strict=False)):
            raise cut_off()
        differs |= gray[end:] != first[0][end:]
        if place + 1 >= FEWEST_FILLERS and differs[0, 0]:
            return
    # A picture of few shades may have no codes that would change the first unit after it, or any.
    is_flat = first is not None and bool((first[0][end:] == first[0][end, 0]).all())
    if not differs[:, : FEW_UNITS * h].any() and not (is_flat and not differs.any()):
        raise damaged()


def _require_all_scans(data: bytes, layout: JpegLayout) -> None:
    """Raise PhotoError unless each of several scans fills the picture, and together they are complete.

    libjpeg reads all scans to the end marker and writes lines of warning about the filler to descriptor 2.
    """
    if not _is_complete(layout):
        raise cut_off()
    (_, v), (columns, rows) = layout.unit, layout.grid
    blocks = sum(one * other for one, other in layout.sampling)
    longer = _patched(data, layout.size_at, ">H", (rows + 1) * 8 * v)
    first: Image | None = None
    for filler in _fillers(columns * blocks * BYTES_A_BLOCK, FEWEST_FILLERS):
        parts, last = [], 0
        for scan in layout.scans:
            parts += [longer[last : scan.end], filler]
            last = scan.end
        image = _decode(b"".join([*parts, longer[last:]]), cv2.IMREAD_REDUCED_COLOR_2)
        if image is None or len(image) < layout.height // 2:
            raise damaged()
        # The colours of the last two rows are interpolated with the rows below them.
        image = image[: layout.height // 2 - 2]
        if first is not None and not np.array_equal(image, first):
            raise cut_off()
        first = image
    _require_no_surplus(longer, layout)


def _require_no_surplus(longer: bytes, layout: JpegLayout) -> None:
    """Raise PhotoError where scans hold more luminance than the picture, whose header has one row more."""
    (_, v), (_, rows) = layout.unit, layout.grid
    image = _decode(longer, cv2.IMREAD_REDUCED_GRAYSCALE_2)
    if image is None or len(image) != (rows + 1) * 4 * v:
        raise damaged()
    # A scan of one component has no data for the padding of units. There, and below, libjpeg makes up a few
    # blocks of the bits that pad the data, and leaves the others flat.
    top = -(-layout.height // 8) * 4
    blocks = image[top:, : image.shape[1] // 4 * 4].reshape((len(image) - top) // 4, 4, -1, 4)[
        :, :, PADDING_BITS:
    ]
    if blocks.size == 0:  # the picture is no wider than the blocks that are made up
        return
    is_flat = (blocks == blocks[:, :1, :, :1]).all((1, 3))
    if not is_flat.all() or not (blocks[-v:] == blocks[-1, -1, -1:, -1]).all():
        raise damaged()


def looks_torn(image: UInt8s, layout: JpegLayout, scale: int) -> bool:
    """Whether some coded units hardly fit their neighbours, although the data have the right length.

    Args:
        image: uint8 BGR (h, w, 3), as stored.
        layout: Its layout.
        scale: Divisor by which the sides were reduced.

    Raises:
        PhotoError: ``damaged`` where they certainly do not fit.
    """
    width, height = (8 * blocks // scale for blocks in layout.unit)
    columns, rows = image.shape[1] // width, len(image) // height
    if min(width, height) < 2 or min(columns, rows) < FEWEST_UNITS:
        return False
    whole = np.asarray(cv2.cvtColor(image[: rows * height, : columns * width], cv2.COLOR_BGR2YCrCb), np.uint8)
    down = _steps(whole, width, height)
    tear = _tear(down)
    if tear > CERTAIN_TEAR:
        raise PhotoError("the picture is damaged: its parts do not fit together; copy it again", "damaged")
    if tear > POSSIBLE_TEAR:
        return True
    if min(width, height) < 8:  # the edges of smaller units tell too little
        return False
    across = _steps(whole.swapaxes(0, 1), height, width).swapaxes(0, 1)
    down, across = (steps / (np.median(np.abs(steps), axis=(0, 1)) + 1) for steps in (down, across))
    above, below = down[:-1], -down[1:]
    left, right = across[:, :-1], -across[:, 1:]
    return _stripe(above, below) > POSSIBLE_STRIPE or _patch(above, below, left, right) > POSSIBLE_PATCH


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


def _is_complete(layout: JpegLayout) -> bool:
    """Whether the scans transmit all coefficients of all components to their lowest bit."""
    missing = np.ones((len(layout.sampling), 64), np.bool_)
    for scan in layout.scans:
        if scan.low_bit == 0:
            missing[list(scan.components), scan.first : scan.last + 1] = False
    return not missing.any()


def _fillers(length: int, count: int) -> Iterator[bytes]:
    """Different compressed data that decode to blocks of any brightness."""
    return (start + period * ((length + LEAST_BYTES) // len(period)) for start, period in _patterns()[:count])


@functools.cache
def _patterns() -> list[tuple[bytes, bytes]]:
    """The start of each filler, and what is repeated after it."""
    # Bytes start with 0 and have no five 1s in a row, since codes of 1s alone are not valid (T.81, C.2).
    chosen = random.Random(0)
    usable = [value for value in range(0x80) if "11111" not in f"{value:b}"]
    # Data are padded with 1s. These and a 0 may be the code of an unchanged brightness; more 1s are another.
    starts = [b""] * FEWEST_FILLERS + [b"\x85", b"\xc5", b"\xe5", b"\xf5"] * MOST_FILLERS
    return [(start, bytes(chosen.choices(usable, k=1009))) for start in starts[:MOST_FILLERS]]


def _patched(data: bytes, offset: int, form: str, *values: int) -> bytes:
    return data[:offset] + struct.pack(form, *values) + data[offset + struct.calcsize(form) :]


def _decode(data: bytes, flags: int) -> UInt8s | None:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)
