"""EXIF orientation of every type against Pillow, an independent reader; directories made by hand."""

import io
import struct
import warnings

import pytest
from PIL import Image, ImageOps

from edgeskin.photo.directory import exif_orientation, read_directory
from edgeskin.photo.headers import read_header
from tests.edgeskin.pictures import RGB, encode

pytestmark = pytest.mark.hazard("H-04")

ORIENTATION = 0x0112
TYPES = {
    **{"BYTE": (1, "B"), "ASCII": (2, "B"), "SHORT": (3, "H"), "LONG": (4, "I"), "RATIONAL": (5, "I")},
    **{"SBYTE": (6, "b"), "UNDEFINED": (7, "B"), "SSHORT": (8, "h"), "SLONG": (9, "i")},
    **{"SRATIONAL": (10, "i"), "FLOAT": (11, "f"), "DOUBLE": (12, "d"), "IFD": (13, "I")},
}
VALUES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 0x0106)


def exif(order: str, kind: int, letter: str, *values: float, before: bytes = b"") -> bytes:
    """EXIF whose first directory holds an orientation, after other entries of 12 bytes."""
    packed = struct.pack(f"{order}{len(values)}{letter}", *values)
    count = len(values) // (2 if kind in (5, 10) else 1)
    entries = len(before) // 12 + 1
    end = 10 + 12 * entries + 4
    place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(f"{order}I", end)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, entries)
    entry = struct.pack(f"{order}HHI", ORIENTATION, kind, count) + place
    return head + before + entry + bytes(4) + packed


def turn_of_pillow(data: bytes) -> int:
    """The orientation that Pillow applies to a picture file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # several values
        image = Image.open(io.BytesIO(data))
        image.load()  # a PNG may hold its eXIf after the pixels
        value = image.getexif().get(ORIENTATION, 1)
    return int(value) if value in range(1, 9) else 1


def embedded(content: bytes, fmt: str) -> bytes:
    return encode(RGB[:40, :60], fmt, exif=b"Exif\0\0" + content)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", TYPES)
def test_orientation_is_read_as_pillow_reads_it(name: str, order: str) -> None:
    kind, letter = TYPES[name]
    for value in VALUES:
        if letter in "Bb" and value > 127:
            continue
        values = (value, 1) if kind in (5, 10) else (value,)
        content = exif(order, kind, letter, *values)
        for fmt in ("JPEG", "PNG", "WEBP"):
            data = embedded(content, fmt)
            assert read_header(data).orientation == turn_of_pillow(data), (value, fmt)


@pytest.mark.parametrize(
    ("content", "orientation"),
    [
        (exif(">", 4, "I", 6), 6),
        (exif("<", 9, "i", -6), 1),
        (exif("<", 3, "H", 6, 3), 6),
        (exif("<", 3, "H", 6, 3, 1, 1), 6),
        (exif("<", 5, "I", 13, 2), 1),
        (exif("<", 3, "H", 3, before=struct.pack("<HHIHH", ORIENTATION, 3, 1, 8, 0)), 8),
        (exif("<", 3, "H", 3, before=struct.pack("<HHIHH", ORIENTATION, 99, 1, 8, 0)), 3),
        (exif("<", 3, "H", 3, before=struct.pack("<HHIHH", ORIENTATION, 3, 0, 8, 0)), 3),
    ],
    ids=["long", "negative", "two", "four", "fraction", "twice", "unknown-type", "no-value"],
)
def test_orientation_by_hand_is_as_pillow_reads_it(content: bytes, orientation: int) -> None:
    data = embedded(content, "JPEG")
    assert read_header(data).orientation == orientation == turn_of_pillow(data)


def test_only_the_first_directory_counts() -> None:
    """The second directory belongs to the thumbnail."""
    first = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0131, 4, 1, 0, 26)
    second = struct.pack("<HHHIHHI", 1, ORIENTATION, 3, 1, 6, 0, 0)
    assert exif_orientation(first + second) == 1
    assert turn_of_pillow(embedded(first + second, "JPEG")) == 1


def test_pillow_turns_the_same_way() -> None:
    data = embedded(exif(">", 4, "I", 6), "PNG")
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(data))).size == (40, 60)


def test_cut_anywhere_never_raises() -> None:
    whole = exif("<", 12, "d", 6.0)
    assert exif_orientation(whole) == 6
    for length in range(len(whole)):
        assert exif_orientation(whole[:length]) in (1, 6)
    for position in range(len(whole)):
        for value in (0, 0x7F, 0xFF):
            changed = whole[:position] + bytes([value]) + whole[position + 1 :]
            assert exif_orientation(changed) in range(1, 9)


def test_values_outside_the_file_are_left_out() -> None:
    far = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0100, 4, 2, 2**32 - 1) + bytes(4)
    directory = read_directory(far, "<", 8)
    assert directory.entries == {}
    assert directory.numbers(0x0100) == ()
    assert directory.raw(0x0100) == b""
