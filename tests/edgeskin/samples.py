"""One small whole picture of every kind that is read, and files of the kinds that are refused."""

import io
import struct
import zipfile
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.edgeskin.pictures import IEND, encode, ihdr, png, smooth
from tests.edgeskin.profiles import profile
from tests.edgeskin.tiffs import DEFLATE, NONE, PACKBITS, tiff

Pixels = npt.NDArray[np.uint8]

COLOR_TYPES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Channels of each colour type of PNG."""
PNG_KINDS = [
    (color_type, depth)
    for color_type, depths in (
        (0, (1, 2, 4, 8, 16)),
        (2, (8, 16)),
        (3, (1, 2, 4, 8)),
        (4, (8, 16)),
        (6, (8, 16)),
    )
    for depth in depths
]
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row and steps of each pass (PNG specification, 8.2)."""


def png_of(pixels: Pixels, color_type: int, depth: int, interlaced: bool = False) -> bytes:
    """A PNG of any kind, whose samples are those of a colour picture in fewer or more bits."""
    channels = COLOR_TYPES[color_type]
    samples = np.dstack([pixels, pixels[::-1, ::-1, 0]])[..., [0, 3] if channels == 2 else range(channels)]
    deep = samples.astype(np.uint16) * 257 if depth == 16 else samples >> (8 - depth)
    passes = [deep[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [deep]
    rows = zlib.compress(b"".join(b"\0" + _packed(row, depth) for part in passes for row in part))
    height, width = pixels.shape[:2]
    header = ihdr(width, height, depth, color_type)[1][:12] + bytes([interlaced])
    palette = [(b"PLTE", smooth(2**depth, 1, seed=5).tobytes())] if color_type == 3 else []
    half = len(rows) // 2
    return png((b"IHDR", header), *palette, (b"IDAT", rows[:half]), (b"IDAT", rows[half:]), IEND)


def _packed(row: npt.NDArray[np.generic], depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = np.unpackbits(row.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - depth :]
    return np.packbits(bits).tobytes()


def jpeg_kinds(pixels: Pixels) -> dict[str, bytes]:
    """JPEG of every coding that is read."""
    picture = Image.fromarray(pixels)
    kinds = {
        f"{coding} {name}": encode(picture, "JPEG", quality=90, subsampling=subsampling, **options)
        for coding, options in {
            "baseline": {},
            "optimised": {"optimize": True},
            "progressive": {"progressive": True},
            "restarts": {"restart_marker_rows": 1},
            "restart blocks": {"restart_marker_blocks": 3},
        }.items()
        for name, subsampling in {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}.items()
    }
    for mode in ("L", "CMYK"):
        kinds[f"baseline {mode}"] = encode(picture.convert(mode), "JPEG", quality=90)
        kinds[f"progressive {mode}"] = encode(picture.convert(mode), "JPEG", quality=90, progressive=True)
    return {f"jpeg {name}": data for name, data in kinds.items()}


def png_kinds(pixels: Pixels) -> dict[str, bytes]:
    """PNG of all colour types and depths, interlaced or not."""
    return {
        f"png {color_type}-{depth}{' interlaced' * interlaced}": png_of(pixels, color_type, depth, interlaced)
        for color_type, depth in PNG_KINDS
        for interlaced in (False, True)
    }


def webp_kinds(pixels: Pixels) -> dict[str, bytes]:
    """WebP, lossy and lossless, with and without alpha."""
    alpha = np.dstack([pixels, pixels[::-1, :, 1]])
    return {
        f"webp {'lossless' if lossless else 'lossy'} {name}": encode(
            values, "WEBP", lossless=lossless, exact=True, quality=90
        )
        for lossless in (False, True)
        for name, values in (("rgb", pixels), ("alpha", alpha))
    }


def bmp_kinds(pixels: Pixels) -> dict[str, bytes]:
    """BMP of 1, 8, 24 and 32 bits, of rows from the top, and with the oldest header."""
    picture = Image.fromarray(pixels)
    kinds = {mode: encode(picture.convert(mode), "BMP") for mode in ("1", "L", "P", "RGB")}
    height, width = pixels.shape[:2]
    rows = [row[:, ::-1].tobytes() + bytes(-3 * width % 4) for row in pixels]
    size = sum(map(len, rows))
    down = struct.pack("<2sI4xI", b"BM", 54 + size, 54)
    down += struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, 0, size, 0, 0, 0, 0)
    oldest = struct.pack("<2sI4xI", b"BM", 26 + size, 26) + struct.pack("<IHHHH", 12, width, height, 1, 24)
    return {f"bmp {name}": data for name, data in kinds.items()} | {
        "bmp from the top": down + b"".join(rows),
        "bmp core header": oldest + b"".join(rows[::-1]),
    }


def tiff_kinds(pixels: Pixels) -> dict[str, bytes]:
    """TIFF of strips and tiles, in both byte orders and all compressions that are read."""
    kinds = {
        f"tiff {compression} {'strips' if tile is None else 'tiles'} {order}": tiff(
            pixels, order, compression, rows=16, tile=tile
        )
        for compression in (NONE, DEFLATE, PACKBITS)
        for tile in (None, (32, 16))
        for order in "<>"
    }
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        kinds[f"tiff {name}"] = encode(pixels, "TIFF", compression=name, tiffinfo={278: 16})
    kinds["tiff predictor"] = encode(pixels, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    return kinds


def kinds_of(pixels: Pixels) -> dict[str, bytes]:
    """A file of every kind that is read, of uint8 RGB (h, w, 3)."""
    return (
        jpeg_kinds(pixels) | png_kinds(pixels) | webp_kinds(pixels) | bmp_kinds(pixels) | tiff_kinds(pixels)
    )


def with_metadata(pixels: Pixels, fmt: str, orientation: int = 6, icc: bytes | None = None) -> bytes:
    """A file with EXIF and an ICC profile."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(fmt, {})
    return encode(pixels, fmt, exif=exif, icc_profile=icc or profile(), **options)


def refused_kinds(pixels: Pixels) -> dict[str, bytes]:
    """Files in formats that are not read."""
    picture = Image.fromarray(pixels)
    kinds = {
        fmt: encode(picture, fmt) for fmt in ("GIF", "ICO", "PPM", "PDF", "DDS", "JPEG2000", "TGA", "SGI")
    }
    frames = [picture, picture.rotate(90)]
    kinds["animated WebP"] = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    kinds["16-bit TIFF"] = encode(Image.fromarray(pixels[..., 0].astype(np.uint16)), "TIFF")
    kinds["TIFF of JPEG"] = encode(picture, "TIFF", compression="jpeg")
    kinds["HTML"] = b"<!doctype html><html><body><img src=x.jpg></body></html>"
    kinds["SVG"] = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    kinds["text"] = b"path,label\na.jpg,MEL\n"
    kinds["ZIP"] = archive(encode(picture, "JPEG"))
    return kinds


def archive(content: bytes) -> bytes:
    """A ZIP archive that holds a file as it is."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("lesion.jpg", content)
    return buffer.getvalue()
