"""JPEGs that are whole and damaged, written by Pillow: every coding, every kind of damage."""

import io
import random
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeskin.errors import PhotoError
from edgeskin.imaging.quality import DOUBTFUL
from edgeskin.photo.decode import load_photo
from edgeskin.photo.headers import read_header
from edgeskin.photo.jpeg_integrity import require_whole
from tests.edgeskin.pictures import encode, smooth

pytestmark = pytest.mark.hazard("H-02")

CODINGS = {
    "4:2:0": {"quality": 90},
    "4:4:4": {"quality": 95, "subsampling": 0},
    "4:2:2": {"quality": 80, "subsampling": 1},
    "optimised": {"quality": 75, "optimize": True},
    "progressive": {"quality": 88, "progressive": True},
    "restart rows": {"quality": 90, "restart_marker_rows": 1},
    "restart blocks": {"quality": 90, "restart_marker_blocks": 7},
}
MODES = ("RGB", "L", "CMYK")


def textured(height: int = 260, width: int = 340) -> Image.Image:
    """A picture with detail in every block, so that every byte of its JPEG matters."""
    noise = np.random.default_rng(3).normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(smooth(height, width) * 0.6 + 60 + noise, 0, 255).astype(np.uint8))


def coded(coding: str, mode: str = "RGB") -> bytes:
    return encode(textured().convert(mode), "JPEG", **CODINGS[coding])


def compressed(data: bytes) -> tuple[int, int]:
    """Start of the first scan's data and end of the last scan's."""
    layout = read_header(data).jpeg
    assert layout is not None
    return layout.scans[0].start, layout.scans[-1].end


def code_of(data: bytes) -> str | None:
    try:
        load_photo(data, 224)
    except PhotoError as error:
        return error.code
    return None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("coding", CODINGS)
def test_whole_files_are_read(coding: str, mode: str) -> None:
    data = coded(coding, mode)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16)
    found = load_photo(data, 224).image.astype(np.int16)
    if mode != "CMYK":  # whose conversion differs
        assert np.abs(found - expected).mean() < 2


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("coding", CODINGS)
def test_flat_and_framed_pictures_are_whole(coding: str, level: int) -> None:
    """libjpeg fills what is missing with the grey of level 128, so a border of it looks like a cut."""
    framed = Image.new("RGB", (420, 340), (level,) * 3)
    framed.paste(textured(), (40, 40))
    assert code_of(encode(framed, "JPEG", **CODINGS[coding])) is None
    flat = Image.new("RGB", (130, 101), (level,) * 3)
    assert code_of(encode(flat, "JPEG", **CODINGS[coding])) is None


@pytest.mark.parametrize("side", [32, 33, 40, 63, 64, 65])
def test_small_pictures_of_any_side_are_whole(side: int) -> None:
    for coding in CODINGS:
        picture = textured(side, side + 7)
        data = encode(picture, "JPEG", **CODINGS[coding])
        header = read_header(data)
        assert header.jpeg is not None
        require_whole(data, header.jpeg)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("coding", CODINGS)
def test_a_cut_with_an_end_marker_put_on_is_refused(coding: str, mode: str) -> None:
    data = coded(coding, mode)
    start, end = compressed(data)
    for share in (0.02, 0.3, 0.5, 0.7, 0.9, 0.98):
        cut = data[: start + int(share * (end - start))] + b"\xff\xd9"
        assert code_of(cut) in ("cut_off", "damaged"), share


def is_noticed(data: bytes) -> bool:
    """Whether a file is refused, or its answer doubtful."""
    try:
        return load_photo(data, 224).may_be_damaged
    except PhotoError:
        return True


@pytest.mark.parametrize("coding", CODINGS)
def test_holes_and_lost_bytes_are_noticed(coding: str) -> None:
    data = coded(coding)
    start, end = compressed(data)
    chosen = random.Random(1)
    noticed = 0
    for _ in range(10):
        place = chosen.randrange(start, end - 600)
        noticed += is_noticed(data[:place] + bytes(512) + data[place + 512 :])
        noticed += is_noticed(data[:place] + data[place + 512 :])
    # Of a progressive file, some scans add detail that is hardly seen.
    assert noticed >= (12 if coding == "progressive" else 16)


@pytest.mark.parametrize("coding", ["4:2:0", "4:4:4", "4:2:2"])
def test_a_block_too_many_or_too_few_is_seen(coding: str) -> None:
    """Data of a picture one row of blocks taller or shorter, under this picture's header."""
    picture = textured(256, 320)
    data = encode(picture, "JPEG", **CODINGS[coding])
    start, end = compressed(data)
    for height in (240, 272):
        other = encode(textured(height, 320), "JPEG", **CODINGS[coding])
        other_start, other_end = compressed(other)
        assert code_of(data[:start] + other[other_start:other_end] + data[end:]) in ("damaged", "cut_off")


def test_a_missing_restart_marker_is_refused() -> None:
    data = coded("restart rows")
    marker = re.search(rb"\xff[\xd0-\xd7]", data[compressed(data)[0] :])
    assert marker is not None
    place = compressed(data)[0] + marker.start()
    assert code_of(data[:place] + data[place + 2 :]) == "damaged"


def test_a_missing_scan_is_refused() -> None:
    data = coded("progressive")
    layout = read_header(data).jpeg
    assert layout is not None
    assert code_of(data[: layout.scans[-2].end] + b"\xff\xd9") == "cut_off"


def shifted(picture: Image.Image, first: int, by: int, side: int = 16) -> bytes:
    """The JPEG of a picture whose blocks, from the first on in reading order, are brighter."""
    pixels = np.asarray(picture, np.int16).copy()
    columns = pixels.shape[1] // side
    for unit in range(first, columns * (len(pixels) // side)):
        top, left = unit // columns * side, unit % columns * side
        pixels[top : top + side, left : left + side] += by
    return encode(np.clip(pixels, 0, 255).astype(np.uint8), "JPEG", quality=90)


def test_a_shift_from_some_block_on_is_noticed() -> None:
    """What a wrong bit in a block's brightness does: all blocks after it are shifted."""
    picture = Image.fromarray((smooth(320, 400) * 0.5 + 60).astype(np.uint8))
    columns = 400 // 16
    assert not is_noticed(shifted(picture, 5 * columns + 9, 0))
    assert is_noticed(shifted(picture, 5 * columns + 9, 25))
    # An edge across the whole picture is its own.
    assert not is_noticed(shifted(picture, 5 * columns, 25))


def test_a_patch_makes_the_answer_doubtful() -> None:
    pixels = (smooth(320, 400) * 0.5 + 60).astype(np.uint8)
    whole = encode(pixels, "JPEG", quality=90)
    pixels[160:176, 160:176] = 255 - pixels[160:176, 160:176] // 2
    patched = encode(pixels, "JPEG", quality=90)
    assert not load_photo(whole, 224).may_be_damaged
    assert load_photo(patched, 224).may_be_damaged
    assert "may_be_damaged" in DOUBTFUL


def test_whole_files_leave_no_warning(capfd: pytest.CaptureFixture[str]) -> None:
    for coding in CODINGS:
        if coding != "progressive":
            load_photo(coded(coding), 224)
    assert capfd.readouterr() == ("", "")


def test_real_pictures_are_whole(data_folder: Path) -> None:
    paths = sorted(data_folder.glob("ham10000/*.jpg"))[::20]
    assert [path.name for path in paths if code_of(path.read_bytes()) is not None] == []


@pytest.mark.parametrize("coding", CODINGS)
def test_a_damaged_quantization_table_is_refused(coding: str) -> None:
    """One wrong bit in a table changes the brightness or the colours of every block."""
    data = coded(coding)
    layout = read_header(data).jpeg
    assert layout is not None
    assert len(layout.tables_at) == 2
    for at in layout.tables_at:
        for entry in (0, 1, 5, 63):
            wrong = data[at + entry] ^ 0x20
            assert code_of(data[: at + entry] + bytes([wrong]) + data[at + entry + 1 :]) == "damaged"


def test_tables_of_ones_own_are_read() -> None:
    """As cameras and editors have them: far from those of libjpeg, with another rounding, or nearly all 1."""
    smooth_tables = [[7 + place // 3 for place in range(64)], [5 + place // 2 for place in range(64)]]
    fine = [[1] * 40 + [2] * 16 + [3] * 8, [1] * 30 + [2] * 34]
    libjpeg = Image.open(io.BytesIO(coded("4:2:0"))).quantization
    rounded = [[entry + (place % 3 == 0) for place, entry in enumerate(table)] for table in libjpeg.values()]
    for tables in (smooth_tables, fine, rounded):
        assert code_of(encode(textured(), "JPEG", qtables=tables)) is None
