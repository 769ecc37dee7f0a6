"""Conversion of colours to sRGB by the profile that a picture carries (ICC.1:2022).

Phones save Display P3 and cameras Adobe RGB. Their numbers stand for more saturated colours than the same
numbers of sRGB, on which the network was trained.
"""

import functools
import itertools
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Float32s, Float64s, Image

MAX_PROFILE = 4 * 2**20
"""Bytes of a profile."""
MAX_TAGS = 256
BAND = 256
"""Rows that are converted at once, which bounds the memory of their copies."""

D50 = (0.9642, 1.0, 0.8249)
"""White of the profile connection space (7.2.16)."""
SRGB_TO_D50 = (
    (0.4360747, 0.3850649, 0.1430804),
    (0.2225045, 0.7168786, 0.0606169),
    (0.0139322, 0.0971045, 0.7141733),
)
"""From linear sRGB to XYZ with the white D50, adapted by Bradford (Lindbloom)."""
DISPLAY_P3_TO_D50 = (
    (0.5151187, 0.2919778, 0.1571035),
    (0.2411892, 0.6922441, 0.0665668),
    (-0.0010505, 0.0418791, 0.7840713),
)
"""From linear Display P3, adapted in the same way."""
WHITE_ERROR = 0.1
"""Largest distance of a profile's white from D50; beyond it the profile is damaged."""
SAME = 1.5
"""Levels; a profile that changes no colour by more is sRGB."""

PARAMETERS = (1, 3, 4, 5, 7)
"""Number of parameters of each type of parametric curve (10.18)."""


@dataclass(frozen=True)
class ColorProfile:
    """A profile of three curves and a matrix.

    Attributes:
        curves: float32 (256, 3): linear light, 0 to 1, of each level of each channel.
        matrix: float32 (3, 3): from the linear light of the profile to that of sRGB.
    """

    curves: Float32s
    matrix: Float32s

    def to_srgb(self, image: Image) -> Image:
        """Convert uint8 RGB (h, w, 3). Colours outside sRGB are clipped."""
        converted = np.empty_like(image)
        channels = np.arange(3)
        for top in range(0, len(image), BAND):
            rows = slice(top, top + BAND)
            light = cv2.transform(self.curves[image[rows], channels], self.matrix)
            indices = (np.clip(light, 0, 1) * 65535 + 0.5).astype(np.uint16)
            converted[rows] = _srgb_levels()[indices]
        return converted


def read_profile(data: bytes) -> ColorProfile | None:
    """Read a profile.

    Args:
        data: The profile; empty for none.

    Returns:
        None where no conversion is needed or possible: there is no profile, it is sRGB (by SAME), it is
        damaged, it describes grey or CMYK, or it has tables in place of curves and a matrix.
    """
    # Signature, colour space of the data and of the connection (7.2).
    if not 132 <= len(data) <= MAX_PROFILE or (data[36:40], data[16:24]) != (b"acsp", b"RGB XYZ "):
        return None
    try:
        tags = _tags(data)
        columns = [_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    except (KeyError, struct.error, ValueError):
        return None
    if np.abs(np.sum(columns, axis=0) - D50).max() > WHITE_ERROR:
        return None
    matrix = np.linalg.solve(np.array(SRGB_TO_D50), np.transpose(columns))
    profile = ColorProfile(np.stack(curves, axis=1).astype(np.float32), matrix.astype(np.float32))
    levels = np.array(list(itertools.product(range(0, 256, 17), repeat=3)), np.uint8)[None]
    if np.abs(profile.to_srgb(levels).astype(int) - levels).max() < SAME:
        return None
    return profile


@functools.cache
def display_p3() -> ColorProfile:
    """The profile of pictures that are labelled Display P3 without carrying a profile."""
    levels = np.linspace(0, 1, 256)
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    matrix = np.linalg.solve(np.array(SRGB_TO_D50), np.array(DISPLAY_P3_TO_D50))
    return ColorProfile(np.stack([light] * 3, axis=1).astype(np.float32), matrix.astype(np.float32))


def joined_segments(segments: Iterable[bytes]) -> bytes:
    """Join the parts of a profile in JPEG's APP2 segments, in the order of their numbers (annex B.4).

    Args:
        segments: Each begins with its number and their count, one byte each.

    Returns:
        The profile; empty if a part is missing.
    """
    ordered = sorted(segments, key=lambda segment: segment[:1])
    numbers = [(segment[0], segment[1]) for segment in ordered if len(segment) > 2]
    if numbers != [(number, len(ordered)) for number in range(1, len(ordered) + 1)]:
        return b""
    return b"".join(segment[2:] for segment in ordered)


def inflated(chunk: bytes) -> bytes:
    """Return the profile in the content of PNG's iCCP chunk; empty if it is damaged or above MAX_PROFILE."""
    _, _, rest = chunk.partition(b"\0")
    try:
        # The first byte names the compression, of which there is one.
        profile = zlib.decompressobj().decompress(rest[1:], MAX_PROFILE + 1)
    except zlib.error:
        return b""
    return profile if len(profile) <= MAX_PROFILE else b""


def _tags(data: bytes) -> dict[bytes, bytes]:
    """Return the content of the tags, by signature (7.3)."""
    (count,) = struct.unpack_from(">I", data, 128)
    tags: dict[bytes, bytes] = {}
    for place in range(min(count, MAX_TAGS)):
        name, start, size = struct.unpack_from(">4sII", data, 132 + 12 * place)
        tags[name] = data[start : start + size]
    return tags


def _xyz(tag: bytes) -> Float64s:
    """Read a tag of type XYZ (10.31)."""
    if tag[:4] != b"XYZ ":
        raise ValueError(tag[:4])
    return np.array(struct.unpack_from(">3i", tag, 8)) / 65536


def _curve(tag: bytes) -> Float64s:
    """Return the linear light (256,) of a curve (10.6) or a parametric curve (10.18), or raise ValueError."""
    levels = np.linspace(0, 1, 256)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            light = levels
        elif count == 1:
            light = levels ** (struct.unpack_from(">H", tag, 12)[0] / 256)
        else:
            points = np.frombuffer(tag, ">u2", count, 12) / 65535
            light = np.interp(levels, np.linspace(0, 1, count), points)
    elif tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        if kind >= len(PARAMETERS):
            raise ValueError(kind)
        values = struct.unpack_from(f">{PARAMETERS[kind]}i", tag, 12)
        light = _parametric(kind, levels, *(value / 65536 for value in values))
    else:
        raise ValueError(tag[:4])
    # Rising curves alone can be those of a camera or a screen.
    if not (np.isfinite(light).all() and (np.diff(light) >= 0).all() and light[-1] - light[0] > 0.5):
        raise ValueError("no curve")
    return light


def _parametric(
    kind: int,
    x: Float64s,
    g: float,
    a: float = 1.0,
    b: float = 0.0,
    c: float = 0.0,
    d: float = 0.0,
    e: float = 0.0,
    f: float = 0.0,
) -> Float64s:
    """Evaluate a parametric curve; the names are those of table 68."""
    with np.errstate(all="ignore"):
        power = np.power(np.maximum(a * x + b, 0), g)
        if kind == 0:
            light = power
        elif kind in (1, 2):
            light = np.where(a * x >= -b, power + c, c)
        else:
            light = np.where(x >= d, power + e, c * x + f)
    return np.clip(light, 0, 1)


@functools.cache
def _srgb_levels() -> npt.NDArray[np.uint8]:
    """The level of each of 65536 steps of linear light (IEC 61966-2-1)."""
    light = np.linspace(0, 1, 65536)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * encoded), dtype=np.uint8)
