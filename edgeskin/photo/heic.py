"""The picture in a HEIC file, decoded by libheif. This module needs the extra ``heic``.

The size is known before any pixel is decoded. libheif turns the picture upright itself, so EXIF is not read.
It reports missing data, but no damage within the coded data, for which HEVC has no checksum.
"""

import struct
from dataclasses import dataclass
from functools import partial

import numpy as np
import pi_heif

from edgeskin.arrays import UInt8s
from edgeskin.photo.color_profile import display_p3
from edgeskin.photo.formats import MAX_SEGMENTS, cut_off, damaged, unsupported

MODES = ("L", "BGR", "BGRA")
"""Grey, colours, and colours with transparency; of 8 bits."""
DISPLAY_P3 = 12
ORDINARY_PRIMARIES = (1, 2, 5, 6, 7)
"""Colour primaries of BT.709, which sRGB shares, and of BT.601, which are close; 2 is unspecified (H.273)."""
ORDINARY_CURVES = (1, 2, 6, 13)
"""Transfer characteristics of BT.709, BT.601 and sRGB; 2 is unspecified."""


@dataclass(frozen=True)
class HeicPicture:
    """The primary picture of a HEIC file.

    Attributes:
        width: Pixels a row of the upright picture.
        height: Rows of the upright picture.
        profile: The ICC profile, not yet checked; empty for none.
        pixels: Decodes it to uint8 grey (h, w), BGR or BGRA (h, w, c), upright, or raises PhotoError.
        held: Bytes a pixel that decoding holds at once.
    """

    width: int
    height: int
    profile: bytes
    pixels: "partial[UInt8s]"
    held: int


def read_heic(data: bytes) -> HeicPicture:
    """Read the header of a HEIC file.

    Args:
        data: All bytes of the file.

    Raises:
        PhotoError: The file is cut off, holds no picture that libheif can decode, or one of high dynamic
            range.
    """
    _require_whole(data)
    try:
        file = pi_heif.open_heif(data, convert_hdr_to_8bit=True, bgr_mode=True)
        picture = file[file.primary_index]
    except MemoryError:
        raise
    except Exception:
        raise unsupported("this HEIC file holds no picture that libheif can read") from None
    if "avif" in file.mimetype:
        raise unsupported("this is an AVIF picture")
    profile, color = picture.info.get("icc_profile", b""), picture.info.get("nclx_profile")
    is_p3 = False
    if not profile and color:
        primaries, curve = color["color_primaries"], color["transfer_characteristics"]
        is_p3 = primaries == DISPLAY_P3
        if not (is_p3 or primaries in ORDINARY_PRIMARIES) or curve not in ORDINARY_CURVES:
            raise unsupported("this HEIC picture is of high dynamic range or has unknown colours")
    # Measured: 5 with BGR, 7 with BGRA, 15 with 10 bits and full resolution of the colours.
    held = 16 if picture.info["bit_depth"] > 8 else 8
    width, height = picture.size
    return HeicPicture(width, height, profile, partial(_decode, picture, is_p3), held)


def _require_whole(data: bytes) -> None:
    """Raise PhotoError unless the boxes end where the file does (ISO/IEC 14496-12, 4.2)."""
    position = 0
    for _ in range(MAX_SEGMENTS):
        if position == len(data):
            return
        size, head = struct.unpack_from(">I", data, position)[0], 8
        if size == 0:  # the last box, up to the end
            return
        if size == 1:
            size, head = struct.unpack_from(">Q", data, position + 8)[0], 16
        if size < head:
            raise damaged()
        position += size
        if position > len(data):
            raise cut_off()
    raise damaged()


def _decode(picture: pi_heif.HeifImage, is_p3: bool) -> UInt8s:
    try:
        pixels = np.asarray(picture)
    except MemoryError:
        raise
    except Exception:
        raise damaged() from None
    if picture.mode not in MODES or pixels.dtype != np.uint8:
        raise damaged()
    if is_p3 and picture.mode == "BGR":
        return np.ascontiguousarray(display_p3().to_srgb(np.ascontiguousarray(pixels[..., ::-1]))[..., ::-1])
    return pixels
