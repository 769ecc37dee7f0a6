"""Headers of picture files, read before any decoder sees the file.

A header of a few bytes can make a decoder allocate gigabytes. So this module reads format, size and
orientation, and checks that the file is complete, in plain Python and without trusting the bytes: every
length is checked against the file.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from edgeskin.arrays import UInt8s
from edgeskin.photo.color_profile import inflated, joined_segments
from edgeskin.photo.directory import exif_orientation
from edgeskin.photo.formats import (
    MAX_SEGMENTS,
    FileFormat,
    cut_off,
    damaged,
    needs_extra,
    other_format,
    unsupported,
)
from edgeskin.photo.heic_boxes import read_layout
from edgeskin.photo.jpeg import JpegLayout, read_segments
from edgeskin.photo.tiff import DEFLATE, NONE, TiffLayout, read_tiff

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
PNG_WITH_ALPHA = (4, 6)
PNG_ANCILLARY = 0x20
"""Bit of the first byte of a chunk's name: a reader may ignore the chunk (PNG specification, 5.4)."""
WEBP_PIXEL_CHUNKS = (b"VP8X", b"ALPH", b"VP8 ", b"VP8L")
BMP_WITH_PROFILE = 124
"""Size of the BITMAPV5HEADER."""
BMP_ALIGNMENT = 4
"""Bytes to whose multiple a BMP may be filled up."""


@dataclass(frozen=True)
class Header:
    """The header of a complete picture file of a known format. No pixel is decoded yet.

    Attributes:
        format: The format found in the bytes, whatever the file's name says.
        encoded: The bytes to decode: a PNG or WebP without its ancillary chunks, else the whole file.
        width: Pixels a row as stored, before the orientation is applied.
        height: Rows as stored, before the orientation is applied.
        orientation: EXIF orientation, 1 to 8; 1 is upright.
        held: Bytes a pixel that decoding holds at once; 0 if it goes row by row to a reduced scale. OpenCV
            holds each picture twice, as it copies its own to numpy.
        profile: The ICC profile, not yet checked; empty for none.
        has_surplus: Whether the file is not as long as its header says, so that a byte too many may have
            shifted pixels that are not compressed.
        tiff: Where the pixels of a TIFF lie; None for other formats.
        jpeg: Where the parts of a JPEG lie, also of one within a DICOM file; None for other formats.
        pixels: Decodes a picture that OpenCV does not, to grey (h, w), BGR or BGRA (h, w, c), or raises
            PhotoError; None for other formats.
    """

    format: FileFormat
    encoded: bytes
    width: int
    height: int
    orientation: int = 1
    held: int = 6
    profile: bytes = b""
    has_surplus: bool = False
    tiff: TiffLayout | None = None
    jpeg: JpegLayout | None = None
    pixels: Callable[[], UInt8s] | None = None


def read_header(data: bytes) -> Header:
    """Read the header of a picture file.

    Args:
        data: All bytes of the file.

    Raises:
        PhotoError: The file is of an unsupported format, damaged or cut off (codes ``unsupported_format``,
            ``damaged`` and ``cut_off``).
    """
    try:
        for start, read in _READERS.items():
            if re.match(start, data, re.DOTALL):
                return read(data)
    except struct.error as error:
        raise cut_off() from error
    raise other_format(data)


def _read_jpeg(data: bytes) -> Header:
    segments = read_segments(data)
    layout = segments.layout
    # For progressive and multi-scan files, libjpeg holds the coefficients of the whole picture in memory.
    held = 0 if layout.by_rows else 8
    orientation, profile = exif_orientation(segments.exif), joined_segments(segments.profile)
    return Header("jpeg", data, layout.width, layout.height, orientation, held, profile, jpeg=layout)


def _read_png(data: bytes) -> Header:
    """Walk the chunks (PNG specification, 5.3) and keep those that decide the pixels.

    Text, colour profiles and animation are dropped, because such a chunk of a few bytes can unpack to
    gigabytes. The profile is read here instead, up to a limit.
    """
    view = memoryview(data)
    pixel_chunks = [view[:8]]
    kinds: list[bytes] = []
    exif = profile = b""
    position = 8
    for _ in range(MAX_SEGMENTS):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise cut_off()
        # Of all chunks: a damaged name could turn transparency or a profile into something that is dropped.
        (crc,) = struct.unpack_from(">I", data, end - 4)
        if crc != zlib.crc32(view[position + 4 : end - 4]):
            raise damaged()
        if kind in PNG_PIXEL_CHUNKS:
            pixel_chunks.append(view[position:end])
            kinds.append(kind)
        elif kind == b"eXIf":
            exif = data[position + 8 : end - 4]
        elif kind == b"iCCP":
            profile = data[position + 8 : end - 4]
        elif not kind[0] & PNG_ANCILLARY:
            raise unsupported(f"this PNG holds a critical chunk {kind!r}")
        position = end
        if kind == b"IEND":
            break
    if kinds[:1] != [b"IHDR"] or kinds.count(b"IHDR") > 1 or b"IDAT" not in kinds or kinds[-1] != b"IEND":
        raise damaged()
    encoded = b"".join(pixel_chunks)
    width, height, depth, color_type = struct.unpack_from(">IIBB", encoded, 16)
    channels = 4 if color_type in PNG_WITH_ALPHA or b"tRNS" in kinds else 3
    held = 2 * channels * (2 if depth == 16 else 1)
    return Header("png", encoded, width, height, exif_orientation(exif), held, inflated(profile))


def _read_webp(data: bytes) -> Header:
    """Read the chunks of a RIFF file (RFC 9649) and keep those that decide the pixels.

    Where compressed data are missing, libwebp would read on in the chunks after them.
    """
    (riff_size,) = struct.unpack_from("<I", data, 4)
    end = 8 + riff_size
    if end > len(data):
        raise cut_off()
    first = data[12:16]
    exif = profile = b""
    kept: list[bytes] = []
    kinds: list[bytes] = []
    position = 12
    for _ in range(MAX_SEGMENTS):
        if position + 8 > end:
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        content = data[position + 8 : min(position + 8 + length, end)]
        if kind in WEBP_PIXEL_CHUNKS and not {b"VP8 ", b"VP8L"}.intersection(kinds):
            if len(content) < length:
                raise damaged()
            kinds.append(kind)
            kept.append(struct.pack("<4sI", kind, length) + content + bytes(length % 2))
        elif kind == b"EXIF":
            exif = content
        elif kind == b"ICCP":
            profile = content
        position += 8 + length + length % 2
    chunks = b"".join(kept)
    encoded = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
    if first == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("webp", encoded, width & 0x3FFF, height & 0x3FFF)
    if first == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("webp", encoded, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, held=8)
    if first != b"VP8X":
        raise damaged()
    flags, width_low, width_high, height_low, height_high = struct.unpack_from("<BxxxHBHB", data, 20)
    if flags & 0x02:
        raise unsupported("this is an animated WebP")
    width, height = (width_high << 16 | width_low) + 1, (height_high << 16 | height_low) + 1
    return Header("webp", encoded, width, height, exif_orientation(exif), 8, profile)


def _read_bmp(data: bytes) -> Header:
    """Read the BITMAPCOREHEADER (12 bytes) or the start of any BITMAPINFOHEADER."""
    file_size, _, offset, header_size = struct.unpack_from("<IIII", data, 2)
    if header_size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if compression not in (0, 3):
        raise unsupported("this is a compressed BMP")
    row_bytes = (width * bits + 31) // 32 * 4
    end = offset + row_bytes * abs(height)
    if end > len(data):
        raise cut_off()
    if offset < 14 + header_size:
        raise damaged()
    # Not all writers fill in the size. Only behind the pixels of a BITMAPV5HEADER, a profile may follow.
    most = len(data) if header_size >= BMP_WITH_PROFILE else end + BMP_ALIGNMENT - 1
    has_surplus = len(data) != (file_size if end <= file_size <= most else end)
    return Header("bmp", data, width, abs(height), has_surplus=has_surplus)


def _read_tiff(data: bytes) -> Header:
    tiff = read_tiff(data)
    # LZW and PackBits are decoded in Python, which is slow. So these pictures may be half as large.
    held = 6 if tiff.compression in (NONE, DEFLATE) else 12
    # Values and pixels start at even offsets, so a writer may have filled up the file (TIFF 6.0, section 2).
    has_surplus = tiff.compression == NONE and data[tiff.end :] not in (b"", bytes(tiff.end % 2))
    return Header(
        "tiff", data, tiff.width, tiff.height, tiff.orientation, held, tiff.profile, has_surplus, tiff
    )


def _read_dicom(data: bytes) -> Header:
    try:
        from edgeskin.photo.dicom import read_dicom
    except ImportError:
        raise needs_extra("a DICOM file", "dicom") from None
    picture = read_dicom(data)
    if not picture.jpeg:
        return Header(
            "dicom", b"", picture.width, picture.height, held=picture.held, profile=picture.profile,
            has_surplus=picture.has_surplus, pixels=picture.pixels,
        )  # fmt: skip
    if not picture.jpeg.startswith(b"\xff\xd8\xff"):
        raise damaged()
    header = _read_jpeg(picture.jpeg)
    assert header.jpeg is not None
    if (header.width, header.height, len(header.jpeg.sampling)) != (picture.width, picture.height, 3):
        raise damaged()
    return replace(header, format="dicom", profile=picture.profile or header.profile)


def _read_heic(data: bytes) -> Header:
    try:
        from edgeskin.photo import heic
    except ImportError:
        kind = "a HEIC picture (iPhone: Settings, Camera, Formats, Most Compatible)"
        raise needs_extra(kind, "heic") from None
    layout = read_layout(data)
    heic.require_ordinary_colors(layout)
    return Header(
        "heic", b"", layout.width, layout.height, held=heic.held_by_decoding(layout), profile=layout.profile,
        pixels=partial(heic.decode_heic, data, layout),
    )  # fmt: skip


_READERS: dict[bytes, Callable[[bytes], Header]] = {
    rb"\xff\xd8\xff": _read_jpeg,
    re.escape(PNG_SIGNATURE): _read_png,
    rb"RIFF.{4}WEBP": _read_webp,
    rb"BM": _read_bmp,
    rb"(?!.{8}CR)(?:II[*+]\0|MM\0[*+])": _read_tiff,
    rb".{128}DICM": _read_dicom,
    rb".{4}ftyp(?:hei|hev|mif1|msf1)": _read_heic,
}
"""What reads a file, by its start as a regular expression; the first that fits counts."""
