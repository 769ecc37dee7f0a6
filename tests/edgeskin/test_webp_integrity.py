"""Damaged WebP is refused, and whole WebP is not, whatever its options and chunks."""

import random
import struct

import numpy as np
import pytest
from PIL import Image

from edgeskin.errors import PhotoError
from edgeskin.photo.decode import load_photo
from tests.edgeskin.pictures import encode, smooth

pytestmark = pytest.mark.hazard("H-02")

NOISY = np.clip(
    smooth(300, 400).astype(int) // 2 + np.random.default_rng(0).integers(0, 60, (300, 400, 1)), 0, 255
).astype(np.uint8)
OPTIONS: dict[str, dict[str, object]] = {
    "lossy": {"quality": 80},
    "lossy, best": {"quality": 100, "method": 6},
    "lossy, worst": {"quality": 0, "method": 0},
    "lossless": {"lossless": True},
    "lossless, fast": {"lossless": True, "method": 0, "quality": 0},
    "EXIF": {"quality": 60, "exif": b"Exif\0\0MM\0*" + bytes(500)},
    "lossless, EXIF": {"lossless": True, "exif": b"Exif\0\0MM\0*" + bytes(500)},
}
SIZES = ((32, 32), (33, 47), (300, 400))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("has_alpha", [False, True])
def test_whole_pictures_are_read(options: dict[str, object], size: tuple[int, int], has_alpha: bool) -> None:
    pixels = NOISY[: size[0], : size[1]]
    if has_alpha:
        pixels = np.dstack([pixels, pixels[..., 0]])
    photo = load_photo(encode(pixels, "WEBP", **options), 224)
    assert photo.image.shape == (*size, 3)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("color", ["black", "white", "peru"])
def test_flat_pictures_are_read(options: dict[str, object], color: str) -> None:
    flat = Image.new("RGB", (400, 300), color)
    assert load_photo(encode(flat, "WEBP", **options), 224).image.std(axis=(0, 1)).max() < 3
    flat.putpixel((3, 3), (9, 250, 7))
    assert load_photo(encode(flat, "WEBP", **options), 224).width == 400


@pytest.mark.parametrize("length", [16, 64, 512])
@pytest.mark.parametrize("kind", ["zeroed", "lost", "doubled"])
@pytest.mark.parametrize("name", ["lossy", "lossy, best", "EXIF"])
def test_damaged_lossy_pictures_are_refused(name: str, kind: str, length: int) -> None:
    whole = encode(NOISY, "WEBP", **OPTIONS[name])
    start = whole.index(b"VP8 ") + 100
    rng = random.Random(length)
    for _ in range(10):
        at = rng.randrange(start, len(whole) // 2)
        before, hole, rest = whole[:at], whole[at : at + length], whole[at + length :]
        content = before + {"zeroed": bytes(length), "lost": b"", "doubled": hole + hole}[kind] + rest
        content = content[: len(whole)] + bytes(max(0, len(whole) - len(content)))
        with pytest.raises(PhotoError) as caught:
            load_photo(content, 224)
        assert caught.value.code in ("damaged", "cut_off")


def test_data_left_over_are_refused() -> None:
    """A header whose height is halved: libwebp decodes the first half, and says nothing of the rest."""
    whole = bytearray(encode(NOISY, "WEBP", quality=80))
    struct.pack_into("<H", whole, 28, 150)
    with pytest.raises(PhotoError) as caught:
        load_photo(bytes(whole), 224)
    assert caught.value.code == "damaged"


def test_chunks_behind_the_pixels_are_no_pixels() -> None:
    """Where data are missing, libwebp reads on in what follows; so that is cut off before."""
    whole = encode(NOISY, "WEBP", **OPTIONS["EXIF"])
    at = whole.index(b"VP8 ")
    (length,) = struct.unpack_from("<I", whole, at + 4)
    end = at + 8 + length + length % 2
    shorter = whole[:at] + b"VP8 " + struct.pack("<I", length - 40) + whole[at + 8 : at + 8 + length - 40]
    shorter += bytes(length % 2) + whole[end:]
    shorter = shorter[:4] + struct.pack("<I", len(shorter) - 8) + shorter[8:]
    with pytest.raises(PhotoError) as caught:
        load_photo(shorter, 224)
    assert caught.value.code == "damaged"
