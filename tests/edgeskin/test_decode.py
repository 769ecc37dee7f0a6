"""Decoding against Pillow, an independent reader; files that must be refused, made here by hand."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from edgeskin.errors import PhotoError
from edgeskin.imaging.preprocess import Preprocessing, preprocess
from edgeskin.photo.decode import MAX_BYTES, load_photo

REPO = Path(__file__).parents[2]
DATA = Path(os.environ.get("EDGESKIN_DATA", REPO.parent / "shared" / "data"))
ORIGINALS = sorted((DATA / "originals").glob("*.jpg"))
ORIENTATION = 0x0112


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
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))


def assert_same(data: bytes, fmt: str, tolerance: int = 1) -> None:
    photo = load_photo(data, 224)
    expected = by_pillow(data)
    assert photo.format == fmt
    assert photo.image.dtype == np.uint8
    assert photo.image.flags.c_contiguous
    assert (photo.height, photo.width) == photo.image.shape[:2] == expected.shape[:2]
    assert np.abs(photo.image.astype(int) - expected).max() <= tolerance


def assert_refused(data: bytes, code: str, names: str = "") -> None:
    """Refused with this code, and a message that names the source and this value."""
    with pytest.raises(PhotoError, match=rf"^<bytes>: .*{names}") as caught:
        load_photo(data, 224)
    assert caught.value.code == code


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


READABLE = {
    "jpeg": encode(RGB, "JPEG"),
    "jpeg progressive": encode(RGB, "JPEG", progressive=True, subsampling=0),
    "jpeg gray": encode(GRAY, "JPEG"),
    "jpeg cmyk": encode(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=95),
    "jpeg restarts": encode(RGB, "JPEG", restart_marker_blocks=1),
    "png": PNG,
    "png gray": encode(GRAY, "PNG"),
    "png 1-bit": encode(Image.fromarray(RGB).convert("1"), "PNG"),
    "png palette": encode(Image.fromarray(RGB).convert("P"), "PNG"),
    "png palette alpha": encode(Image.fromarray(RGB).convert("P"), "PNG", transparency=3),
    "png alpha": encode(RGBA, "PNG"),
    "png gray alpha": encode(Image.fromarray(RGBA).convert("LA"), "PNG"),
    "png colour key": encode(RGB, "PNG", transparency=tuple(RGB[60, 80].tolist())),
    "webp": WEBP,
    "webp lossless": encode(RGB, "WEBP", lossless=True),
    "webp alpha": encode(RGBA, "WEBP", lossless=True, exact=True),
    "bmp": BMP,
    "bmp palette": encode(Image.fromarray(RGB).convert("P"), "BMP"),
    "bmp padded": encode(RGB[:, :157], "BMP"),
}


@pytest.mark.parametrize("kind", READABLE)
def test_decodes_as_pillow_does(kind: str) -> None:
    # Pillow and OpenCV each bring their own libjpeg and libwebp. PNG and BMP must agree, apart from the
    # rounding of transparency.
    fmt = kind.split()[0]
    assert_same(READABLE[kind], fmt, tolerance=4 if fmt in ("jpeg", "webp") else 1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_become_eight(channels: int) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (40, 50, channels), dtype=np.uint16)
    deep[0, :2, -1] = 0, 65535
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    image = load_photo(png(ihdr(50, 40, 16, color_type), (b"IDAT", png_rows(deep)), IEND), 32).image
    light = deep / 65535
    expected = light[..., :1] if channels < 3 else light[..., :3]
    if channels in (2, 4):
        alpha = light[..., -1:]
        expected = expected * alpha + 1 - alpha
    assert image.shape == (40, 50, 3)
    assert np.abs(image - 255 * expected).max() <= 1.5


def test_hidden_colour_under_transparency_is_white() -> None:
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[:20, :, 3] = 255
    image = load_photo(encode(pixels, "PNG"), 32).image
    assert (image[:20] == (200, 0, 0)).all()
    assert (image[20:] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation(fmt: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, object] = {"JPEG": {"quality": 95}, "PNG": {}, "WEBP": {"lossless": True}}[fmt]
    assert_same(encode(RGB, fmt, exif=exif, **options), fmt.lower(), tolerance=4)


@pytest.mark.parametrize(
    ("exif", "shape"),
    [
        (struct.pack("<2sHIHHHIHH", b"II", 42, 8, 1, ORIENTATION, 3, 1, 6, 0), (160, 120)),
        (struct.pack(">2sHIHHHIHH", b"MM", 42, 8, 1, ORIENTATION, 3, 1, 6, 0), (160, 120)),
        (struct.pack("<2sHIHHHIHH", b"II", 42, 8, 1, ORIENTATION, 3, 1, 9, 0), (120, 160)),
        (struct.pack("<2sHIH", b"II", 42, 8, 9), (120, 160)),
        (struct.pack("<2sHI", b"II", 42, 2**32 - 1), (120, 160)),
        (b"garbage", (120, 160)),
    ],
    ids=["little", "big", "out-of-range", "truncated", "far-directory", "garbage"],
)
def test_exif_by_hand(exif: bytes, shape: tuple[int, int]) -> None:
    segment = b"\xff\xe1" + struct.pack(">H", 8 + len(exif)) + b"Exif\0\0" + exif
    data = encode(RGB, "JPEG")
    assert load_photo(data[:2] + segment + data[2:], 224).image.shape[:2] == shape


def test_reduced_scale_keeps_twice_the_input() -> None:
    data = encode(smooth(1801, 2400), "JPEG")
    for input_size, scale in ((112, 8), (113, 4), (225, 4), (226, 2), (450, 2), (451, 1)):
        photo = load_photo(data, input_size)
        assert (photo.width, photo.height) == (2400, 1801)
        assert photo.image.shape[:2] == (-(-1801 // scale), 2400 // scale)


@pytest.mark.skipif(not ORIGINALS, reason="needs shared/data/originals")
def test_reduced_scale_changes_little_on_real_photos() -> None:
    settings = Preprocessing(224)
    for path in ORIGINALS[:8]:
        photo = load_photo(path, 224)
        full = by_pillow(path.read_bytes())
        assert (photo.height, photo.width) == full.shape[:2]
        assert photo.image.shape[0] < full.shape[0]
        difference = preprocess(photo.image, settings).astype(int) - preprocess(full, settings)
        assert np.abs(difference).mean() < 1.5


@pytest.mark.skipif(not ORIGINALS, reason="needs shared/data/originals")
def test_real_photos_decode_as_pillow_does() -> None:
    for path in ORIGINALS[-10:]:
        difference = load_photo(path, 224).image.astype(int) - by_pillow(path.read_bytes())
        assert np.abs(difference).mean() < 0.5


def test_path_needs_no_suffix_and_no_ascii(tmp_path: Path) -> None:
    path = tmp_path / "Läsion 皮膚.picture"
    path.write_bytes(PNG)
    for source in (path, str(path)):
        photo = load_photo(source, 224)
        assert photo.format == "png"
        np.testing.assert_array_equal(photo.image, RGB)


def test_array_is_taken_as_it_is() -> None:
    photo = load_photo(RGB, 224)
    assert photo.image is RGB
    assert (photo.width, photo.height, photo.format) == (160, 120, "array")
    flipped = load_photo(RGB[:, ::-1], 224).image
    assert flipped.flags.c_contiguous
    np.testing.assert_array_equal(flipped, RGB[:, ::-1])


@pytest.mark.parametrize(
    ("array", "code", "names"),
    [
        (RGB / 255, "wrong_array", "float64"),
        (RGB.astype(np.uint16), "wrong_array", "uint16"),
        (GRAY, "wrong_array", r"\(120, 160\)"),
        (RGBA, "wrong_array", r"\(120, 160, 4\)"),
        (RGB.transpose(2, 0, 1), "wrong_array", r"\(3, 120, 160\)"),
        (RGB[None], "wrong_array", r"\(1, 120, 160, 3\)"),
        (RGB[:31], "too_small", "160 x 31"),
        (np.zeros((0, 0, 3), np.uint8), "too_small", "0 x 0"),
        (np.broadcast_to(np.uint8(0), (32, 16385, 3)), "side_too_long", "16385 x 32"),
        (np.broadcast_to(np.uint8(0), (8000, 8000, 3)), "too_many_pixels", "8000 x 8000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_array_refused(array: npt.NDArray[np.uint8], code: str, names: str) -> None:
    with pytest.raises(PhotoError, match=rf"^<ndarray>: .*{names}") as caught:
        load_photo(array, 224)
    assert caught.value.code == code


def test_other_sources_refused() -> None:
    with pytest.raises(PhotoError, match="NoneType") as caught:
        load_photo(None, 224)  # type: ignore[arg-type]
    assert caught.value.code == "wrong_type"


def test_path_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    cases = {
        tmp_path / "missing.jpg": "not_found",
        tmp_path: "is_folder",
        empty: "empty_file",
        large: "file_too_large",
        empty / "below.jpg": "unreadable",
        Path("a\0b.jpg"): "unreadable",
        Path("x" * 5000): "unreadable",
    }
    if hasattr(os, "mkfifo"):
        fifo = tmp_path / "fifo.jpg"
        os.mkfifo(fifo)
        cases |= {fifo: "not_a_file", Path(os.devnull): "not_a_file"}
    for path, code in cases.items():
        with pytest.raises(PhotoError) as caught:
            load_photo(path, 224)
        assert str(caught.value).startswith(f"{path}: ")
        assert caught.value.code == code


def test_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lesion.jpg"
    path.write_bytes(JPEG[:5000])
    with pytest.raises(PhotoError, match=r"lesion\.jpg: ") as caught:
        load_photo(path, 224)
    assert caught.value.code == "cut_off"


@pytest.mark.parametrize(
    ("data", "code", "names"),
    [
        (b"", "empty_file", ""),
        (b"just some text, renamed to .jpg", "unsupported_format", ""),
        (bytes(200), "unsupported_format", ""),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "unsupported_format", "HEIC.*JPEG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(100), "unsupported_format", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(100), "unsupported_format", "AVIF.*JPEG"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(100), "unsupported_format", "video"),
        (encode(RGB, "TIFF"), "unsupported_format", "TIFF"),
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
def test_other_files_refused(data: bytes, code: str, names: str) -> None:
    assert_refused(data, code, names)


@pytest.mark.parametrize("data", [JPEG, PNG, WEBP, BMP], ids=["jpeg", "png", "webp", "bmp"])
def test_cut_off_anywhere_is_refused(data: bytes) -> None:
    for length in {*range(12, 200, 7), *range(200, len(data) - 1, len(data) // 20), len(data) - 1}:
        assert_refused(data[:length], "cut_off")


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "BMP"])
def test_bounds(fmt: str) -> None:
    assert_refused(encode(RGB[:1, :1], fmt), "too_small", "1 x 1 .*32")
    assert_refused(encode(RGB[:31], fmt), "too_small", "160 x 31 .*32")
    assert load_photo(encode(RGB[:32, :32], fmt), 224).width == 32
    if fmt != "WEBP":  # which ends at 16383 by itself
        assert_refused(encode(np.zeros((32, 16385, 3), np.uint8), fmt), "side_too_long", "16385 x 32 .*16384")


def test_damaged_pixels_are_refused() -> None:
    """Files that are formally whole and hold fewer pixels than they promise."""
    half = len(JPEG) // 2
    assert_refused(JPEG[:half] + b"\xff\xd9", "cut_off")
    assert_refused(JPEG[:half] + b"\xff\x5a" + JPEG[half:], "damaged")
    assert_refused(png(ihdr(160, 120), (b"IDAT", png_rows(RGB[:60])), IEND), "damaged")
    assert_refused(png(ihdr(160, 120), (b"IDAT", IDAT[1][:1000]), IEND), "damaged")
    body = WEBP[12 : len(WEBP) // 2]
    assert_refused(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body, "damaged")


# JPEG


def sof(width: int, height: int, data: bytes = JPEG) -> bytes:
    """The same file with another size in its frame header."""
    start = max(data.find(b"\xff\xc0\0\x11\x08"), data.find(b"\xff\xc2\0\x11\x08")) + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4 :]


@pytest.mark.parametrize(
    "trailer",
    [bytes(5000), JPEG[: len(JPEG) // 2], b"\0\0\0\x18ftypmp42" + bytes(1000), b"SEFT\xff\xd8\xff\xe1"],
    ids=["padding", "second-picture", "motion-photo", "maker-trailer"],
)
def test_jpeg_trailers_are_ignored(trailer: bytes) -> None:
    np.testing.assert_array_equal(load_photo(JPEG + trailer, 224).image, load_photo(JPEG, 224).image)


def test_jpeg_end_of_a_thumbnail_does_not_count() -> None:
    thumbnail = encode(smooth(60, 80), "JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    whole = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + JPEG[2:]
    assert load_photo(whole, 224).width == 800
    assert_refused(whole[: len(exif) + 6], "cut_off")
    assert_refused(whole[: len(whole) // 2], "cut_off")


def test_jpeg_headers_refused() -> None:
    assert_refused(sof(65535, 65535), "side_too_long", "65535 x 65535")
    assert_refused(sof(10_000, 10_000), "too_many_pixels", "50 megapixels")
    assert_refused(sof(800, 0), "too_small", "800 x 0")
    assert_refused(sof(6000, 5000, encode(RGB, "JPEG", progressive=True)), "too_many_pixels", "25 megapixels")
    assert_refused(JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc3\0\x11\x08"), "unsupported_format", "SOF3")
    assert_refused(b"\xff\xd8\xff\xd9", "damaged")
    assert_refused(b"\xff\xd8\xff\xda\0\x02", "cut_off")
    assert_refused(b"\xff\xd8\xff\xfe\0\0" + JPEG[2:], "damaged")
    assert_refused(b"\xff\xd8" + b"\xff\xfe\0\x02" * 100_001 + JPEG[2:], "damaged")
    assert_refused(b"\xff\xd8\xff" + b"\xff" * 10_000_000, "cut_off")


def test_jpeg_of_endless_scans_is_refused() -> None:
    data = encode(RGB, "JPEG", progressive=True)
    last_scan = data[data.rfind(b"\xff\xda") : -2]
    assert_refused(data[:-2] + last_scan * 64 + data[-2:], "damaged")


# PNG


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
    np.testing.assert_array_equal(load_photo(data, 224).image, RGB)


def test_png_chunks_refused() -> None:
    size = ihdr(160, 120)
    assert_refused(TEXT_BOMB, "cut_off")
    assert_refused(pixel_bomb(), "side_too_long", "20000 x 20000")
    assert_refused(png(ihdr(2**31 - 1, 2**31 - 1), IDAT, IEND), "side_too_long", "2147483647")
    assert_refused(png(ihdr(6000, 5000), IDAT, IEND), "too_many_pixels", "25 megapixels")
    assert_refused(png(ihdr(4000, 4000, 16), IDAT, IEND), "too_many_pixels", "12.5 megapixels")
    assert_refused(png(size, IEND), "damaged")
    assert_refused(png(IDAT, size, IEND), "damaged")
    assert_refused(png(size, ihdr(20_000, 20_000), IDAT, IEND), "damaged")
    assert_refused(png(size, IDAT), "cut_off")
    assert_refused(PNG[:100] + bytes([PNG[100] ^ 1]) + PNG[101:], "damaged")
    assert_refused(png(size, *[(b"tEXt", b"")] * 100_000, IDAT, IEND), "damaged")
    # A chunk before IHDR must not be taken for it.
    assert_refused(
        png((b"tEXt", ihdr(160, 120)[1]), ihdr(20_000, 20_000), IDAT, IEND), "side_too_long", "20000 x 20000"
    )


# WebP and BMP


def test_webp_canvas_is_bounded() -> None:
    data = bytearray(encode(RGBA, "WEBP"))
    assert data[12:16] == b"VP8X"
    data[24:27] = (16384).to_bytes(3, "little")
    assert_refused(bytes(data), "side_too_long", "16385 x 120")
    data[24:27] = (160).to_bytes(3, "little")
    assert_refused(bytes(data), "damaged")


def test_bmp_variants() -> None:
    top_down = bytearray(BMP)
    top_down[22:26] = struct.pack("<i", -120)
    np.testing.assert_array_equal(load_photo(bytes(top_down), 224).image, RGB[::-1])
    core = b"BM" + struct.pack("<IIIIHHHH", 0, 0, 26, 12, 160, 120, 1, 24) + BMP[54:]
    np.testing.assert_array_equal(load_photo(core, 224).image, RGB)
    for offset, value, code in (
        (18, -160, "too_small"),
        (22, -(2**31), "cut_off"),
        (30, 1, "unsupported_format"),
    ):
        data = bytearray(BMP)
        data[offset : offset + 4] = struct.pack("<i", value)
        assert_refused(bytes(data), code)


# All formats


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "BMP"])
def test_altered_bytes_give_a_photo_or_a_photo_error(fmt: str) -> None:
    data = encode(RGB, fmt)
    rng = np.random.default_rng(0)
    for _ in range(150):
        altered = np.frombuffer(data, np.uint8).copy()
        # Half of the changes are in the header.
        reach = len(data) if rng.random() < 0.5 else min(len(data), 200)
        altered[rng.integers(2, reach, 3)] = rng.integers(0, 256, 3)
        try:
            photo = load_photo(altered.tobytes(), 224)
        except PhotoError:
            continue
        assert photo.image.dtype == np.uint8
        assert photo.image.ndim == 3


PEAK_OF_EACH = """
import re, sys
from pathlib import Path
from edgeskin.errors import PhotoError
from edgeskin.photo.decode import load_photo
def peak():  # unlike getrusage, not inherited from the process that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
start = peak()
try:
    outcome = load_photo(sys.argv[1], 224).format
except PhotoError as error:
    outcome = str(error)
print(start, peak(), outcome)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
@pytest.mark.parametrize("case", ["text-bomb", "pixel-bomb", "largest-alpha", "largest-progressive"])
def test_peak_memory(case: str, tmp_path: Path) -> None:
    path = tmp_path / "attack.png"
    if case == "text-bomb":
        assert len(TEXT_BOMB) == 57
        path.write_bytes(TEXT_BOMB)
    elif case == "pixel-bomb":
        path.write_bytes(pixel_bomb())
    elif case == "largest-alpha":
        path.write_bytes(png(ihdr(5000, 5000, 8, 6), (b"IDAT", zlib.compress(bytes(20_001 * 5000), 1)), IEND))
    else:
        huge = Image.new("CMYK", (5000, 5000))
        path.write_bytes(encode(huge, "JPEG", progressive=True))
    command = [sys.executable, "-c", PEAK_OF_EACH, str(path)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True, timeout=60)
    before, after, outcome = done.stdout.split(maxsplit=2)
    if case.endswith("bomb"):
        assert str(path) in outcome
        assert float(after) < 300
    else:
        assert outcome.strip() in ("png", "jpeg")
    assert float(after) - float(before) < 300
