"""Header of TIFF, as dermatoscopes and their software save it: baseline RGB of 8 bits (TIFF 6.0, section 6).

TIFF is also the container of raw pictures, scans and microscopy. Those are refused, and the error names the
kind. Every offset and count is checked against the file. The first picture of a file counts.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from edgeskin.photo.directory import SIZES, Directory, byte_order, read_directory
from edgeskin.photo.formats import DEVELOP, RAW, cut_off, damaged, unsupported

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_SIZES, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_SIZES, SAMPLE_FORMAT = 322, 323, 324, 325, 339
MAKE, SUBFILE, SUB_DIRECTORIES, PROFILE = 271, 254, 330, 34675
TIFF_EP, DNG_VERSION = 37398, 50706
FURTHER_DIRECTORIES = {SUB_DIRECTORIES, 34665, 34853}
"""Tags that name further directories: of pictures, of EXIF and of GPS."""

NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773
COMPRESSIONS = {NONE: NONE, LZW: LZW, DEFLATE: DEFLATE, 32946: DEFLATE, PACKBITS: PACKBITS}
"""Codes of the compressions that are read; Deflate has two."""
OTHER_COMPRESSIONS = {
    6: "JPEG",
    7: "JPEG",
    34712: "JPEG 2000",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
}
PHOTOMETRICS = {
    **{0: "grey", 1: "grey", 3: "of a palette", 4: "a mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab", 9: "ICCLab"},
}
RGB, RAW_PHOTOMETRICS = 2, (32803, 34892)
MAKERS = {b"NIKON": "Nikon NEF", b"SONY": "Sony ARW", b"PENTAX": "Pentax PEF", b"SAMSUNG": "Samsung SRW"}

MAX_PARTS = 65_536
"""Strips or tiles of a picture."""
MAX_TILE = 2**22
"""Pixels of a tile."""


@dataclass(frozen=True)
class TiffLayout:
    """Where the pixels of a TIFF lie.

    Attributes:
        width: Pixels a row as stored.
        height: Rows as stored.
        compression: NONE, LZW, DEFLATE or PACKBITS.
        has_predictor: Whether each row holds differences of neighbours (section 14).
        part: Width and height of each strip or tile, pixels. The last strip may be lower; tiles are padded.
        is_tiled: Whether the parts are tiles.
        places: Offset and bytes of each part, by rows.
        orientation: 1 to 8; 1 is upright.
        profile: The ICC profile, not yet checked; empty for none.
        end: Offset behind everything that the first directory names; the size of the file where it names more
            than is read, such as a further picture.
    """

    width: int
    height: int
    compression: int
    has_predictor: bool
    part: tuple[int, int]
    is_tiled: bool
    places: tuple[tuple[int, int], ...]
    orientation: int
    profile: bytes
    end: int


def read_tiff(data: bytes) -> TiffLayout:
    """Read the first directory of a TIFF file.

    Raises:
        PhotoError: The file is of an unsupported kind, damaged or cut off.
        struct.error: The file ends before its directory.
    """
    if b"+" in data[2:4]:
        raise unsupported("this is a BigTIFF")
    order = byte_order(data) or "<"
    (position,) = struct.unpack_from(f"{order}I", data, 4)
    directory = read_directory(data, order, position)
    _require_ordinary(directory)
    width, height = _whole(directory, WIDTH, 0), _whole(directory, LENGTH, 0)
    if width < 1 or height < 1:
        raise damaged()
    is_tiled = TILE_OFFSETS in directory.entries
    if is_tiled:
        part = _whole(directory, TILE_WIDTH, 0), _whole(directory, TILE_LENGTH, 0)
        if min(part) < 1 or part[0] * part[1] > MAX_TILE:
            raise damaged()
    else:
        part = width, min(_whole(directory, ROWS_PER_STRIP, height), height)
        if part[1] < 1:
            raise damaged()
    places = _places(directory, -(-width // part[0]) * -(-height // part[1]), is_tiled)
    return TiffLayout(
        width,
        height,
        COMPRESSIONS[_whole(directory, COMPRESSION, NONE)],
        _whole(directory, PREDICTOR, 1) == 2,
        part,
        is_tiled,
        places,
        directory.orientation,
        directory.raw(PROFILE),
        _end(directory, places, position),
    )


def _end(directory: Directory, places: Sequence[tuple[int, int]], position: int) -> int:
    """Return the offset behind the parts, and behind the directory at a position and its values."""
    (count,) = struct.unpack_from(f"{directory.order}H", directory.data, position)
    # Entries that are left out may name more.
    if count != len(directory.entries) or directory.next or directory.entries.keys() & FURTHER_DIRECTORIES:
        return len(directory.data)
    values = (at + SIZES[kind] * count for kind, count, at in directory.entries.values())
    # A directory is a count of two bytes, entries of twelve and the place of the next one.
    behind = position + 6 + 12 * count
    return int(max(behind, *values, *(sum(place) for place in places)))


def _whole(directory: Directory, tag: int, default: int) -> int:
    """Return the whole number of a tag, or the default where the tag is absent."""
    if tag not in directory.entries:
        return default
    numbers = directory.numbers(tag)
    if not numbers or numbers[0] != numbers[0] // 1:
        raise damaged()
    return int(numbers[0])


def _require_ordinary(directory: Directory) -> None:
    """Raise PhotoError unless the first picture is RGB of 8 bits in a compression that is read."""
    photometric = _whole(directory, PHOTOMETRIC, -1)
    is_raw = bool(directory.entries.keys() & {DNG_VERSION, TIFF_EP, SUB_DIRECTORIES})
    if is_raw or photometric in RAW_PHOTOMETRICS or _whole(directory, SUBFILE, 0) & 1:
        make = directory.raw(MAKE).upper()
        kind = next((kind for maker, kind in MAKERS.items() if make.startswith(maker)), "TIFF")
        raise unsupported(f"this is {RAW} ({'DNG' if DNG_VERSION in directory.entries else kind})", DEVELOP)
    compression = _whole(directory, COMPRESSION, NONE)
    if compression not in COMPRESSIONS:
        name = OTHER_COMPRESSIONS.get(compression, f"number {compression}")
        raise unsupported(f"this TIFF has an unsupported compression ({name})")
    if photometric != RGB:
        raise unsupported(
            f"this TIFF is {PHOTOMETRICS.get(photometric, f'of colours {photometric}')}, not RGB"
        )
    samples = _whole(directory, SAMPLES, 1)
    if samples != 3:
        raise unsupported(f"this TIFF has {samples} channels, not 3")
    bits = directory.numbers(BITS, samples)
    if set(bits) != {8}:
        raise unsupported(f"this TIFF has {max(bits, default=1):g} bits a channel, not 8")
    if set(directory.numbers(SAMPLE_FORMAT, samples)) - {1}:
        raise unsupported("this TIFF has signed or floating-point channels")
    if _whole(directory, PLANAR, 1) != 1:
        raise unsupported("this TIFF stores each channel by itself (planar)")
    if _whole(directory, FILL_ORDER, 1) != 1 or _whole(directory, PREDICTOR, 1) not in (1, 2):
        raise unsupported("this TIFF has an unsupported order of bits or predictor")


def _places(directory: Directory, count: int, is_tiled: bool) -> tuple[tuple[int, int], ...]:
    """Return offset and size of so many parts, all inside the file and together not larger than it."""
    if count > MAX_PARTS:
        raise damaged()
    tags = (TILE_OFFSETS, TILE_SIZES) if is_tiled else (STRIP_OFFSETS, STRIP_SIZES)
    # One more shows whether there are too many.
    offsets, sizes = (directory.numbers(tag, count + 1) for tag in tags)
    if len(offsets) != count or len(sizes) != count:
        raise damaged()
    if any(number != number // 1 for number in (*offsets, *sizes)):  # nor is it for NaN and infinity
        raise damaged()
    places = tuple((int(offset), int(size)) for offset, size in zip(offsets, sizes, strict=True))
    end = len(directory.data)
    if any(offset < 0 or size < 0 or offset + size > end for offset, size in places):
        raise cut_off()
    if sum(size for _, size in places) > end:
        raise damaged()
    return places
