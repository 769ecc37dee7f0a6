"""Headers of picture files, read before any decoder sees the file.

A header of a few bytes can make a decoder allocate gigabytes. So this module reads format, size and
orientation, and checks that the file is complete, in plain Python and without trusting the bytes: every
length is checked against the file. Error messages do not name the file; the caller adds its name.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from edgeskin.errors import PhotoError

FileFormat = Literal["jpeg", "png", "webp", "bmp"]

# Ordinary files stay far below both limits. Without them, a small file could keep a reader busy for minutes.
MAX_SEGMENTS = 100_000
"""Segments or chunks that are read of one file."""
MAX_SCANS = 64
"""Scans of one JPEG; each costs a decoder a pass over the whole picture."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# Inside compressed data, FF is followed by 00 or a restart marker. FF FF is padding.
JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
SOF_SUPPORTED, SOF_UNSUPPORTED = (0xC0, 0xC1, 0xC2), (0xC3, *range(0xC5, 0xCC), *range(0xCD, 0xD0))
DHT, EOI, SOS, DQT, DRI, APP1, COM = 0xC4, 0xD9, 0xDA, 0xDB, 0xDD, 0xE1, 0xFE
BETWEEN_SCANS = (DHT, SOS, DQT, DRI, COM, *range(0xE0, 0xF0))

OTHER_FILES = {
    rb".{4}ftypavi[fs]": "an AVIF picture",
    rb".{4}ftyp(hei|hev|mif1|msf1)": "a HEIC picture (iPhone: Settings, Camera, Formats, Most Compatible)",
    rb".{4}ftyp": "a video",
    rb"II\*\0|MM\0\*": "a TIFF or raw picture",
    rb"GIF8": "a GIF picture",
    rb"%PDF": "a PDF document",
    rb".{128}DICM": "a DICOM file",
}
"""Starts of files in other formats, as regular expressions, and what to call each in an error."""


@dataclass(frozen=True)
class JpegScan:
    """A scan of a JPEG: its compressed data are ``data[start:end]`` (ITU-T T.81, B.2.3).

    Attributes:
        start: Offset of the first byte after the scan's header.
        end: Offset of the marker after the data.
        components: Indices in the frame.
        first: First coefficient of the spectral band, 0 to 63.
        last: Last coefficient of the band.
        low_bit: Position of the lowest bit that is transmitted; 0 completes the coefficients.
    """

    start: int
    end: int
    components: tuple[int, ...]
    first: int
    last: int
    low_bit: int


@dataclass(frozen=True)
class JpegLayout:
    """Where the parts of a JPEG lie.

    Attributes:
        width: Pixels a row as stored.
        height: Rows as stored.
        size_at: Offset of the height, which the width follows, two bytes each.
        is_progressive: Whether the scans refine each other.
        sampling: Horizontal and vertical sampling factor of each component.
        scans: In the order of the file.
        restart_at: Offset of the restart interval; None without one.
    """

    width: int
    height: int
    size_at: int
    is_progressive: bool
    sampling: tuple[tuple[int, int], ...]
    scans: tuple[JpegScan, ...]
    restart_at: int | None

    @property
    def by_rows(self) -> bool:
        """Whether one scan holds everything, so that a decoder needs only a row of blocks at a time."""
        return not self.is_progressive and len(self.scans) == 1

    @property
    def unit(self) -> tuple[int, int]:
        """Blocks of a coded unit (MCU), horizontally and vertically."""
        if len(self.sampling) == 1:
            return 1, 1
        return max(across for across, _ in self.sampling), max(down for _, down in self.sampling)

    @property
    def grid(self) -> tuple[int, int]:
        """Coded units of the picture, horizontally and vertically."""
        across, down = self.unit
        return -(-self.width // (8 * across)), -(-self.height // (8 * down))


@dataclass(frozen=True)
class Header:
    """The header of a complete picture file of a known format. No pixel is decoded yet.

    Attributes:
        format: The format found in the bytes, whatever the file's name says.
        encoded: The bytes to decode: a PNG without its ancillary chunks, else the whole file.
        width: Pixels a row as stored, before the orientation is applied.
        height: Rows as stored, before the orientation is applied.
        orientation: EXIF orientation, 1 to 8; 1 is upright.
        cost: Memory that decoding takes for a pixel, relative to a JPEG that is decoded row by row.
        jpeg: Where the parts of a JPEG lie; None for other formats.
    """

    format: FileFormat
    encoded: bytes
    width: int
    height: int
    orientation: int = 1
    cost: int = 2
    jpeg: JpegLayout | None = None


def damaged() -> PhotoError:
    """Return the error of a file whose content contradicts itself or cannot be decoded."""
    return PhotoError("the picture is damaged; copy it again, or export it again as JPEG", "damaged")


def cut_off() -> PhotoError:
    """Return the error of a file that ends too early."""
    return PhotoError("the picture is cut off before its end; copy or send it again", "cut_off")


def read_header(data: bytes) -> Header:
    """Read the header of a picture file.

    Args:
        data: All bytes of the file.

    Raises:
        PhotoError: The file is of an unsupported format, damaged or cut off (codes ``unsupported_format``,
            ``damaged`` and ``cut_off``).
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _read_jpeg(data)
        if data.startswith(PNG_SIGNATURE):
            return _read_png(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _read_webp(data)
        if data.startswith(b"BM"):
            return _read_bmp(data)
    except struct.error as error:
        raise cut_off() from error
    for start, kind in OTHER_FILES.items():
        if re.match(start, data, re.DOTALL):
            raise _unsupported(f"this is {kind}")
    raise _unsupported("this is not a picture")


def _unsupported(finding: str) -> PhotoError:
    return PhotoError(
        f"{finding}; edgeskin reads JPEG, PNG, WebP and BMP, so export it as JPEG", "unsupported_format"
    )


def _read_jpeg(data: bytes) -> Header:
    """Walk the segments up to the end-of-image marker (ITU-T T.81, annex B).

    Bytes after that marker are ignored: a motion photo's video, or further pictures. Markers inside a
    segment do not count, such as those of a thumbnail.
    """
    frame_at = restart_at = None
    scan_headers: list[int] = []
    scan_ends: list[int] = []
    exif = b""
    position = 2
    for _ in range(MAX_SEGMENTS):
        match = JPEG_MARKER.search(data, position)
        if match is None:
            raise cut_off()
        marker, start = data[match.end() - 1], match.end()
        if len(scan_ends) < len(scan_headers):
            scan_ends.append(match.start())
        if marker == EOI:
            break
        (length,) = struct.unpack_from(">H", data, start)
        if length < 2 or (scan_headers and marker not in BETWEEN_SCANS):
            raise damaged()
        position = start + length
        if position > len(data):
            raise cut_off()
        if marker in SOF_UNSUPPORTED:
            raise _unsupported(f"this JPEG has an unsupported coding (SOF{marker - 0xC0})")
        if marker in SOF_SUPPORTED:
            if frame_at is not None:
                raise damaged()
            frame_at = start
        elif marker == SOS:
            scan_headers.append(start)
        elif marker == DRI:
            restart_at = start + 2
        elif marker == APP1 and not exif and data.startswith(b"Exif\0\0", start + 2):
            exif = data[start + 8 : position]
    else:
        raise damaged()
    if frame_at is None or not 1 <= len(scan_headers) <= MAX_SCANS:
        raise damaged()
    layout = _jpeg_layout(data, frame_at, scan_headers, scan_ends, restart_at)
    # For progressive and multi-scan files, libjpeg holds the coefficients of the whole picture in memory.
    cost = 1 if layout.by_rows else 2
    return Header("jpeg", data, layout.width, layout.height, _exif_orientation(exif), cost, layout)


def _jpeg_layout(
    data: bytes, frame_at: int, scan_headers: list[int], scan_ends: list[int], restart_at: int | None
) -> JpegLayout:
    """Read the headers of the frame (T.81, B.2.2) and the scans (B.2.3), given by offset."""
    height, width, n_components = struct.unpack_from(">HHB", data, frame_at + 3)
    described = [struct.unpack_from(">BB", data, frame_at + 8 + 3 * i) for i in range(n_components)]
    sampling = tuple((factors >> 4, factors & 15) for _, factors in described)
    places = {identifier: place for place, (identifier, _) in enumerate(described)}
    if not 1 <= n_components <= 4 or not all(1 <= one <= 4 for pair in sampling for one in pair):
        raise damaged()
    scans = []
    for start, end in zip(scan_headers, scan_ends, strict=True):
        (count,) = struct.unpack_from(">B", data, start + 2)
        components = [places.get(data[start + 3 + 2 * i]) for i in range(count)]
        if not components or None in components:
            raise damaged()
        (length,) = struct.unpack_from(">H", data, start)
        first, last, bits = struct.unpack_from(">BBB", data, start + 3 + 2 * count)
        known = tuple(one for one in components if one is not None)
        scans.append(JpegScan(start + length, end, known, first, last, bits & 15))
    (marker,) = struct.unpack_from(">B", data, frame_at - 1)
    return JpegLayout(width, height, frame_at + 3, marker == 0xC2, sampling, tuple(scans), restart_at)


def _read_png(data: bytes) -> Header:
    """Walk the chunks (PNG specification, 5.3) and keep those that decide the pixels.

    Text, colour profiles and animation are dropped, because such a chunk of a few bytes can unpack to
    gigabytes.
    """
    view = memoryview(data)
    pixel_chunks = [view[:8]]
    kinds: list[bytes] = []
    exif = b""
    position = 8
    for _ in range(MAX_SEGMENTS):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise cut_off()
        if kind in PNG_PIXEL_CHUNKS:
            (crc,) = struct.unpack_from(">I", data, end - 4)
            if crc != zlib.crc32(view[position + 4 : end - 4]):
                raise damaged()
            pixel_chunks.append(view[position:end])
            kinds.append(kind)
        elif kind == b"eXIf":
            exif = data[position + 8 : end - 4]
        position = end
        if kind == b"IEND":
            break
    if kinds[:1] != [b"IHDR"] or kinds.count(b"IHDR") > 1 or b"IDAT" not in kinds or kinds[-1] != b"IEND":
        raise damaged()
    encoded = b"".join(pixel_chunks)
    width, height, depth = struct.unpack_from(">IIB", encoded, 16)
    return Header("png", encoded, width, height, _exif_orientation(exif), 4 if depth == 16 else 2)


def _read_webp(data: bytes) -> Header:
    """Read the first chunk of a RIFF file (RFC 9649): VP8 (lossy), VP8L (lossless) or VP8X."""
    (riff_size,) = struct.unpack_from("<I", data, 4)
    end = 8 + riff_size
    if end > len(data):
        raise cut_off()
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("webp", data, width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("webp", data, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind != b"VP8X":
        raise damaged()
    flags, width_low, width_high, height_low, height_high = struct.unpack_from("<BxxxHBHB", data, 20)
    if flags & 0x02:
        raise _unsupported("this is an animated WebP")
    exif = b""
    position = 12
    for _ in range(MAX_SEGMENTS):
        if position + 8 > end:
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            exif = data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    width, height = (width_high << 16 | width_low) + 1, (height_high << 16 | height_low) + 1
    return Header("webp", data, width, height, _exif_orientation(exif))


def _read_bmp(data: bytes) -> Header:
    """Read the BITMAPCOREHEADER (12 bytes) or the start of any BITMAPINFOHEADER."""
    offset, header_size = struct.unpack_from("<II", data, 10)
    if header_size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if compression not in (0, 3):
        raise _unsupported("this is a compressed BMP")
    row_bytes = (width * bits + 31) // 32 * 4
    if offset + row_bytes * abs(height) > len(data):
        raise cut_off()
    return Header("bmp", data, width, abs(height))


def _exif_orientation(exif: bytes) -> int:
    """Return tag 0x0112 of the first directory (EXIF 2.3, 4.6.4), or 1 if it is absent or unreadable."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(entries):
            tag, value = struct.unpack_from(f"{order}H6xH", tiff, directory + 2 + 12 * entry)
            if tag == 0x0112:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
