"""Colour conversion against LittleCMS, in Pillow; profiles that must be ignored."""

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from edgeskin.photo.color_profile import MAX_PROFILE, inflated, joined_segments, read_profile
from edgeskin.photo.decode import load_photo
from edgeskin.photo.headers import read_header
from tests.edgeskin.pictures import GRAY, IDAT, IEND, JPEG, PNG, RGB, encode, ihdr, png, smooth
from tests.edgeskin.profiles import (
    PRIMARIES,
    SRGB_CURVE,
    columns,
    gamma,
    parametric,
    profile,
    srgb_light,
    table,
)

pytestmark = pytest.mark.hazard("H-03")

SRGB = ImageCms.createProfile("sRGB")
LEVELS = np.linspace(0, 1, 1024)
CURVES = {
    "gamma 2.2": gamma(2.2),
    "gamma 1.8": gamma(1.8),
    "linear": struct.pack(">4s4xI", b"curv", 0),
    "table of sRGB": table(srgb_light(LEVELS)),
    "table of 16": table(np.linspace(0, 1, 16) ** 2),
    "para 0": parametric(0, 2.2),
    "para 1": parametric(1, 2.2, 0.9, 0.1),
    "para 2": parametric(2, 2.0, 0.9, 0.05, 0.01),
    "para 3": SRGB_CURVE,
    "para 4": parametric(4, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0, 0),
}


def by_littlecms(pixels: npt.NDArray[np.uint8], source: bytes) -> npt.NDArray[np.uint8]:
    image = ImageCms.profileToProfile(
        Image.fromarray(pixels), io.BytesIO(source), SRGB, ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    return np.asarray(image)


def assert_converted(converted: npt.NDArray[np.uint8], expected: npt.NDArray[np.uint8]) -> None:
    difference = np.abs(converted.astype(int) - expected)
    assert difference.mean() <= 0.5
    assert np.quantile(difference, 0.999) <= 3


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("name", PRIMARIES)
def test_converts_as_littlecms_does(name: str, curve: str, version: int) -> None:
    pixels = smooth(300, 400)
    data = profile(name, CURVES[curve], version=version)
    read = read_profile(data)
    expected = by_littlecms(pixels, data)
    assert_converted(pixels if read is None else read.to_srgb(pixels), expected)
    same = name == "sRGB" and curve in ("table of sRGB", "para 3", "para 4")
    assert (read is None) == same


def test_profile_of_littlecms_itself_is_srgb() -> None:
    data = ImageCms.ImageCmsProfile(SRGB).tobytes()
    assert read_profile(data) is None
    tagged = encode(RGB, "PNG", icc_profile=data)
    np.testing.assert_array_equal(load_photo(tagged, 224).image, RGB)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_profile_in_each_format(fmt: str, orientation: int) -> None:
    data = profile("Display P3")
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 98, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}}[fmt]
    tagged = encode(RGB, fmt, icc_profile=data, exif=exif, **options)
    assert read_header(tagged).profile == data
    expected = by_littlecms(RGB, data)
    image = load_photo(tagged, 224).image
    difference = image.astype(int) - (np.rot90(expected, -1) if orientation == 6 else expected)
    assert np.abs(difference).mean() <= 1
    assert np.abs(image.mean((0, 1)) - RGB.mean((0, 1))).max() > 2


def test_profile_of_several_segments() -> None:
    """Pillow splits what does not fit one segment of 64 KiB."""
    data = profile(curve=table(srgb_light(np.linspace(0, 1, 20_000))))
    tagged = encode(RGB, "JPEG", icc_profile=data)
    assert tagged.count(b"ICC_PROFILE\0") == 2
    assert read_header(tagged).profile == data


def test_segments_are_ordered_and_complete() -> None:
    parts = [b"\x02\x03def", b"\x03\x03ghi", b"\x01\x03abc"]
    assert joined_segments(parts) == b"abcdefghi"
    assert joined_segments(parts[:2]) == joined_segments([*parts, parts[0]]) == joined_segments([]) == b""
    assert joined_segments([b"", b"\x01"]) == b""


@pytest.mark.hazard("H-18")
def test_a_bomb_in_iccp_is_not_inflated() -> None:
    bomb = b"name\0\0" + zlib.compress(bytes(200 * 2**20), 1)
    assert inflated(bomb) == b""
    assert inflated(b"name\0\0" + zlib.compress(bytes(MAX_PROFILE), 1)) == bytes(MAX_PROFILE)
    assert inflated(b"name\0\0no zlib") == inflated(b"") == b""
    data = png(ihdr(160, 120), (b"iCCP", bomb), IDAT, IEND)
    np.testing.assert_array_equal(load_photo(data, 224).image, RGB)


P3 = profile()
IGNORED = {
    "empty": b"",
    "text": b"no profile" * 20,
    "grey": profile(space=b"GRAY"),
    "cmyk": profile(space=b"CMYK"),
    "lut only": profile(leave_out=b"rXYZ"),
    "no curve": profile(leave_out=b"gTRC"),
    "unknown curve": profile(curve=b"mft2" + bytes(20)),
    "unknown parametric": profile(curve=parametric(5, 1, 1, 1, 1, 1, 1, 1, 1)),
    "falling curve": profile(curve=table(np.linspace(1, 0, 32))),
    "flat curve": profile(curve=table(np.full(32, 0.5))),
    "no power": profile(curve=parametric(0, 0)),
    "long table": profile(curve=struct.pack(">4s4xI", b"curv", 2**32 - 1) + bytes(20)),
    "dark white": profile(matrix=columns("Display P3") / 3),
    "zero matrix": profile(matrix=np.zeros((3, 3))),
}


@pytest.mark.parametrize("kind", IGNORED)
def test_ignored_profiles_leave_the_pixels(kind: str) -> None:
    assert read_profile(IGNORED[kind]) is None
    tagged = encode(RGB, "PNG", icc_profile=IGNORED[kind])
    np.testing.assert_array_equal(load_photo(tagged, 224).image, RGB)


def test_damaged_profiles_never_raise() -> None:
    for length in range(0, len(P3), 3):
        assert_harmless(P3[:length])
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(P3)
        for place in rng.integers(0, len(P3), 3):
            changed[place] = rng.integers(256)
        assert_harmless(bytes(changed))


def assert_harmless(data: bytes) -> None:
    read = read_profile(data)
    if read is not None:
        assert np.isfinite(read.curves).all()
        assert read.to_srgb(RGB).shape == RGB.shape


def test_conversion_follows_the_reduced_scale() -> None:
    data = encode(smooth(1800, 2400), "JPEG", icc_profile=P3, quality=95)
    assert load_photo(data, 224).image.shape == (450, 600, 3)


def test_grey_stays_grey() -> None:
    tagged = encode(GRAY, "JPEG", icc_profile=P3)
    image = load_photo(tagged, 224).image.astype(int)
    assert np.abs(image - image[..., :1]).max() <= 1


def test_no_profile_is_no_conversion() -> None:
    assert read_header(JPEG).profile == read_header(PNG).profile == b""
