"""Picture files made by Pillow and by hand, to be decoded and to be refused."""

import io
import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps


def smooth(height: int = 120, width: int = 160, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A smooth colour picture without symmetry: uint8 RGB (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def encode(pixels: npt.NDArray[np.generic] | Image.Image, fmt: str, **options: object) -> bytes:
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    picture.save(buffer, fmt, **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> npt.NDArray[np.uint8]:
    """What Pillow reads: upright, transparent pixels on white, uint8 RGB."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if picture.mode == "I;16":
        return np.dstack([np.rint(np.asarray(picture) / 257).astype(np.uint8)] * 3)
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def ihdr(width: int, height: int, depth: int = 8, color: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)


def png_rows(pixels: npt.NDArray[np.generic]) -> bytes:
    """Compressed rows with filter 0, big-endian: the IDAT of a PNG."""
    rows = pixels.astype(pixels.dtype.newbyteorder(">"))
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))


RGB = smooth()
GRAY = np.ascontiguousarray(RGB[..., 0])
RGBA = np.dstack([RGB, smooth(seed=1)[..., :1]])
JPEG = encode(smooth(600, 800), "JPEG", quality=90)
PNG = encode(RGB, "PNG")
WEBP = encode(RGB, "WEBP")
BMP = encode(RGB, "BMP")
IDAT = (b"IDAT", png_rows(RGB))
IEND = (b"IEND", b"")
TEXT_BOMB = png(ihdr(64, 64))[:33] + struct.pack(">I4s", 0x3FFFFFFF, b"tEXt") + b"Comment\0" + bytes(8)
SIDE = 20_000


def pixel_bomb() -> bytes:
    """The 20000 x 20000 PNG of 389 KB: well formed, 400 megapixels of black, 1 bit each."""
    return png(ihdr(SIDE, SIDE, 1, 0), (b"IDAT", zlib.compress(bytes((SIDE // 8 + 1) * SIDE), 1)), IEND)


def sof(width: int, height: int, data: bytes = JPEG) -> bytes:
    """The same file with another size in its frame header."""
    start = max(data.find(b"\xff\xc0\0\x11\x08"), data.find(b"\xff\xc2\0\x11\x08")) + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4 :]


def right_checksums(data: bytes) -> bytes:
    """A PNG with the right checksum in each whole chunk."""
    mended = bytearray(data)
    position = 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return bytes(mended)
