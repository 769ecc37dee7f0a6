"""The properties of the primary picture of a HEIC file, read in plain Python before libheif sees the file.

Boxes are those of ISO/IEC 14496-12, items and their properties those of ISO/IEC 23008-12 (HEIF).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edgeskin.photo.formats import MAX_SEGMENTS, cut_off, damaged, unsupported

MAX_PROPERTIES = 1000
"""Properties of a file, and of one picture."""
NOTHING = memoryview(b"")
UNSPECIFIED = 2
"""Of colour primaries and of transfer characteristics (ITU-T H.273)."""


@dataclass(frozen=True)
class HeicLayout:
    """What a file says of its primary picture.

    Attributes:
        width: Pixels a row, cropped and turned as it is to be shown.
        height: Rows, likewise.
        bits: Largest number of bits a channel.
        profile: The ICC profile, not yet checked; empty for none.
        primaries: Code of the colour primaries (H.273, 8.1).
        curve: Code of the transfer characteristics (H.273, 8.2).
    """

    width: int
    height: int
    bits: int
    profile: bytes
    primaries: int
    curve: int


def read_layout(data: bytes) -> HeicLayout:
    """Read the properties of the primary picture.

    Args:
        data: All bytes of the file.

    Raises:
        PhotoError: The file is cut off, damaged, or has no primary picture.
        struct.error: A box is too short.
    """
    # To the end, so that a file that is cut off is found.
    top = dict(_boxes(memoryview(data)))
    if b"avif" in bytes(top.get(b"ftyp", b"")):
        raise unsupported("this is an AVIF picture")
    if b"meta" not in top:
        raise unsupported("this HEIC file holds no picture")
    meta = dict(_boxes(top[b"meta"][4:]))
    if not {b"pitm", b"iprp"} <= meta.keys():
        raise unsupported("this HEIC file holds no picture")
    parts = dict(_boxes(meta[b"iprp"]))
    known = list(_boxes(parts.get(b"ipco", NOTHING)))
    if len(known) > MAX_PROPERTIES:
        raise damaged()
    (version,) = struct.unpack_from(">B", meta[b"pitm"])
    (item,) = struct.unpack_from(">H" if version == 0 else ">I", meta[b"pitm"], 4)
    places = _associations(parts.get(b"ipma", NOTHING), item)
    if not all(1 <= place <= len(known) for place in places):
        raise damaged()
    return _layout([known[place - 1] for place in places])


def _boxes(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The name and the content of each box; a box of size 0 is the last (14496-12, 4.2)."""
    position = 0
    for _ in range(MAX_SEGMENTS):
        if position == len(content):
            return
        if position + 8 > len(content):
            raise cut_off()
        size, name = struct.unpack_from(">I4s", content, position)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, position + 8)
            head = 16
        elif size == 0:
            size = len(content) - position
        if size < head:
            raise damaged()
        if position + size > len(content):
            raise cut_off()
        yield name, content[position + head : position + size]
        position += size
    raise damaged()


def _associations(content: memoryview, item: int) -> list[int]:
    """The places of an item's properties, from 1, in the order in which they apply (23008-12, 9.3)."""
    if not content:
        return []
    version, flags, count = struct.unpack_from(">B2xBI", content)
    position = 8
    for _ in range(min(count, MAX_SEGMENTS)):
        item_form, place_form = ">H" if version == 0 else ">I", ">H" if flags & 1 else ">B"
        (found,) = struct.unpack_from(item_form, content, position)
        position += struct.calcsize(item_form)
        (properties,) = struct.unpack_from(">B", content, position)
        position += 1
        width = struct.calcsize(place_form)
        if found == item:
            values = [
                struct.unpack_from(place_form, content, position + width * i) for i in range(properties)
            ]
            # The highest bit marks a property as essential; 0 stands for none.
            return [place for (value,) in values if (place := value & (0x7FFF if flags & 1 else 0x7F))]
        position += width * properties
    return []


def _layout(properties: list[tuple[bytes, memoryview]]) -> HeicLayout:
    width = height = 0
    bits, profile, primaries, curve = 8, b"", UNSPECIFIED, UNSPECIFIED
    for name, content in properties:
        if name == b"ispe":
            width, height = struct.unpack_from(">II", content, 4)
        elif name == b"clap":
            across, a, down, b = struct.unpack_from(">4I", content)
            if not a or not b:
                raise damaged()
            width, height = across // a, down // b
        elif name == b"irot" and content[:1] and content[0] & 1:
            width, height = height, width
        elif name == b"pixi":
            (channels,) = struct.unpack_from(">B", content, 4)
            bits = max([bits, *content[5 : 5 + channels]])
        elif name == b"hvcC":
            (depths,) = struct.unpack_from(">H", content, 17)
            bits = max(bits, 8 + (depths >> 8 & 7), 8 + (depths & 7))
        elif name == b"colr":
            kind = bytes(content[:4])
            if kind in (b"prof", b"rICC"):
                profile = bytes(content[4:])
            elif kind == b"nclx":
                primaries, curve = struct.unpack_from(">HH", content, 4)
    if not width or not height:
        raise unsupported("this HEIC file does not say how large its picture is")
    return HeicLayout(width, height, bits, profile, primaries, curve)
