"""Directories of TIFF, in which EXIF is written too (TIFF 6.0, section 2)."""

import struct
from dataclasses import dataclass

NUMBERS = {
    **{3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q"},
    **{11: "f", 12: "d"},
    **{5: "II", 10: "ii"},
}
"""Types of numbers, as formats of `struct`: whole numbers, floats, and fractions of two numbers."""
SIZES = {1: 1, 2: 1, 7: 1} | {kind: struct.calcsize("=" + letters) for kind, letters in NUMBERS.items()}
"""Bytes a value of each type: numbers, BYTE (1), ASCII (2) and UNDEFINED (7)."""
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Directory:
    """One directory of a TIFF file.

    Attributes:
        data: The whole TIFF file.
        order: Byte order, as `struct` writes it: ``<`` or ``>``.
        entries: Type, number of values and position of the values in ``data``, by tag.
        next: Position of the next directory; 0 for none.
    """

    data: bytes
    order: str
    entries: dict[int, tuple[int, int, int]]
    next: int

    def numbers(self, tag: int, most: int = 1) -> tuple[float, ...]:
        """Return the first numbers of a tag, ``most`` at most; none if it is absent or holds no numbers."""
        kind, count, position = self.entries.get(tag, (0, 0, 0))
        if kind not in NUMBERS:
            return ()
        letters = NUMBERS[kind]
        values = struct.unpack_from(self.order + letters * min(count, most), self.data, position)
        if len(letters) == 1:
            return values
        return tuple(a / b if b else float("nan") for a, b in zip(values[::2], values[1::2], strict=True))

    def raw(self, tag: int) -> bytes:
        """Return the bytes of a tag's values; none if the tag is absent."""
        kind, count, position = self.entries.get(tag, (1, 0, 0))
        return self.data[position : position + count * SIZES[kind]]

    @property
    def orientation(self) -> int:
        """The orientation, 1 to 8, of whatever type of number; 1 if it is absent or something else."""
        value = self.numbers(ORIENTATION)
        return int(value[0]) if value and value[0] in range(1, 9) else 1


def byte_order(tiff: bytes) -> str | None:
    """Return the byte order of a TIFF file, ``<`` or ``>``, or None where it has neither."""
    return {b"II": "<", b"MM": ">"}.get(tiff[:2])


def read_directory(data: bytes, order: str, position: int) -> Directory:
    """Read a directory.

    Entries of unknown types, or whose values are not all inside ``data``, are left out. Of several entries
    with one tag, the first counts. A directory that is cut off keeps the entries before the cut.

    Args:
        data: The whole TIFF file.
        order: See `Directory`.
        position: Where the directory starts.

    Raises:
        struct.error: ``position`` is outside the file.
    """
    (count,) = struct.unpack_from(f"{order}H", data, position)
    entries: dict[int, tuple[int, int, int]] = {}
    start = position + 2
    complete = min(count, (len(data) - start) // 12)
    for entry in range(start, start + 12 * complete, 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", data, entry)
        if tag in entries or kind not in SIZES or not values:
            continue
        size = values * SIZES[kind]
        place = entry + 8 if size <= 4 else struct.unpack_from(f"{order}I", data, entry + 8)[0]
        if place + size <= len(data):
            entries[tag] = (kind, values, place)
    end = start + 12 * count
    following = struct.unpack_from(f"{order}I", data, end)[0] if end + 4 <= len(data) else 0
    return Directory(data, order, entries, following)


def exif_orientation(exif: bytes) -> int:
    """Return the orientation in the first directory (EXIF 2.3, 4.6.4), or 1 if it is absent or unreadable."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = byte_order(tiff)
    if order is None:
        return 1
    try:
        return read_directory(tiff, order, *struct.unpack_from(f"{order}I", tiff, 4)).orientation
    except struct.error:
        return 1
