"""Pixels of TIFF.

OpenCV's decoder answers damaged strips with black or noise and no error, so this module decodes them. It
holds each strip or tile to its exact length.
"""

import itertools
import zlib

import numpy as np

from edgeskin.arrays import Image, UInt8s
from edgeskin.photo.formats import cut_off, damaged
from edgeskin.photo.tiff import DEFLATE, LZW, NONE, PACKBITS, TiffLayout

CLEAR, END, FIRST_FREE, TABLE_SIZE = 256, 257, 258, 4096
BYTES_A_CLEAR = 1024
"""Encoders clear the table when it is full, which takes more bytes of the picture than this."""

# Code i after a clear has so many bits: each code but the first adds an entry, and codes become wider one
# entry before they have to (TIFF 6.0, section 13).
_PLACES = np.arange(TABLE_SIZE - FIRST_FREE + 2)
_WIDTHS = np.digitize(_PLACES + FIRST_FREE, (512, 1024, 2048)) + 9
_STARTS = np.concatenate([[0], np.cumsum(_WIDTHS)])
FEW = 512
"""Codes that are cut at first. A file may clear the table after each few, to keep a reader busy."""
_LITERALS = [bytes([value]) for value in range(256)] + [b"", b""]


def read_pixels(data: bytes, layout: TiffLayout) -> Image:
    """Decode the pixels.

    Args:
        data: The file.
        layout: Its layout.

    Returns:
        uint8 RGB (height, width, 3) as stored.

    Raises:
        PhotoError: A strip or tile is damaged or cut off.
    """
    image = np.empty((layout.height, layout.width, 3), np.uint8)
    width, height = layout.part
    corners = itertools.product(range(0, layout.height, height), range(0, layout.width, width))
    for (top, left), (offset, size) in zip(corners, layout.places, strict=True):
        shown = image[top : top + height, left : left + width]
        rows = height if layout.is_tiled else len(shown)
        # The last strip may be stored at full height.
        lengths = 3 * width * rows, 3 * width * height
        content = _decompress(data[offset : offset + size], layout.compression, *lengths)
        pixels = np.frombuffer(content, np.uint8, lengths[0]).reshape(rows, width, 3)
        pixels = pixels[: len(shown), : shown.shape[1]]
        if layout.has_predictor:
            np.cumsum(pixels, axis=1, dtype=np.uint8, out=shown)
        else:
            shown[:] = pixels
    return image


def _decompress(part: bytes, compression: int, shortest: int, longest: int) -> bytes:
    """Decompress a strip or tile to one of two lengths."""
    content = {NONE: _stored, DEFLATE: _inflated, PACKBITS: unpack_bits, LZW: _lzw}[compression](
        part, longest
    )
    if len(content) < shortest:
        raise cut_off()
    if len(content) not in (shortest, longest):
        raise damaged()
    return content


def _stored(part: bytes, _: int) -> bytes:
    return part


def _inflated(part: bytes, longest: int) -> bytes:
    """Inflate zlib data, whose checksum has to be right."""
    stream = zlib.decompressobj()
    try:
        # The checksum is read with the first byte beyond the end.
        content = stream.decompress(part, longest + 1)
    except zlib.error as error:
        raise damaged() from error
    if len(content) <= longest and not stream.eof:
        raise cut_off()
    return content


def unpack_bits(part: bytes, longest: int) -> bytes:
    """Undo PackBits (section 9), up to a run beyond the longest content that is expected."""
    content = bytearray()
    position = 0
    part = part[: 2 * longest + 2]  # more holds bytes that stand for nothing, which take time
    while position < len(part) and len(content) <= longest:
        count = part[position]
        if count < 128:
            content += part[position + 1 : position + 2 + count]
            position += 2 + count
        elif count > 128:
            content += part[position + 1 : position + 2] * (257 - count)
            position += 2
        else:  # nothing
            position += 1
    return bytes(content)


def _lzw(part: bytes, longest: int) -> bytes:
    """Decode LZW (section 13)."""
    data = np.frombuffer(part + bytes(3), np.uint8)
    content = bytearray()
    position = 0
    for _ in range(3 + longest // BYTES_A_CLEAR):
        codes, stop, position = _codes(data, position)
        for string in _strings(codes):
            content += string
        if stop != CLEAR or len(content) > longest:
            return bytes(content)
    raise damaged()


def _codes(data: UInt8s, position: int, most: int = FEW) -> tuple[list[int], int | None, int]:
    """Cut the bits from a position on into codes, all at once.

    Args:
        data: The compressed bytes, and three more.
        position: Bit after a clear code, or the first bit.
        most: Codes to cut; all of the table if these hold no clear or end code.

    Returns:
        The codes up to the next clear or end code; that code, or None where the data end without it; and the
        position after it.
    """
    first, skipped = divmod(position, 8)
    bits = 8 * (len(data) - 3 - first) - skipped
    count = min(most, int(np.searchsorted(_STARTS, bits, "right")) - 1)
    piece = data[first : first + int(_STARTS[count]) // 8 + 4].astype(np.int32)
    windows = piece[:-2] << 16 | piece[1:-1] << 8 | piece[2:]
    starts, widths = skipped + _STARTS[:count], _WIDTHS[:count]
    codes = windows[starts >> 3] >> (24 - (starts & 7) - widths) & (1 << widths) - 1
    stops = np.flatnonzero((codes == CLEAR) | (codes == END))
    if not len(stops) and count == most == FEW:
        return _codes(data, position, len(_PLACES))
    count = int(stops[0]) if len(stops) else count
    # A code may be that of the entry which it completes. No table is larger than TABLE_SIZE.
    if count == len(_PLACES) or (codes[:count] >= _PLACES[:count] + FIRST_FREE).any():
        raise damaged()
    listed: list[int] = codes.tolist()
    return listed[:count], listed[count] if len(stops) else None, position + int(_STARTS[count + 1])


def _strings(codes: list[int]) -> list[bytes]:
    """Return the string of each code between two clear codes."""
    if not codes:
        return []
    table = _LITERALS.copy()
    previous = table[codes[0]]
    strings = [previous]
    add_entry, add_string, free = table.append, strings.append, FIRST_FREE
    for code in codes[1:]:
        string = table[code] if code < free else previous + previous[:1]
        add_entry(previous + string[:1])
        add_string(string)
        previous = string
        free += 1
    return strings
