"""Decoding against Pillow, an independent reader; files and arrays that must be refused."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from edgeskin.errors import PhotoError
from edgeskin.imaging.preprocess import Preprocessing, preprocess
from edgeskin.photo.decode import MAX_BYTES, load_photo
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
    by_pillow,
    encode,
    ihdr,
    pixel_bomb,
    png,
    png_rows,
    smooth,
    sof,
)

REPO = Path(__file__).parents[2]
DATA = Path(os.environ.get("EDGESKIN_DATA", REPO.parent / "shared" / "data"))
ORIGINALS = sorted((DATA / "originals").glob("*.jpg"))
ORIENTATION = 0x0112


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


@pytest.mark.hazard("H-03")
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


@pytest.mark.hazard("H-04")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation(fmt: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, object] = {"JPEG": {"quality": 95}, "PNG": {}, "WEBP": {"lossless": True}}[fmt]
    assert_same(encode(RGB, fmt, exif=exif, **options), fmt.lower(), tolerance=4)


def test_reduced_scale_keeps_twice_the_input() -> None:
    data = encode(smooth(1801, 2400), "JPEG")
    for input_size, scale in ((112, 8), (113, 4), (225, 4), (226, 2), (450, 2), (451, 1)):
        photo = load_photo(data, input_size)
        assert (photo.width, photo.height) == (2400, 1801)
        assert photo.image.shape[:2] == (-(-1801 // scale), 2400 // scale)


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "WEBP"])
def test_other_formats_are_reduced_as_pillow_reduces(fmt: str) -> None:
    """Bands of rows, the last of which is shorter, join without a seam."""
    pixels = smooth(1200, 1600)
    data = encode(pixels, fmt, **({"lossless": True} if fmt == "WEBP" else {}))
    photo = load_photo(data, 150)
    assert (photo.width, photo.height) == (1600, 1200)
    expected = np.asarray(Image.fromarray(pixels).reduce(4), dtype=int)
    assert np.abs(photo.image - expected).max() <= 1
    assert load_photo(data, 450).image.shape == (1200, 1600, 3)
    odd = load_photo(encode(pixels[:1159, :1597], fmt), 144).image
    assert odd.shape == (290, 400, 3)


def test_transparent_pixels_are_blended_before_they_are_averaged() -> None:
    pixels = np.zeros((128, 128, 4), np.uint8)
    pixels[::2] = 200, 0, 0, 255
    image = load_photo(encode(pixels, "PNG"), 32).image
    assert image.shape == (64, 64, 3)
    assert np.abs(image.astype(int) - (228, 128, 128)).max() <= 1


@pytest.mark.parametrize(("width", "height"), [(8160, 6144), (8688, 5792)])
def test_cameras_of_50_megapixels_are_read(width: int, height: int) -> None:
    photo = load_photo(encode(Image.new("RGB", (width, height), (180, 120, 100)), "JPEG"), 224)
    assert (photo.width, photo.height) == (width, height)
    assert photo.image.shape == (height // 8, width // 8, 3)


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


@pytest.mark.hazard("H-03")
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


@pytest.mark.hazard("H-02")
def test_damaged_pixels_are_refused() -> None:
    """Files that are formally whole and hold fewer pixels than they promise."""
    half = len(JPEG) // 2
    assert_refused(JPEG[:half] + b"\xff\xd9", "cut_off")
    assert_refused(JPEG[:half] + b"\xff\x5a" + JPEG[half:], "damaged")
    assert_refused(png(ihdr(160, 120), (b"IDAT", png_rows(RGB[:60])), IEND), "damaged")
    assert_refused(png(ihdr(160, 120), (b"IDAT", IDAT[1][:1000]), IEND), "damaged")
    body = WEBP[12 : len(WEBP) // 2]
    assert_refused(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body, "damaged")


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


@pytest.mark.hazard("H-18")
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


@pytest.mark.hazard("H-18")
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "BMP"])
def test_bounds(fmt: str) -> None:
    assert_refused(encode(RGB[:1, :1], fmt), "too_small", "1 x 1 .*32")
    assert_refused(encode(RGB[:31], fmt), "too_small", "160 x 31 .*32")
    assert load_photo(encode(RGB[:32, :32], fmt), 224).width == 32
    if fmt != "WEBP":  # which ends at 16383 by itself
        assert_refused(encode(np.zeros((32, 16385, 3), np.uint8), fmt), "side_too_long", "16385 x 32 .*16384")


@pytest.mark.hazard("H-18")
def test_sizes_are_refused_before_decoding() -> None:
    assert_refused(sof(65535, 65535), "side_too_long", "65535 x 65535")
    assert_refused(sof(12_000, 10_000), "too_many_pixels", "110 megapixels")
    assert_refused(sof(800, 0), "too_small", "800 x 0")
    progressive = encode(RGB, "JPEG", progressive=True)
    assert_refused(sof(6000, 5000, progressive), "too_many_pixels", "25.5 megapixels")
    assert_refused(pixel_bomb(), "side_too_long", "20000 x 20000")
    assert_refused(png(ihdr(2**31 - 1, 2**31 - 1), IDAT, IEND), "side_too_long", "2147483647")
    assert_refused(png(ihdr(7000, 5000), IDAT, IEND), "too_many_pixels", "34 megapixels")
    assert_refused(png(ihdr(6000, 5000, 8, 6), IDAT, IEND), "too_many_pixels", "25.5 megapixels")
    assert_refused(png(ihdr(6000, 3000, 16), IDAT, IEND), "too_many_pixels", "17 megapixels")
    assert_refused(png(ihdr(4000, 4000, 16, 6), IDAT, IEND), "too_many_pixels", "12.75 megapixels")
    # A chunk before IHDR must not be taken for it.
    before = png((b"tEXt", ihdr(160, 120)[1]), ihdr(20_000, 20_000), IDAT, IEND)
    assert_refused(before, "side_too_long", "20000 x 20000")


@pytest.mark.hazard("H-18")
def test_webp_canvas_is_bounded() -> None:
    data = bytearray(encode(RGBA, "WEBP"))
    assert data[12:16] == b"VP8X"
    data[24:27] = (16384).to_bytes(3, "little")
    assert_refused(bytes(data), "side_too_long", "16385 x 120")
    data[24:27] = (160).to_bytes(3, "little")
    assert_refused(bytes(data), "damaged")


def test_png_extras_do_not_change_the_picture() -> None:
    data = png(ihdr(160, 120), (b"tEXt", b"Comment\0hello"), IDAT, IEND) + b"more"
    np.testing.assert_array_equal(load_photo(data, 224).image, RGB)


def test_bmp_variants() -> None:
    top_down = bytearray(BMP)
    top_down[22:26] = struct.pack("<i", -120)
    np.testing.assert_array_equal(load_photo(bytes(top_down), 224).image, RGB[::-1])
    core = b"BM" + struct.pack("<IIIIHHHH", 0, 0, 26, 12, 160, 120, 1, 24) + BMP[54:]
    np.testing.assert_array_equal(load_photo(core, 224).image, RGB)
    negative = bytearray(BMP)
    negative[18:22] = struct.pack("<i", -160)
    assert_refused(bytes(negative), "too_small")


@pytest.mark.hazard("H-02")
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
