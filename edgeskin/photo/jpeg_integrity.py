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
import numpy.typing as npt

from edgeskin.arrays import Image, UInt8s
from edgeskin.errors import PhotoError
from edgeskin.photo.formats import damaged
from edgeskin.photo.jpeg import JpegLayout, read_segments

RESTART = re.compile(rb"\xff([\xd0-\xd7])")
LONGEST_SIDE = 65_500
"""Of libjpeg, pixels."""
NEARLY_USUAL = 56
"""Entries of 64 that a damaged quantization table has in common with the one that it was."""
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
"""Restart intervals that are checked; each takes 0.1 ms."""


def require_whole(data: bytes, layout: JpegLayout) -> None:
    """Raise PhotoError unless the compressed data fill the picture exactly.

    Args:
        data: The file.
        layout: Its layout.

    Raises:
        PhotoError: ``cut_off`` where data are missing, ``damaged`` where there are too many.
    """
    _require_known_tables(data, layout)
    if layout.by_rows:
        most = MOST_PIXELS // (layout.width * layout.height)
        fillers = min(max(most, FEWEST_FILLERS), MOST_FILLERS)
        for part in _intervals(data, layout):
            _require_units(part, fillers)
    else:
        _require_all_scans(data, layout)


def _require_known_tables(data: bytes, layout: JpegLayout) -> None:
    """Raise PhotoError where a quantization table is nearly, but not quite, one of the usual ones.

    A wrong entry changes every block. Of 3,096 tables of pictures of lesions, 3,094 are those of libjpeg for
    some quality, and the two others have fewer than half of their entries in common with any. Encoders that
    round otherwise differ by 1.
    """
    for at in layout.tables_at:
        table = np.frombuffer(data, np.uint8, 64, at).astype(np.int16)
        difference = np.abs(_usual_tables() - table)
        closest = int((difference == 0).sum(1).argmax())
        is_wrong = difference[closest] > np.maximum(1, _usual_tables()[closest] // 2)
        if not table.all() or (is_wrong.any() and (difference[closest] == 0).sum() >= NEARLY_USUAL):
            raise damaged()


@functools.cache
def _usual_tables() -> npt.NDArray[np.int16]:
    """The tables of libjpeg for qualities 1 to 100, luminance then chrominance, (200, 64), in zigzag order.

    libjpeg itself gives them: OpenCV writes them into a picture of each quality.
    """
    gray = np.zeros((8, 8, 3), np.uint8)
    tables = []
    for quality in range(1, 101):
        encoded = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        offsets = read_segments(encoded).layout.tables_at
        tables += [np.frombuffer(encoded, np.uint8, 64, at) for at in offsets]
    return np.stack(tables).astype(np.int16)


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
    starts = [0, *(marker.end() for marker in markers)]
    ends = [*(marker.start() for marker in markers), len(coded)]
    counts = [units] * len(markers) + [columns * rows - units * len(markers)]
    intervals = [
        _Interval(head, coded[start:end], layout, columns, count // columns)
        if count % columns == 0
        else _Interval(head, coded[start:end], layout, count, 1)
        for start, end, count in zip(starts, ends, counts, strict=True)
        if count % columns == 0 or count * 8 * layout.unit[0] <= LONGEST_SIDE
    ]
    # Where there are more, each is short; most damage takes a restart marker with it.
    return intervals[:: -(-len(intervals) // MOST_INTERVALS)]


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
            raise damaged() if _decode(more, cv2.IMREAD_REDUCED_GRAYSCALE_8) is None else _data_missing()
        images = [gray]
        if place < FEWEST_FILLERS:
            color = _decode(head + part.data + filler, cv2.IMREAD_REDUCED_COLOR_8)
            images += [gray if color is None else color]
        first = first or images
        if not all(np.array_equal(one[:end], other[:end]) for one, other in zip(images, first, strict=False)):
            raise _data_missing()
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
        raise _data_missing()
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
            raise _data_missing()
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
    below = image[top:, 4 * PADDING_BITS : image.shape[1] // 4 * 4]
    if below.size == 0:  # the picture is no wider than the blocks that are made up
        return
    blocks = below.reshape(len(below) // 4, 4, -1, 4)
    is_flat = (blocks == blocks[:, :1, :, :1]).all((1, 3))
    if not is_flat.all() or not (blocks[-v:] == blocks[-1, -1, -1:, -1]).all():
        raise damaged()


def _data_missing() -> PhotoError:
    return PhotoError(
        "the picture is cut off or damaged: some of its data are missing; copy it again", "cut_off"
    )


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
