"""TIFF files made by hand, of strips or tiles, in either byte order."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773
LETTERS = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 11: "f", 12: "d"}
Tags = dict[int, tuple[int, tuple[float, ...]]]


def packbits(content: bytes) -> bytes:
    """Pack runs of four by repetition, and all else literally."""
    packed = bytearray()
    for start in range(0, len(content), 4):
        run = content[start : start + 4]
        is_run = len(run) > 1 and len(set(run)) == 1
        packed += bytes([257 - len(run), run[0]]) if is_run else bytes([len(run) - 1]) + run
    return bytes(packed)


COMPRESS: dict[int, Callable[[bytes], bytes]] = {NONE: bytes, DEFLATE: zlib.compress, PACKBITS: packbits}


def parts_of(pixels: npt.NDArray[np.uint8], rows: int, tile: tuple[int, int] | None) -> list[bytes]:
    """The bytes of each strip, or of each tile (width, height), padded."""
    if tile is None:
        return [pixels[top : top + rows].tobytes() for top in range(0, len(pixels), rows)]
    width, height = tile
    down, across = -len(pixels) % height, -pixels.shape[1] % width
    padded = np.pad(pixels, ((0, down), (0, across), (0, 0)))
    return [
        padded[top : top + height, left : left + width].tobytes()
        for top in range(0, len(padded), height)
        for left in range(0, padded.shape[1], width)
    ]


def differences(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What the predictor leaves of each row."""
    return np.diff(pixels, axis=1, prepend=np.zeros_like(pixels[:, :1]))


def tiff(
    pixels: npt.NDArray[np.uint8],
    order: str = "<",
    compression: int = NONE,
    *,
    rows: int = 50,
    tile: tuple[int, int] | None = None,
    predictor: bool = False,
    parts: list[bytes] | None = None,
    **tags: tuple[int, tuple[float, ...]] | None,
) -> bytes:
    """A TIFF file of uint8 RGB (h, w, 3).

    Args:
        pixels: The picture.
        order: Byte order, ``<`` or ``>``.
        compression: Of the parts.
        rows: A strip.
        tile: Width and height of a tile in place of strips.
        predictor: Whether to store differences of neighbours; needs one tile across, or strips.
        parts: Compressed strips or tiles, if others.
        tags: More tags, as ``t274=(3, (6,))`` of type and values, or None to leave one out.
    """
    stored = differences(pixels) if predictor else pixels
    if parts is None:
        parts = [COMPRESS[compression](part) for part in parts_of(stored, rows, tile)]
    offsets = [8 + sum(map(len, parts[:place])) for place in range(len(parts))]
    height, width = pixels.shape[:2]
    values: Tags = {
        256: (4, (width,)), 257: (4, (height,)), 258: (3, (8, 8, 8)), 259: (3, (compression,)),
        262: (3, (2,)), 277: (3, (3,)), 284: (3, (1,)),
    }  # fmt: skip
    if tile is None:
        values |= {273: (4, tuple(offsets)), 278: (4, (rows,)), 279: (4, tuple(map(len, parts)))}
    else:
        values |= {322: (4, tile[:1]), 323: (4, tile[1:]), 324: (4, tuple(offsets))}
        values |= {325: (4, tuple(map(len, parts)))}
    if predictor:
        values[317] = (3, (2,))
    for name, value in tags.items():
        values.pop(int(name[1:]), None)
        if value is not None:
            values[int(name[1:])] = value
    body = b"".join(parts) + bytes(sum(map(len, parts)) % 2)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body))
    return head + body + directory(values, order, 8 + len(body))


def directory(values: Tags, order: str, place: int, following: int = 0) -> bytes:
    """A directory and its values, at a place of the file."""
    end = place + 6 + 12 * len(values)
    entries, content = struct.pack(f"{order}H", len(values)), b""
    for tag, (kind, numbers) in sorted(values.items()):
        packed = struct.pack(f"{order}{len(numbers)}{LETTERS[kind]}", *numbers)
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers))
        if len(packed) <= 4:
            entries += packed.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", end + len(content))
            content += packed + bytes(len(packed) % 2)
    return entries + struct.pack(f"{order}I", following) + content
