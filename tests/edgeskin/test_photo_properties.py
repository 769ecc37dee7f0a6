"""Properties of reading pictures and tables: whole files, and damage that hypothesis draws."""

import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeskin.errors import PhotoError, ResourceError, SettingError
from edgeskin.photo.color_profile import inflated, read_profile
from edgeskin.photo.decode import MAX_HELD, Photo, load_photo
from edgeskin.photo.directory import SIZES, exif_orientation
from edgeskin.photo.tables import read_table
from tests.conftest import ROOT
from tests.edgeskin.pictures import (
    IDAT,
    IEND,
    RGB,
    by_pillow,
    encode,
    ihdr,
    pixel_bomb,
    png,
    right_checksums,
    smooth,
    sof,
)
from tests.edgeskin.profiles import columns, gamma, parametric, profile, table
from tests.edgeskin.samples import archive, kinds_of, refused_kinds, with_metadata
from tests.edgeskin.tiffs import DEFLATE, PACKBITS, tiff

# The same examples in every run.
settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
settings.load_profile("reproducible")

PICTURE = smooth(64, 88)
KINDS = kinds_of(PICTURE)
TAGGED = {f"{fmt.lower()} tagged": with_metadata(PICTURE, fmt) for fmt in ("JPEG", "PNG", "WEBP", "TIFF")}
WHOLE = {name: load_photo(data, 224).image for name, data in KINDS.items()}
UPRIGHT = {
    orientation: np.asarray(Image.fromarray(RGB).transpose(operation))
    for orientation, operation in {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.items()
} | {1: RGB}
"""The picture by the orientation that its file names."""
CODES = {
    *("unsupported_format", "damaged", "cut_off"),
    *("too_small", "too_many_pixels", "side_too_long", "empty_file", "out_of_memory"),
}
"""All that bytes can be refused for."""
ENDS = {"jpeg": b"\xff\xd9", "png": png(IEND)[8:], "webp": b"", "bmp": b"", "tiff": b""}
NUMBERS = [0, 1, 2, 3, 7, 8, 31, 32, 127, 128, 255, 256, 16_384, 16_385, 32_767, 32_768, 65_535]
NUMBERS += [2**24, 2**31 - 1, 2**31, 2**32 - 8, 2**32 - 1]


def outcome(data: bytes) -> Photo | str:
    """A photo, checked against its own header, or the code of a known error. Everything else is raised."""
    try:
        photo = load_photo(data, 16)
    except (PhotoError, ResourceError) as error:
        code = error.code
        if code not in CODES:
            raise
        return code
    scale = -(-photo.height // len(photo.image))
    assert photo.image.shape == (-(-photo.height // scale), -(-photo.width // scale), 3)
    assert photo.image.dtype == np.uint8
    assert 0 <= photo.transparent <= 1
    return photo


@settings(max_examples=12)
@given(st.integers(32, 120), st.integers(32, 120), st.integers(0, 99))
def test_whole_files_are_what_pillow_reads(width: int, height: int, seed: int) -> None:
    for name, data in kinds_of(smooth(height, width, seed)).items():
        photo = load_photo(data, 224)
        expected = by_pillow(data)
        assert photo.format == name.split()[0]
        assert (photo.height, photo.width) == photo.image.shape[:2] == expected.shape[:2]
        assert not photo.may_be_damaged
        # Pillow and OpenCV each bring their own libjpeg and libwebp.
        tolerance = 4 if photo.format in ("jpeg", "webp") else 1
        assert np.abs(photo.image.astype(int) - expected).max() <= tolerance, name


@settings(max_examples=4)
@given(st.integers(32, 100), st.integers(32, 100), st.integers(0, 99))
@pytest.mark.hazard("H-04")
def test_orientations_are_those_of_pillow(width: int, height: int, seed: int) -> None:
    pixels = smooth(height, width, seed)
    for fmt in ("JPEG", "PNG", "WEBP", "TIFF"):
        for orientation in range(1, 9):
            data = with_metadata(pixels, fmt, orientation, icc=b"none")
            photo = load_photo(data, 224)
            expected = by_pillow(data)
            assert (photo.height, photo.width) == expected.shape[:2]
            assert np.abs(photo.image.astype(int) - expected).max() <= 4, (fmt, orientation)


@pytest.mark.parametrize("name", refused_kinds(PICTURE))
def test_other_formats_are_unsupported(name: str) -> None:
    data = refused_kinds(PICTURE)[name]
    assert outcome(data) == "unsupported_format"
    # Neither does a picture behind it make it one.
    assert outcome(data + KINDS["jpeg baseline 4:4:4"]) == "unsupported_format"


@settings(max_examples=150)
@given(st.binary(min_size=1, max_size=200), st.sampled_from([b"", *(data[:12] for data in KINDS.values())]))
def test_any_bytes_are_refused(content: bytes, start: bytes) -> None:
    assert outcome(start + content) in CODES


@st.composite
def damage(draw: st.DrawFn, data: bytes, end: bytes) -> bytes:
    """The data, damaged in one of the ways in which files are."""
    kind = draw(st.sampled_from(["cut", "end", "bits", "hole", "lost", "doubled", "number"]))
    # Headers are short, so half of the damage goes there.
    place = draw(st.integers(0, len(data) - 1) | st.integers(0, min(400, len(data) - 1)))
    length = draw(st.integers(1, 64) | st.integers(1, len(data)))
    if kind in ("cut", "end"):
        return data[:place] + (end if kind == "end" else b"")
    if kind == "hole":
        return data[:place] + bytes(min(length, len(data) - place)) + data[place + length :]
    if kind == "lost":
        return data[:place] + data[place + length :]
    if kind == "doubled":
        return data[: place + length] + data[place:]
    if kind == "number":
        packed = struct.pack(draw(st.sampled_from("<>")) + "I", draw(st.sampled_from(NUMBERS)))
        size = draw(st.sampled_from([1, 2, 4]))
        return data[:place] + (packed[:size] if packed[0] else packed[-size:]) + data[place + size :]
    flipped = bytearray(data)
    for _ in range(draw(st.integers(1, 8))):
        flipped[draw(st.integers(place, min(place + length, len(data) - 1)))] ^= 1 << draw(st.integers(0, 7))
    return bytes(flipped)


@pytest.mark.hazard("H-02")
@settings(max_examples=500)
@given(st.sampled_from(sorted(KINDS | TAGGED)), st.integers(1, 3), st.booleans(), st.data())
def test_damaged_files_give_a_photo_or_a_known_error(
    name: str, times: int, is_mended: bool, drawn: st.DataObject
) -> None:
    data = (KINDS | TAGGED)[name]
    for _ in range(times):
        data = drawn.draw(damage(data or b"\0", ENDS[name.split()[0]]))
    outcome(right_checksums(data) if is_mended and name.startswith("png") else data)


@pytest.mark.hazard("H-02")
@settings(max_examples=400)
@given(st.sampled_from([name for name in KINDS if name.startswith("png")]), st.data())
def test_damage_never_changes_the_pixels_of_a_png(name: str, drawn: st.DataObject) -> None:
    found = outcome(drawn.draw(damage(KINDS[name], ENDS["png"])))
    if isinstance(found, Photo):
        np.testing.assert_array_equal(load_photo(KINDS[name], 16).image, found.image)


@pytest.mark.hazard("H-02")
@settings(max_examples=200)
@given(st.sampled_from([name for name in KINDS if name[:4] in ("jpeg", "webp")]), st.booleans(), st.data())
def test_files_that_are_cut_off_are_refused(name: str, has_end: bool, drawn: st.DataObject) -> None:
    """Also with an end marker after a JPEG, and a WebP whose length is right again."""
    data = KINDS[name]
    cut = data[: drawn.draw(st.integers(16, len(data) - 3))]
    if has_end and name.startswith("webp"):
        cut = cut[:4] + struct.pack("<I", len(cut) - 8) + cut[8:]
    elif has_end:
        cut += ENDS["jpeg"]
    found = outcome(cut)
    if isinstance(found, Photo):
        # The last bytes may hold nothing but padding. Those of a JPEG may be the details of its last unit
        # (16 x 16 pixels at most, here half as large), which leaves the number of blocks as it is.
        differs = (found.image != load_photo(data, 16).image).any(-1)
        differs[24:, 38:] &= not name.startswith("jpeg")
        assert not differs.any()


def fields(data: bytes) -> Iterator[tuple[int, str]]:
    """Where the numbers of a file's structure lie, and their formats."""
    if data.startswith(b"\xff\xd8"):
        for marker in re.finditer(rb"\xff[\xc0\xc2\xc4\xda\xdb\xdd\xe0-\xe2]", data):
            yield from ((marker.end() + offset, form) for offset, form in ((0, ">H"), (2, "B"), (3, ">H")))
            yield from ((marker.end() + offset, "B") for offset in range(5, 17))
    elif data.startswith(b"\x89PNG"):
        yield from (
            (offset, form) for offset, form in ((16, ">I"), (20, ">I"), *((24 + i, "B") for i in range(5)))
        )
        for chunk in re.finditer(rb"IHDR|PLTE|IDAT|IEND|eXIf|iCCP", data):
            yield from ((chunk.start() - 4, ">I"), (chunk.start(), ">I"))
    elif data.startswith(b"RIFF"):
        yield from ((offset, "<I") for offset in range(4, 40))
    elif data.startswith(b"BM"):
        yield from ((offset, "<I") for offset in range(2, 54))
    else:
        order = "<" if data.startswith(b"II") else ">"
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        yield from ((4, f"{order}I"), (start, f"{order}H"), (start + 2 + 12 * count, f"{order}I"))
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            yield from ((entry, f"{order}H"), (entry + 2, f"{order}H"), (entry + 4, f"{order}I"))
            yield (entry + 8, f"{order}I")


@pytest.mark.hazard("H-18")
@settings(max_examples=500)
@given(st.sampled_from(sorted(KINDS | TAGGED)), st.integers(1, 3), st.data())
def test_headers_that_lie_give_a_known_outcome(name: str, times: int, drawn: st.DataObject) -> None:
    """Sizes, components, depths, lengths, offsets and counts; PNG with the checksums that fit the lie."""
    data = bytearray((KINDS | TAGGED)[name])
    places = [(place, form) for place, form in fields(bytes(data)) if place + 4 <= len(data)]
    for _ in range(times):
        place, form = drawn.draw(st.sampled_from(places))
        most = 256 ** struct.calcsize(form) - 1
        number = drawn.draw(st.sampled_from(NUMBERS) | st.integers(0, most))
        struct.pack_into(form, data, place, number & most)
    mended = right_checksums(bytes(data)) if name.startswith("png") else bytes(data)
    tracemalloc.start()
    try:
        outcome(mended)
        # OpenCV's own memory does not count here, but what is asked for beforehand on its behalf does.
        assert tracemalloc.get_traced_memory()[1] < MAX_HELD + 6 * 2**24
    finally:
        tracemalloc.stop()


@settings(max_examples=300)
@given(
    st.sampled_from("<>"),
    st.lists(
        st.tuples(
            st.sampled_from([0x0112, 0x0100, 0x8769, 0x8825]),
            st.sampled_from([0, *SIZES, 14, 255]),
            st.sampled_from([*range(4), 2**16, 2**31, 2**32 - 1]),
            st.integers(0, 12) | st.sampled_from(NUMBERS),
        ),
        max_size=5,
    ),
    st.sampled_from([8, 8, 8, *NUMBERS]),
)
def test_any_exif_gives_an_orientation(
    order: str, entries: list[tuple[int, int, int, int]], start: int
) -> None:
    tiff_header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", start)
    packed = [struct.pack(f"{order}HHII", *entry) for entry in entries]
    exif = tiff_header + struct.pack(f"{order}H", len(entries)) + b"".join(packed) + bytes(4)
    orientation = exif_orientation(exif)
    whole = [entry for entry in entries if entry[1] in SIZES and entry[2]]
    if start == 8 and not whole:
        assert orientation == 1
    photo = load_photo(png(ihdr(160, 120), (b"eXIf", exif), IDAT, IEND), 224)
    np.testing.assert_array_equal(photo.image, UPRIGHT[orientation])


@st.composite
def profiles(draw: st.DrawFn) -> bytes:
    """A profile with any curve and matrix, or a damaged one."""
    numbers = st.floats(-30_000, 30_000, width=32)
    points = st.lists(st.floats(0, 1), min_size=2, max_size=20)
    curve = draw(
        st.one_of(
            st.builds(gamma, st.floats(0, 255)),
            st.builds(lambda values: table(np.sort(np.array(values))), points),
            st.builds(lambda kind, values: parametric(kind, *values), st.integers(0, 6), st.lists(numbers)),
            st.builds(lambda count: struct.pack(">4s4xI", b"curv", count), st.sampled_from(NUMBERS)),
        )
    )
    matrix = columns("Display P3") + draw(st.sampled_from([0.0, 0.0, 0.05, -0.05, 1.0, 3000.0]))
    content = profile(curve=curve, matrix=matrix)
    return draw(damage(content, b"")) if draw(st.booleans()) else content


@settings(max_examples=150)
@given(profiles())
def test_any_profile_is_converted_or_ignored(content: bytes) -> None:
    assume(content)
    read = read_profile(content)
    if read is not None:
        assert np.isfinite(read.curves).all()
        assert (np.diff(read.curves, axis=0) >= 0).all()
    chunk = b"name\0\0" + zlib.compress(content)
    assert inflated(chunk) == content
    photo = load_photo(png(ihdr(160, 120), (b"iCCP", chunk), IDAT, IEND), 224)
    if read is None:
        np.testing.assert_array_equal(photo.image, RGB)


@settings(max_examples=60)
@given(st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(KINDS)))
def test_of_two_pictures_in_a_file_the_first_counts(name: str, other: str) -> None:
    for trailer in (KINDS[other], archive(KINDS[other]), b"<html><script>alert(1)</script>", b"%PDF-1.7"):
        np.testing.assert_array_equal(load_photo(KINDS[name] + trailer, 224).image, WHOLE[name])


def test_a_picture_inside_another_does_not_count() -> None:
    jpeg, inner = KINDS["jpeg baseline 4:2:0"], KINDS["jpeg baseline 4:4:4"]
    for content in (inner, KINDS["png 2-8"], archive(inner), b"<html>"):
        comment = b"\xff\xfe" + struct.pack(">H", 2 + len(content)) + content
        found = load_photo(jpeg[:2] + comment + jpeg[2:], 224)
        np.testing.assert_array_equal(found.image, WHOLE["jpeg baseline 4:2:0"])
        tagged = png(ihdr(160, 120), (b"teXt", content), IDAT, IEND)
        np.testing.assert_array_equal(load_photo(tagged, 224).image, RGB)


def bombs() -> dict[str, tuple[bytes, str]]:
    """Small files that stand for much work, and the code that each is refused with; '' for none."""
    flat = Image.new("RGB", (16_384, 6700), (128, 128, 128))
    zeros = zlib.compress(bytes(250 * 2**20), 1)
    webp = bytearray(TAGGED["webp tagged"])
    webp[24:30] = b"\xff" * 6
    bmp = bytearray(KINDS["bmp RGB"])
    struct.pack_into("<ii", bmp, 18, 2**31 - 1, -(2**31))
    jpeg = encode(smooth(600, 800), "JPEG", progressive=True)
    return {
        "IDAT of a large PNG": (pixel_bomb(), "side_too_long"),
        "IDAT of a small PNG": (png(ihdr(64, 64), (b"IDAT", zeros), IEND), ""),
        "iCCP": (png(ihdr(160, 120), (b"iCCP", b"name\0\0" + zeros), IDAT, IEND), ""),
        "zTXt": (png(ihdr(160, 120), (b"zTXt", b"name\0\0" + zeros), IDAT, IEND), ""),
        "strip": (tiff(RGB, "<", DEFLATE, rows=120, parts=[zeros]), "damaged"),
        "tile": (tiff(RGB, "<", DEFLATE, tile=(160, 128), parts=[zeros]), "damaged"),
        "runs": (tiff(RGB, "<", PACKBITS, rows=120, parts=[b"\x81\0" * 2**22]), "damaged"),
        "nothing": (tiff(RGB, "<", PACKBITS, rows=120, parts=[b"\x80" * 2**24]), "cut_off"),
        "sides of a JPEG": (sof(65_535, 65_535), "side_too_long"),
        "pixels of a JPEG": (sof(16_384, 16_384), "too_many_pixels"),
        "coefficients of a JPEG": (sof(16_384, 16_384, jpeg), "too_many_pixels"),
        "checks of a JPEG": (encode(flat, "JPEG", optimize=True, restart_marker_rows=1), ""),
        "WebP": (bytes(webp), "side_too_long"),
        "BMP": (bytes(bmp), "cut_off"),
    }


ANSWERS = """
import resource, sys
from pathlib import Path
from edgeskin.errors import EdgeskinError
from edgeskin.photo.decode import load_photo
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        load_photo(path, 224)
    except EdgeskinError as error:
        print(path.name, error.code, sep="=")
    else:
        print(path.name, "", sep="=")
"""


@pytest.mark.hazard("H-18")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits the memory as Linux does")
def test_bombs_take_little_memory_and_time(tmp_path: Path) -> None:
    expected = bombs()
    for name, (content, _) in expected.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-c", ANSWERS, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    answers = dict(line.split("=") for line in done.stdout.splitlines())
    assert answers == {name: code for name, (_, code) in expected.items()}


CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


@settings(max_examples=100)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=5), st.sampled_from([",", '"']), st.booleans())
def test_tables_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], special: str, has_mark: bool
) -> None:
    """Cells of any characters, quoted as RFC 4180 says."""
    rows = [(path + special, label) for path, label in rows]
    lines = [
        ",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [("path", "label"), *rows]
    ]
    place = tmp_path_factory.getbasetemp() / "table.csv"
    place.write_text("\r\n".join(lines), encoding="utf-8-sig" if has_mark else "utf-8", newline="")
    expected = [{"path": path, "label": label} for path, label in rows]
    assert read_table(place, ("path", "label")) == expected


@settings(max_examples=200)
@given(st.data(), st.sampled_from([b"path,label\na.jpg,MEL\n", b'"path","label"\r\n"a ""b""",NV\r\n']))
def test_damaged_tables_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, drawn: st.DataObject, content: bytes
) -> None:
    place = tmp_path_factory.getbasetemp() / "table.csv"
    place.write_bytes(
        drawn.draw(damage(content, b"") | st.binary(max_size=50).map(lambda more: content + more))
    )
    try:
        rows = read_table(place, ("path", "label"))
    except SettingError:
        return
    assert all({"path", "label"} <= row.keys() for row in rows)
