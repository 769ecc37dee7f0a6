"""The pixels of a HEIC picture, decoded by libheif. This module needs the extra ``heic``.

libheif crops, turns and mirrors the picture as the file says, so EXIF is not read. It reports missing data,
but no damage within the coded data, for which HEVC has no checksum.
"""

import numpy as np
import pi_heif

from edgeskin.arrays import UInt8s
from edgeskin.photo.color_profile import display_p3
from edgeskin.photo.formats import damaged, unsupported
from edgeskin.photo.heic_boxes import UNSPECIFIED, HeicLayout

MODES = ("L", "BGR", "BGRA")
"""Grey, colours, and colours with transparency; of 8 bits."""
DISPLAY_P3 = 12
PRIMARIES = (1, UNSPECIFIED, 5, 6, 7, DISPLAY_P3)
"""Colour primaries that are read (H.273): BT.709, which sRGB shares, BT.601, which is close, and P3."""
CURVES = (1, UNSPECIFIED, 6, 13)
"""Transfer characteristics that are read: BT.709, BT.601 and sRGB."""


def require_ordinary_colors(layout: HeicLayout) -> None:
    """Raise PhotoError for a picture of high dynamic range or in colours that are not converted."""
    if not layout.profile and (layout.primaries not in PRIMARIES or layout.curve not in CURVES):
        raise unsupported("this HEIC picture is of high dynamic range or has unknown colours")


def held_by_decoding(layout: HeicLayout) -> int:
    """Bytes a pixel that decoding holds at once.

    Measured: 5 with colours of a quarter of the pixels, 7 with transparency, 15 with 10 bits.
    """
    return 8 if layout.bits == 8 else 16


def decode_heic(data: bytes, layout: HeicLayout) -> UInt8s:
    """Decode the primary picture.

    Args:
        data: All bytes of the file.
        layout: What it says of the picture.

    Returns:
        uint8 grey (h, w), BGR or BGRA (h, w, c), as it is to be shown.

    Raises:
        PhotoError: libheif cannot read the file, or finds another picture than the layout.
    """
    try:
        file = pi_heif.open_heif(data, convert_hdr_to_8bit=True, bgr_mode=True)
        picture = file[file.primary_index]
        is_as_announced = picture.size == (layout.width, layout.height)
        # A copy, because the pixels are libheif's and go when the file does.
        pixels = np.array(picture) if is_as_announced and picture.mode in MODES else None
    except MemoryError:
        raise
    except Exception:
        raise damaged() from None
    if pixels is None or pixels.dtype != np.uint8:
        raise damaged()
    if layout.primaries == DISPLAY_P3 and not layout.profile and picture.mode != "L":  # grey is the same
        pixels[..., :3] = display_p3().to_srgb(np.ascontiguousarray(pixels[..., 2::-1]))[..., ::-1]
    return pixels
