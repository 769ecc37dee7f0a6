"""TIFF against Pillow, an independent reader; and what must be refused before a pixel is decoded."""

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from edgeskin.errors import PhotoError
from edgeskin.photo.decode import load_photo
from edgeskin.photo.headers import read_header
from edgeskin.photo.tiff_pixels import CLEAR, END, FEW, _codes
from tests.edgeskin.pictures import GRAY, RGB, RGBA, by_pillow, encode, smooth
from tests.edgeskin.profiles import profile
from tests.edgeskin.tiffs import DEFLATE, LZW, NONE, PACKBITS, parts_of, tiff

PILLOW_NAMES = {NONE: None, LZW: "tiff_lzw", DEFLATE: "tiff_adobe_deflate", PACKBITS: "packbits"}
PICTURE = smooth(300, 404)
NOISE = np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8)


def decoded(data: bytes) -> npt.NDArray[np.uint8]:
    photo = load_photo(data, 224)
    assert photo.format == "tiff"
    return photo.image


def assert_refused(data: bytes, code: str, names: str = "") -> None:
    with pytest.raises(PhotoError, match=names or ".") as caught:
        load_photo(data, 224)
    assert caught.value.code == code


@pytest.mark.hazard("H-03")
@pytest.mark.parametrize(
    "pixels", [PICTURE, NOISE, np.full((300, 300, 3), 77, np.uint8)], ids=["smooth", "noise", "flat"]
)
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("compression", PILLOW_NAMES)
def test_files_of_pillow(compression: int, predictor: int, pixels: npt.NDArray[np.uint8]) -> None:
    options = {"tiffinfo": {317: predictor}} if predictor == 2 and compression in (LZW, DEFLATE) else {}
    data = encode(pixels, "TIFF", compression=PILLOW_NAMES[compression], **options)
    np.testing.assert_array_equal(decoded(data), pixels)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [None, (64, 32), (512, 512)], ids=["strips", "tiles", "one-tile"])
@pytest.mark.parametrize("compression", [NONE, DEFLATE, PACKBITS])
def test_files_by_hand(compression: int, tile: tuple[int, int] | None, order: str) -> None:
    data = tiff(PICTURE, order, compression, tile=tile)
    np.testing.assert_array_equal(by_pillow(data), PICTURE)
    np.testing.assert_array_equal(decoded(data), PICTURE)


def test_lzw_of_one_strip_clears_its_table() -> None:
    data = encode(NOISE, "TIFF", compression="tiff_lzw", tiffinfo={278: 200})
    assert read_header(data).tiff is not None
    assert len(read_header(data).tiff.places) == 1
    np.testing.assert_array_equal(decoded(data), NOISE)


@pytest.mark.hazard("H-04")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation(order: str, orientation: int) -> None:
    data = tiff(PICTURE, order, t274=(4, (orientation,)))
    np.testing.assert_array_equal(decoded(data), by_pillow(data))


def test_profile() -> None:
    icc = profile("Adobe RGB")
    data = tiff(PICTURE, t34675=(7, tuple(icc)))
    assert read_header(data).profile == icc == Image.open(io.BytesIO(data)).info["icc_profile"]
    assert np.abs(decoded(data).astype(int) - PICTURE).mean() > 1


def test_the_first_page_counts() -> None:
    data = encode(PICTURE, "TIFF", save_all=True, append_images=[Image.fromarray(NOISE)])
    np.testing.assert_array_equal(decoded(data), PICTURE)


def test_a_loop_of_directories_is_not_followed() -> None:
    data = bytearray(tiff(PICTURE))
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    struct.pack_into("<I", data, place + 2 + 12 * count, place)
    np.testing.assert_array_equal(decoded(bytes(data)), PICTURE)


def test_the_last_strip_may_be_stored_whole() -> None:
    strips = parts_of(np.pad(PICTURE, ((0, 20), (0, 0), (0, 0))), 80, None)
    data = tiff(PICTURE, "<", DEFLATE, rows=80, parts=[zlib.compress(strip) for strip in strips])
    np.testing.assert_array_equal(decoded(data), PICTURE)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (tiff(RGB, t50706=(1, (1, 4, 0, 0))), "DNG"),
        (tiff(RGB, t330=(4, (8, 8)), t271=(2, tuple(b"NIKON CORPORATION\0"))), "raw.*NEF"),
        (tiff(RGB, t254=(4, (1,)), t271=(2, tuple(b"SONY\0"))), "raw.*ARW"),
        (tiff(RGB, t37398=(1, (1, 0, 0, 0))), "raw"),
        (tiff(RGB, t262=(3, (32803,))), "raw"),
        (tiff(RGB, t258=(3, (16, 16, 16))), "16 bits"),
        (tiff(RGB, t258=(3, (8, 8, 16))), "16 bits"),
        (tiff(RGB, t258=None), "1 bits"),
        (tiff(RGB, t339=(3, (3, 3, 3))), "floating"),
        (tiff(RGB, t284=(3, (2,))), "planar"),
        (tiff(RGB, t259=(3, (7,))), "JPEG"),
        (tiff(RGB, t259=(3, (4,))), "number 4"),
        (tiff(RGB, t277=(3, (4,)), t258=(3, (8, 8, 8, 8))), "4 channels"),
        (tiff(RGB, t317=(3, (3,))), "predictor"),
        (tiff(RGB, t262=(3, (6,))), "YCbCr"),
        (encode(GRAY, "TIFF"), "grey"),
        (encode(RGBA, "TIFF"), "4 channels"),
        (encode(Image.fromarray(RGB).convert("CMYK"), "TIFF"), "CMYK"),
        (encode(Image.fromarray(RGB).convert("P"), "TIFF"), "palette"),
        (encode(Image.fromarray(RGB).convert("LAB"), "TIFF"), "CIELab"),
        (encode(Image.fromarray(GRAY).convert("F"), "TIFF"), "grey"),
        (encode(RGB, "TIFF", compression="jpeg"), "JPEG"),
        (encode(RGB, "TIFF", big_tiff=True), "BigTIFF"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_tiffs_are_refused_by_their_kind(data: bytes, names: str) -> None:
    assert_refused(data, "unsupported_format", names)


@pytest.mark.hazard("H-02")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (tiff(RGB, t256=None), "damaged"),
        (tiff(RGB, t257=(4, (0,))), "damaged"),
        (tiff(RGB, t256=(11, (160.5,))), "damaged"),
        (tiff(RGB, t278=(4, (0,))), "damaged"),
        (tiff(RGB, t278=(4, (20,))), "damaged"),
        (tiff(RGB, t273=(4, (8, 2**31, 8))), "cut_off"),
        (tiff(RGB, t273=(11, (8.0, float("nan"), 8.0))), "damaged"),
        (tiff(RGB, t279=(12, (float("inf"),) * 3)), "damaged"),
        (tiff(RGB, t273=(11, (8.0, 8.5, 8.0))), "damaged"),
        (tiff(RGB, "<", PACKBITS, rows=120, parts=[bytes([128]) * 2**25]), "cut_off"),
        (tiff(RGB, t279=(4, (24_000, 2**32 - 1, 9600))), "cut_off"),
        (tiff(RGB, t279=(4, (30_000, 30_000, 9600))), "damaged"),
        (tiff(RGB, t279=(4, (24_000, 23_999, 9600))), "cut_off"),
        (tiff(RGB, t279=None), "damaged"),
        (tiff(RGB, tile=(64, 64), t322=(4, (0,))), "damaged"),
        (tiff(RGB, tile=(64, 64), t322=(4, (16_384,)), t323=(4, (16_384,))), "damaged"),
        (tiff(RGB, t256=(4, (20_000,)), t278=None, t273=(4, (8,)), t279=(4, (8,))), "side_too_long"),
        (tiff(RGB, t257=(4, (2**32 - 1,)), t278=(4, (1,))), "damaged"),
    ],
)
def test_contradictions_are_refused(data: bytes, code: str) -> None:
    assert_refused(data, code)


@pytest.mark.hazard("H-18")
def test_sizes_are_refused_before_decoding() -> None:
    size = {"t256": (4, (10_000,)), "t257": (4, (5_000,)), "t278": (4, (5_000,))}
    one = {"t273": (4, (8,)), "t279": (4, (8,))}
    assert_refused(tiff(RGB, **size, **one), "too_many_pixels", "34 megapixels")
    assert_refused(tiff(RGB, **size, **one, t259=(3, (5,))), "too_many_pixels", "17 megapixels")
    assert_refused(tiff(RGB[:31]), "too_small")


def whole(compression: int) -> bytes:
    return encode(PICTURE, "TIFF", compression=PILLOW_NAMES[compression])


@pytest.mark.hazard("H-02")
@pytest.mark.parametrize("compression", PILLOW_NAMES)
def test_cut_anywhere_is_refused(compression: int) -> None:
    data = tiff(PICTURE) if compression == NONE else whole(compression)
    for length in {*range(4, 200, 7), *range(200, len(data) - 1, len(data) // 30)}:
        with pytest.raises(PhotoError) as caught:
            load_photo(data[:length], 224)
        assert caught.value.code in ("cut_off", "damaged")


@pytest.mark.hazard("H-02")
@pytest.mark.parametrize("compression", [LZW, DEFLATE, PACKBITS])
def test_a_hole_of_zeros_is_refused(compression: int) -> None:
    """OpenCV's decoder would answer with black or noise."""
    data = bytearray(whole(compression))
    layout = read_header(bytes(data)).tiff
    assert layout is not None
    offset, size = layout.places[len(layout.places) // 2]
    data[offset + size // 2 : offset + size] = bytes(size - size // 2)
    with pytest.raises(PhotoError) as caught:
        load_photo(bytes(data), 224)
    assert caught.value.code in ("cut_off", "damaged")


@pytest.mark.hazard("H-02")
@pytest.mark.parametrize("compression", PILLOW_NAMES)
def test_altered_bytes_give_a_photo_or_a_photo_error(compression: int) -> None:
    data = whole(compression)
    rng = np.random.default_rng(0)
    (place,) = struct.unpack_from("<I", data, 4)
    for number in range(150):
        altered = np.frombuffer(data, np.uint8).copy()
        low, high = (place, min(place + 200, len(data))) if number % 2 else (2, len(data))
        altered[rng.integers(low, high, 3)] = rng.integers(0, 256, 3)
        try:
            photo = load_photo(altered.tobytes(), 224)
        except PhotoError:
            continue
        assert photo.image.ndim == 3


@pytest.mark.hazard("H-02")
def test_every_flip_in_deflate_is_refused() -> None:
    data = whole(DEFLATE)
    layout = read_header(data).tiff
    assert layout is not None
    offset, size = layout.places[0]
    for place in range(offset, offset + size, 97):
        altered = bytearray(data)
        altered[place] ^= 0x10
        with pytest.raises(PhotoError):
            load_photo(bytes(altered), 224)


def strip_of(content: bytes, compression: int) -> bytes:
    return tiff(RGB, "<", compression, rows=120, parts=[content])


@pytest.mark.hazard("H-02")
def test_strips_that_are_too_long_are_refused() -> None:
    pixels = RGB.tobytes()
    assert_refused(strip_of(zlib.compress(pixels + b"\0"), DEFLATE), "damaged")
    assert_refused(strip_of(zlib.compress(bytes(50 * 2**20), 1), DEFLATE), "damaged")
    assert_refused(strip_of(b"\x81\0" * 2_000_000, PACKBITS), "damaged")
    assert_refused(strip_of(b"\x80" * 1_000_000, PACKBITS), "cut_off")
    clears = b"\x80\x40\x20\x10\x08\x04\x02\x01\x00" * 200_000  # codes of 9 bits, all 256
    assert_refused(strip_of(clears, LZW), "damaged")
    assert_refused(strip_of(b"\xff" * 1000, LZW), "damaged")
    assert_refused(strip_of(bytes(1_000_000), LZW), "damaged")
    assert_refused(strip_of(b"", LZW), "cut_off")


@pytest.mark.hazard("H-18")
def test_many_parts_and_entries_are_bounded() -> None:
    many = 65_537
    tags = {"t257": (4, (many,)), "t278": (4, (1,)), "t273": (4, (8,) * many), "t279": (4, (1,) * many)}
    assert_refused(tiff(RGB, **tags), "damaged")
    entries = struct.pack("<HHII", 256, 4, 1, 1) * 65_535
    assert_refused(b"II*\0\x08\0\0\0\xff\xff" + entries, "unsupported_format", "not RGB")


@pytest.mark.hazard("H-02")
@pytest.mark.parametrize("length", [1, 2, 3, 4, 8, 64, 512])
def test_bytes_too_many_make_an_uncompressed_picture_doubtful(length: int) -> None:
    whole = encode(RGB, "TIFF")
    (directory,) = struct.unpack_from("<I", whole, 4)
    assert directory < len(whole) // 2
    half = len(whole) // 2
    doubled = whole[: half + length] + whole[half:]
    assert not load_photo(whole, 224).may_be_damaged
    assert load_photo(doubled, 224).may_be_damaged


@pytest.mark.hazard("H-02")
def test_a_width_that_does_not_fit_the_strips_is_refused() -> None:
    whole = bytearray(encode(RGB, "TIFF"))
    (directory,) = struct.unpack_from("<I", whole, 4)
    assert struct.unpack_from("<H", whole, directory + 2) == (256,)
    struct.pack_into("<I", whole, directory + 10, RGB.shape[1] - 1)
    with pytest.raises(PhotoError) as caught:
        load_photo(bytes(whole), 224)
    assert caught.value.code == "damaged"


def test_other_directories_and_pages_are_no_surplus() -> None:
    picture = Image.fromarray(RGB)
    pages = encode(picture, "TIFF", save_all=True, append_images=[picture])
    exif = picture.getexif()
    exif.get_ifd(34665)[36867] = "2020:01:01 00:00:00"
    for data in (pages, encode(picture, "TIFF", exif=exif)):
        assert not load_photo(data, 224).may_be_damaged


@pytest.mark.parametrize("width", range(61, 65))
def test_files_of_odd_sizes_have_no_surplus(width: int) -> None:
    pixels = RGB[:35, :width].copy()
    own = (
        encode(pixels, "TIFF"),
        cv2.imencode(".tiff", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes(),
    )
    for data in own:
        assert not read_header(data).has_surplus
        assert not read_header(data + bytes(len(data) % 2)).has_surplus


@pytest.mark.hazard("H-18")
@pytest.mark.parametrize("size", [55, 18_000])
def test_lzw_takes_little_for_few_codes(size: int) -> None:
    """Time follows the memory of the codes that are cut; a file may have thousands of such tables."""
    clears = np.frombuffer((b"\x80\x40\x20\x10\x08\x04\x02\x01\x00" * 2000)[:size] + bytes(3), np.uint8)
    tracemalloc.start()
    assert _codes(clears, 0) == ([], CLEAR, 9)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (10_000 if size == 55 else 30_000)


@pytest.mark.parametrize("count", [FEW - 1, FEW, FEW + 1])
def test_lzw_of_codes_around_the_first_cut(count: int) -> None:
    codes = [*([65] * count), END]
    widths = [9 + (place >= 254) + (place >= 766) for place in range(len(codes))]
    bits = "".join(f"{code:0{width}b}" for code, width in zip(codes, widths, strict=True))
    packed = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big") + bytes(3)
    assert _codes(np.frombuffer(packed, np.uint8), 0) == ([65] * count, END, len(bits))
