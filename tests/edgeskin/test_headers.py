"""Headers read before any decoder: sizes and orientations, and files made by hand that must be refused."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from edgeskin.errors import PhotoError
from edgeskin.photo.decode import load_photo
from edgeskin.photo.headers import read_header
from tests.edgeskin.pictures import (
    BMP,
    GRAY,
    IDAT,
    IEND,
    JPEG,
    PNG,
    RGB,
    RGBA,
    TEXT_BOMB,
    WEBP,
    encode,
    ihdr,
    png,
    smooth,
    sof,
)

ORIENTATION = 0x0112


def assert_refused(data: bytes, code: str, names: str = "") -> None:
    """Refused with this code and this value in the message, and for the same reason when it is decoded."""
    with pytest.raises(PhotoError, match=names or ".") as caught:
        read_header(data)
    assert caught.value.code == code
    if data:
        with pytest.raises(PhotoError, match=rf"^<bytes>: .*{names}") as caught:
            load_photo(data, 224)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "fmt", "held"),
    [
        (encode(RGB, "JPEG"), "jpeg", 0),
        (encode(RGB, "JPEG", progressive=True), "jpeg", 8),
        (PNG, "png", 6),
        (encode(RGBA, "PNG"), "png", 8),
        (encode(Image.fromarray(RGB).convert("P"), "PNG", transparency=3), "png", 8),
        (png(ihdr(160, 120, 16), IDAT, IEND), "png", 12),
        (png(ihdr(160, 120, 16, 6), IDAT, IEND), "png", 16),
        (WEBP, "webp", 6),
        (encode(RGB, "WEBP", lossless=True), "webp", 8),
        (encode(RGBA, "WEBP"), "webp", 8),
        (BMP, "bmp", 6),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_headers_of_ordinary_files(data: bytes, fmt: str, held: int) -> None:
    header = read_header(data)
    assert (header.format, header.width, header.height) == (fmt, 160, 120)
    assert (header.orientation, header.held) == (1, held)


@pytest.mark.hazard("H-04")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_orientation_of_pillows_exif(fmt: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    header = read_header(encode(RGB, fmt, exif=exif))
    assert (header.orientation, header.width, header.height) == (orientation, 160, 120)


@pytest.mark.hazard("H-04")
@pytest.mark.parametrize(
    ("exif", "orientation"),
    [
        (struct.pack("<2sHIHHHIHH", b"II", 42, 8, 1, ORIENTATION, 3, 1, 6, 0), 6),
        (struct.pack(">2sHIHHHIHH", b"MM", 42, 8, 1, ORIENTATION, 3, 1, 6, 0), 6),
        (struct.pack("<2sHIHHHIHH", b"II", 42, 8, 1, ORIENTATION, 3, 1, 9, 0), 1),
        (struct.pack("<2sHIH", b"II", 42, 8, 9), 1),
        (struct.pack("<2sHI", b"II", 42, 2**32 - 1), 1),
        (b"garbage", 1),
    ],
    ids=["little", "big", "out-of-range", "truncated", "far-directory", "garbage"],
)
def test_exif_by_hand(exif: bytes, orientation: int) -> None:
    segment = b"\xff\xe1" + struct.pack(">H", 8 + len(exif)) + b"Exif\0\0" + exif
    data = encode(RGB, "JPEG")
    data = data[:2] + segment + data[2:]
    assert read_header(data).orientation == orientation
    assert load_photo(data, 224).image.shape[:2] == ((160, 120) if orientation == 6 else (120, 160))


@pytest.mark.parametrize(
    ("data", "code", "names"),
    [
        (b"just some text, renamed to .jpg", "unsupported_format", ""),
        (bytes(200), "unsupported_format", ""),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "unsupported_format", "HEIC.*JPEG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(100), "unsupported_format", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(100), "unsupported_format", "AVIF.*JPEG"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(100), "unsupported_format", "video"),
        (encode(GRAY, "TIFF"), "unsupported_format", "TIFF"),
        (encode(RGB, "GIF"), "unsupported_format", "GIF"),
        (b"\n" * 128 + b"DICM" + bytes(100), "unsupported_format", "DICOM"),
        (b"%PDF-1.7\n", "unsupported_format", "PDF"),
        (
            encode(RGB, "WEBP", save_all=True, append_images=[Image.fromarray(GRAY)]),
            "unsupported_format",
            "animated",
        ),
        (b"BM", "cut_off", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_files_are_refused(data: bytes, code: str, names: str) -> None:
    assert_refused(data, code, names)


@pytest.mark.hazard("H-02")
@pytest.mark.parametrize("data", [JPEG, PNG, WEBP, BMP], ids=["jpeg", "png", "webp", "bmp"])
def test_files_cut_off_anywhere_are_refused(data: bytes) -> None:
    for length in {*range(12, 200, 7), *range(200, len(data) - 1, len(data) // 20), len(data) - 1}:
        assert_refused(data[:length], "cut_off")


@pytest.mark.parametrize(
    "trailer",
    [bytes(5000), JPEG[: len(JPEG) // 2], b"\0\0\0\x18ftypmp42" + bytes(1000), b"SEFT\xff\xd8\xff\xe1"],
    ids=["padding", "second-picture", "motion-photo", "maker-trailer"],
)
def test_jpeg_trailers_are_ignored(trailer: bytes) -> None:
    assert (read_header(JPEG + trailer).width, read_header(JPEG + trailer).height) == (800, 600)
    np.testing.assert_array_equal(load_photo(JPEG + trailer, 224).image, load_photo(JPEG, 224).image)


def test_the_end_of_a_thumbnail_is_not_that_of_the_jpeg() -> None:
    thumbnail = encode(smooth(60, 80), "JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    whole = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + JPEG[2:]
    assert read_header(whole).width == 800
    assert_refused(whole[: len(exif) + 6], "cut_off")
    assert_refused(whole[: len(whole) // 2], "cut_off")


@pytest.mark.hazard("H-02")
def test_jpeg_headers_that_are_refused() -> None:
    assert (read_header(sof(65535, 300)).width, read_header(sof(65535, 300)).height) == (65535, 300)
    assert_refused(JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc3\0\x11\x08"), "unsupported_format", "SOF3")
    assert_refused(b"\xff\xd8\xff\xd9", "damaged")
    assert_refused(b"\xff\xd8\xff\xda\0\x02", "cut_off")
    assert_refused(b"\xff\xd8\xff\xfe\0\0" + JPEG[2:], "damaged")
    assert_refused(b"\xff\xd8" + b"\xff\xfe\0\x02" * 100_001 + JPEG[2:], "damaged")
    assert_refused(b"\xff\xd8\xff" + b"\xff" * 10_000_000, "cut_off")


@pytest.mark.hazard("H-18")
@pytest.mark.parametrize(("marker", "place"), [(b"\xff\xc0", 9), (b"\xff\xda", 4)], ids=["frame", "scan"])
def test_jpeg_segments_of_another_length_than_their_components_are_refused(marker: bytes, place: int) -> None:
    start = JPEG.index(marker)
    for count in (0, 2, 4, 255):
        data = JPEG[: start + place] + bytes([count]) + JPEG[start + place + 1 :]
        assert_refused(data, "damaged")
        assert_refused(data[: start + place + 1] + b"\xff\xd9", "cut_off")
    # More components than the file has bytes.
    short = b"\0\x02" + JPEG[start + 4 : start + place] + b"\xff\xff\xd9"
    assert_refused(JPEG[:start] + marker + short, "damaged")


def test_a_restart_interval_after_the_scan_does_not_count() -> None:
    expected = load_photo(JPEG, 224).image
    late = JPEG[:-2] + b"\xff\xdd\0\x04\0\x01" + JPEG[-2:]
    np.testing.assert_array_equal(load_photo(late, 224).image, expected)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encode(RGB, "JPEG", progressive=True)
    last_scan = data[data.rfind(b"\xff\xda") : -2]
    assert_refused(data[:-2] + last_scan * 64 + data[-2:], "damaged")


@pytest.mark.hazard("H-18")
def test_png_extras_are_left_out() -> None:
    bomb = zlib.compress(bytes(10_000_000))
    extras = [
        (b"iCCP", b"profile\0\0" + bomb),
        (b"zTXt", b"Comment\0\0" + bomb),
        (b"tEXt", b"Comment\0hello"),
        (b"acTL", struct.pack(">II", 2**31 - 1, 0)),
        (b"fcTL", struct.pack(">IIIIIHHBB", 0, 160, 120, 0, 0, 1, 1, 0, 0)),
    ]
    data = png(ihdr(160, 120), *extras, IDAT, (b"fdAT", b"\0\0\0\1" + IDAT[1]), IEND) + b"more"
    assert read_header(data).encoded == png(ihdr(160, 120), IDAT, IEND)
    np.testing.assert_array_equal(load_photo(data, 224).image, RGB)


@pytest.mark.hazard("H-02")
def test_png_chunks_that_are_refused() -> None:
    size = ihdr(160, 120)
    assert_refused(TEXT_BOMB, "cut_off")
    assert_refused(png(size, IEND), "damaged")
    assert_refused(png(IDAT, size, IEND), "damaged")
    assert_refused(png(size, ihdr(20_000, 20_000), IDAT, IEND), "damaged")
    assert_refused(png(size, IDAT), "cut_off")
    assert_refused(PNG[:100] + bytes([PNG[100] ^ 1]) + PNG[101:], "damaged")
    assert_refused(png(size, *[(b"tEXt", b"")] * 100_000, IDAT, IEND), "damaged")
    # A chunk before IHDR must not be taken for it.
    before = png((b"tEXt", size[1]), ihdr(20_000, 20_000), IDAT, IEND)
    assert (read_header(before).width, read_header(before).height) == (20_000, 20_000)


@pytest.mark.parametrize("kind", [b"tRNS", b"eXIf", b"iCCP"])
def test_png_chunks_with_a_damaged_name_are_refused(kind: bytes) -> None:
    """The chunk would be dropped, and with it the transparency, the orientation or the colours."""
    whole = png(ihdr(160, 120), (kind, bytes(6)), IDAT, IEND)
    for bit in range(8):
        assert_refused(whole.replace(kind, kind[:3] + bytes([kind[3] ^ 1 << bit])), "damaged")


def test_png_chunks_that_every_reader_has_to_know_are_refused() -> None:
    assert_refused(png(ihdr(160, 120), (b"QQQQ", b"abc"), IDAT, IEND), "unsupported_format", "QQQQ")


def test_webp_canvas_is_read() -> None:
    data = bytearray(encode(RGBA, "WEBP"))
    data[24:27] = (16384).to_bytes(3, "little")
    assert (read_header(bytes(data)).width, read_header(bytes(data)).height) == (16385, 120)


@pytest.mark.hazard("H-02")
@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [(22, -(2**31), "cut_off"), (30, 1, "unsupported_format"), (10, 27, "damaged")],
)
def test_bmp_headers_that_are_refused(offset: int, value: int, code: str) -> None:
    data = bytearray(BMP)
    data[offset : offset + 4] = struct.pack("<i", value)
    assert_refused(bytes(data), code)


def test_bmp_variants() -> None:
    top_down = bytearray(BMP)
    top_down[22:26] = struct.pack("<i", -120)
    core = b"BM" + struct.pack("<IIIIHHHH", 0, 0, 26, 12, 160, 120, 1, 24) + BMP[54:]
    for data in (bytes(top_down), core):
        assert (read_header(data).width, read_header(data).height) == (160, 120)
        assert not read_header(data).has_surplus


@pytest.mark.hazard("H-02")
@pytest.mark.parametrize("size", [0, len(BMP)])
def test_a_bmp_longer_than_its_header_says_is_doubtful(size: int) -> None:
    declared = BMP[:2] + struct.pack("<I", size) + BMP[6:]
    assert not read_header(declared).has_surplus
    assert read_header(declared[:1000] + declared[992:]).has_surplus
    halved = declared[:22] + struct.pack("<i", 60) + declared[26:]
    assert read_header(halved).has_surplus


def test_a_profile_behind_a_bmp_is_no_surplus() -> None:
    info = struct.pack("<IiiHHI", 124, 160, 120, 1, 24, 0).ljust(124, b"\0")
    content = info + BMP[54:] + bytes(500)
    declared = b"BM" + struct.pack("<III", 14 + len(content), 0, 14 + 124) + content
    assert not read_header(declared).has_surplus
    assert read_header(declared + bytes(500)).has_surplus


@pytest.mark.hazard("H-02")
@pytest.mark.parametrize("padding", [0, 2])
def test_one_byte_too_many_in_a_bmp_is_doubtful(padding: int) -> None:
    for width in range(61, 65):
        own = encode(RGB[:, :width], "BMP"), cv2.imencode(".bmp", RGB[:, :width])[1].tobytes()
        for data in own:
            whole = data[:2] + struct.pack("<I", len(data) + padding) + data[6:] + bytes(padding)
            assert not read_header(whole).has_surplus
            for count in range(1, 5):
                assert read_header(whole[:1000] + bytes(count) + whole[1000:]).has_surplus
