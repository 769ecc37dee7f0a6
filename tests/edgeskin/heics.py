"""HEIC files, made by pillow-heif and by changing the bytes of its properties."""

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.edgeskin.pictures import smooth

pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif, which encodes HEIC, is not installed")

RGB = smooth(120, 160)


def heic(pixels: npt.NDArray[np.uint8] = RGB, **options: Any) -> bytes:
    """A HEIC file of almost lossless pixels: uint8 grey (h, w), RGB or RGBA (h, w, c)."""
    buffer = io.BytesIO()
    picture = pillow_heif.from_pillow(Image.fromarray(pixels))
    picture.save(buffer, **{"quality": -1, "chroma": 444, "matrix_coefficients": 0, **options})
    return buffer.getvalue()


def heic_of_10_bits(pixels: npt.NDArray[np.uint8] = RGB) -> bytes:
    buffer = io.BytesIO()
    deep = pixels.astype(np.uint16) * 257
    picture = pillow_heif.from_bytes("RGB;16", pixels.shape[1::-1], deep.tobytes())
    picture.save(buffer, quality=-1, chroma=444)
    return buffer.getvalue()


def oriented(orientation: int) -> bytes:
    """A file with this EXIF orientation, which readers ignore, and with ``irot`` or ``imir`` for it."""
    exif = Image.Exif()
    exif[274] = orientation
    tagged = Image.fromarray(RGB)
    tagged.info["exif"] = exif.tobytes()
    buffer = io.BytesIO()
    pillow_heif.from_pillow(tagged).save(buffer, quality=-1, chroma=444, matrix_coefficients=0)
    return buffer.getvalue()


def with_byte(data: bytes, box: bytes, value: int) -> bytes:
    """The file with another first byte in a box."""
    at = data.index(box) + 4
    return data[:at] + bytes([value]) + data[at + 1 :]


def with_sides(data: bytes, width: int, height: int) -> bytes:
    """The file with other sides in its ``ispe`` (ISO/IEC 23008-12, 6.5.3)."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]
