"""The segments of a JPEG, read before any decoder sees the file (ITU-T T.81, annex B)."""

import re
import struct
from dataclasses import dataclass, replace

from edgeskin.photo.formats import MAX_SEGMENTS, cut_off, damaged, unsupported

MAX_SCANS = 64
"""Scans of one file; each costs a decoder a pass over the whole picture."""
# Inside compressed data, FF is followed by 00 or a restart marker. FF FF is padding.
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
SOF_SUPPORTED, SOF_UNSUPPORTED = (0xC0, 0xC1, 0xC2), (0xC3, *range(0xC5, 0xCC), *range(0xCD, 0xD0))
DHT, EOI, SOS, DQT, DRI, APP1, APP2, SOF_LS, COM = 0xC4, 0xD9, 0xDA, 0xDB, 0xDD, 0xE1, 0xE2, 0xF7, 0xFE
BETWEEN_SCANS = (DHT, SOS, DQT, DRI, COM, *range(0xE0, 0xF0))
ORDINARY = "export it as an ordinary JPEG with 8 bits a channel"


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
        tables_at: Offsets of the quantization tables of 8 bits, 64 bytes each.
    """

    width: int
    height: int
    size_at: int
    is_progressive: bool
    sampling: tuple[tuple[int, int], ...]
    scans: tuple[JpegScan, ...]
    restart_at: int | None = None
    tables_at: tuple[int, ...] = ()

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
class JpegSegments:
    """What the segments of a JPEG hold.

    Attributes:
        layout: Where its parts lie.
        exif: The first EXIF block, from its byte order on; empty for none.
        profile: The parts of the ICC profile, each with its number and their count.
    """

    layout: JpegLayout
    exif: bytes
    profile: list[bytes]


def read_segments(data: bytes) -> JpegSegments:
    """Walk the segments up to the end-of-image marker.

    Bytes after that marker are ignored: a motion photo's video, or further pictures. Markers inside a
    segment do not count, such as those of a thumbnail.

    Args:
        data: All bytes of the file.

    Raises:
        PhotoError: The coding is not supported, or the file is damaged or cut off.
        struct.error: The file ends within a segment.
    """
    frame_at = restart_at = None
    tables_at: list[int] = []
    scan_headers: list[int] = []
    scan_ends: list[int] = []
    exif = b""
    profile: list[bytes] = []
    position = 2
    for _ in range(MAX_SEGMENTS):
        match = MARKER.search(data, position)
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
            raise unsupported(f"this JPEG has an unsupported coding (SOF{marker - 0xC0})", ORDINARY)
        if marker == SOF_LS:
            raise unsupported("this is a JPEG-LS picture", ORDINARY)
        if marker in SOF_SUPPORTED:
            (precision,) = struct.unpack_from(">B", data, start + 2)
            if precision != 8:
                raise unsupported(f"this JPEG has {precision} bits a channel, not 8", ORDINARY)
            if frame_at is not None:
                raise damaged()
            frame_at = start
        elif marker == SOS:
            scan_headers.append(start)
        elif marker == DRI and not scan_headers:  # one between scans does not count for those before it
            restart_at = start + 2
        elif marker == DQT:
            tables_at += _tables(data, start + 2, position)
        elif marker == APP1 and not exif and data.startswith(b"Exif\0\0", start + 2):
            exif = data[start + 8 : position]
        elif marker == APP2 and data.startswith(b"ICC_PROFILE\0", start + 2):
            profile.append(data[start + 14 : position])
    else:
        raise damaged()
    if frame_at is None or not 1 <= len(scan_headers) <= MAX_SCANS:
        raise damaged()
    layout = _layout(data, frame_at, scan_headers, scan_ends)
    return JpegSegments(replace(layout, restart_at=restart_at, tables_at=tuple(tables_at)), exif, profile)


def _tables(data: bytes, start: int, end: int) -> list[int]:
    """Offsets of the tables of 8 bits in a segment of quantization tables (T.81, B.2.4.1)."""
    offsets = []
    while start < end:
        precision, number = data[start] >> 4, data[start] & 15
        if precision > 1 or number > 3:
            raise damaged()
        if precision == 0:
            offsets.append(start + 1)
        start += 65 if precision == 0 else 129
    if start != end:
        raise damaged()
    return offsets


def _layout(data: bytes, frame_at: int, scan_headers: list[int], scan_ends: list[int]) -> JpegLayout:
    """Read the headers of the frame (T.81, B.2.2) and the scans (B.2.3), given by offset."""
    length, _, height, width, n_components = struct.unpack_from(">HBHHB", data, frame_at)
    if length != 8 + 3 * n_components:
        raise damaged()
    described = [struct.unpack_from(">BB", data, frame_at + 8 + 3 * i) for i in range(n_components)]
    sampling = tuple((factors >> 4, factors & 15) for _, factors in described)
    places = {identifier: place for place, (identifier, _) in enumerate(described)}
    if not 1 <= n_components <= 4 or not all(1 <= one <= 4 for pair in sampling for one in pair):
        raise damaged()
    scans = []
    for start, end in zip(scan_headers, scan_ends, strict=True):
        length, count = struct.unpack_from(">HB", data, start)
        if length != 6 + 2 * count:
            raise damaged()
        components = [places.get(data[start + 3 + 2 * i]) for i in range(count)]
        if not components or None in components:
            raise damaged()
        first, last, bits = struct.unpack_from(">BBB", data, start + 3 + 2 * count)
        known = tuple(one for one in components if one is not None)
        scans.append(JpegScan(start + length, end, known, first, last, bits & 15))
    (marker,) = struct.unpack_from(">B", data, frame_at - 1)
    return JpegLayout(width, height, frame_at + 3, marker == 0xC2, sampling, tuple(scans))
