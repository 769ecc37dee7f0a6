"""The files of `benchmarks.robustness.corpus`: whole pictures, damaged ones, and hostile or unusual files."""

import io
import os
import random
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageCms

from benchmarks.environment import EXAMPLE
from benchmarks.robustness.corpus_pictures import (
    FORMATS,
    MODES,
    WHOLE,
    Case,
    deep_png,
    drawn_lesions,
    false_colours,
    overlaid,
    read_pixels,
    validation_pictures,
    written,
)
from edgeskin.arrays import Image as Pixels
from edgeskin.photo.headers import read_header
from tests.edgeskin import pictures as made

END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"\0\0\0\0IEND\xaeB`\x82", "WEBP": b""}
TABLE_BITS = 8
"""Of each JPEG, that are flipped one by one."""


def generate(folder: Path, drawn: int, real: int) -> Iterator[Case]:
    """Make the corpus.

    Args:
        folder: For inputs that are no bytes, such as a FIFO.
        drawn: Drawn lesions, besides the project's example.
        real: Pictures of the validation split of EDGESKIN_DATA, if that is set.
    """
    rng = random.Random(0)
    pictures = [read_pixels(EXAMPLE), *drawn_lesions(drawn), *validation_pictures(real)]
    for pixels in pictures:
        for form in FORMATS:
            whole = written(pixels, form)
            yield Case(WHOLE, form, whole, whole)
            yield from damage(whole, form, rng)
            yield Case("whole, with a label", form, written(overlaid(pixels), form))
        yield from false_colours(pixels)
    example = pictures[0]
    for form, (fmt, mode) in MODES.items():
        yield Case(WHOLE, form, made.encode(Image.fromarray(example).convert(mode), fmt))
    yield Case(WHOLE, "PNG, 16 bits", deep_png(example))
    for form in FORMATS:
        whole = written(example, form)
        yield from header_lies(whole, form)
        yield from polyglots(whole, form)
    yield from metadata(example, rng)
    yield from bombs(example)
    yield from refused_formats(example, rng)
    yield from no_files(folder)


def damage(whole: bytes, form: str, rng: random.Random) -> Iterator[Case]:
    """Damage a file in its compressed data, in each way once, at random places."""
    start, end = data_range(whole)
    family = FORMATS[form][0]
    cut = rng.randrange(start, end)
    yield Case("truncated", form, whole[:cut], whole)
    if family in END_MARKERS:
        yield Case("truncated, end marker put on", form, _ended(whole[:cut], family), whole)
    for length in (8, 64, 512):
        at = rng.randrange(start, max(start + 1, end - length))
        before, rest = whole[:at], whole[at + length :]
        yield Case(f"{length} bytes zeroed", form, before + bytes(length) + rest, whole)
        yield Case(f"{length} bytes lost", form, before + rest, whole)
        yield Case(f"{length} bytes doubled", form, whole[: at + length] + whole[at:], whole)
        yield Case(f"{length} bytes overwritten", form, before + rng.randbytes(length) + rest, whole)
    for count in (1, 4, 32):
        changed = bytearray(whole)
        for _ in range(count):
            changed[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
        yield Case(f"{count} bits flipped", form, bytes(changed), whole)
    layout = read_header(whole).jpeg
    if layout is not None:
        # From the first quantization table on: these, the frame, and the tables of codes.
        for at in rng.sample(range(layout.tables_at[0], start), TABLE_BITS):
            changed = bytearray(whole)
            changed[at] ^= 1 << rng.randrange(8)
            yield Case("1 bit of the tables flipped", form, bytes(changed), whole)


def data_range(whole: bytes) -> tuple[int, int]:
    """Return the offsets between which a whole file holds its pixels."""
    header = read_header(whole)
    if header.jpeg is not None:
        return header.jpeg.scans[0].start, header.jpeg.scans[-1].end
    if header.tiff is not None:
        return header.tiff.places[0][0], sum(header.tiff.places[-1])
    return {"png": 33, "webp": 30, "bmp": 54}[header.format], len(whole)


def _ended(data: bytes, family: str) -> bytes:
    data += END_MARKERS[family]
    if family == "WEBP":
        data += b"\0" * (len(data) % 2)
        data = (
            data[:4]
            + struct.pack("<I", len(data) - 8)
            + data[8:16]
            + struct.pack("<I", len(data) - 20)
            + data[20:]
        )
    return data


def header_lies(whole: bytes, form: str) -> Iterator[Case]:
    """Write other numbers in the fields of a header."""
    for at, kind, value in _fields(whole):
        most = 256 ** struct.calcsize(kind) - 1
        for lie in sorted({0, 1, value - 1, value + 1, value + 8, value // 2, 2 * value, most - 1, most}):
            changed = bytearray(whole)
            struct.pack_into(kind, changed, at, lie & most)
            if form == "PNG":
                struct.pack_into(">I", changed, 29, zlib.crc32(changed[12:29]))
            if lie & most != value:
                yield Case("header lies", form, bytes(changed), whole)


def _fields(whole: bytes) -> Iterator[tuple[int, str, int]]:
    """Yield offset, format and value of the numbers in a header that decide what is read."""
    header = read_header(whole)
    places: Sequence[tuple[int, str]]
    if header.jpeg is not None:
        segment, size = whole.index(b"\xff\xdb") + 2, header.jpeg.size_at
        places = [
            (size, ">H"),
            (size + 2, ">H"),
            (size - 1, ">B"),
            (size + 4, ">B"),
            (size + 6, ">B"),
            (segment, ">H"),
        ]
    elif header.tiff is not None:
        (directory,) = struct.unpack_from("<I", whole, 4)
        (count,) = struct.unpack_from("<H", whole, directory)
        places = [
            (4, "<I"),
            *((directory + 2 + 12 * entry + part, "<I") for entry in range(count) for part in (4, 8)),
        ]
    else:
        places = {
            "png": [(16, ">I"), (20, ">I"), (24, ">B"), (25, ">B"), (28, ">B"), (33, ">I")],
            "webp": [(4, "<I"), (16, "<I"), (21, "<I"), (26, "<H"), (28, "<H")],
            "bmp": [
                (2, "<I"),
                (10, "<I"),
                (14, "<I"),
                (18, "<I"),
                (22, "<I"),
                (26, "<H"),
                (28, "<H"),
                (30, "<I"),
            ],
        }[header.format]
    for at, kind in places:
        (value,) = struct.unpack_from(kind, whole, at)
        yield at, kind, value


def metadata(pixels: Pixels, rng: random.Random) -> Iterator[Case]:
    """Write EXIF and ICC blocks that are random, damaged or contradict themselves."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    blocks = [b"", b"\0" * 9, rng.randbytes(64), rng.randbytes(5000), b"MM\0*", b"II*\0\xff\xff\xff\xff"]
    blocks += [
        _orientation(kind, count, value)
        for kind in (0, 1, 2, 3, 4, 5, 7, 9, 12, 13, 65535)
        for count, value in ((1, 6), (2, 8), (0, 0), (2**32 - 1, 3), (1, 2**32 - 1))
    ]
    damaged = [_overwritten(profile, rng, 16) for _ in range(30)]
    profiles = [profile, *damaged, profile[: len(profile) // 2], rng.randbytes(300), bytes(128), b"x"]
    for form in ("JPEG, baseline", "PNG", "WebP, lossy"):
        for block in blocks:
            yield Case("EXIF nonsense", form, written(pixels, form, exif=b"Exif\0\0" + block))
        for block in profiles:
            yield Case("ICC nonsense", form, written(pixels, form, icc_profile=block))


def _orientation(kind: int, count: int, value: int) -> bytes:
    """An EXIF block whose only entry is the orientation, and which names itself as the next block."""
    return struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x0112, kind, count, value, 8)


def _overwritten(data: bytes, rng: random.Random, length: int) -> bytes:
    at = rng.randrange(len(data) - length)
    return data[:at] + rng.randbytes(length) + data[at + length :]


def polyglots(whole: bytes, form: str) -> Iterator[Case]:
    """Put another file before or behind a picture; what is behind must not count."""
    archive = b"PK\x03\x04" + bytes(26) + b"x" + b"PK\x05\x06" + bytes(18)
    others = [
        archive,
        b"<html><script>alert(1)</script></html>",
        made.PNG,
        made.JPEG,
        b"%PDF-1.4\n",
        b"GIF89a" + bytes(20),
    ]
    for other in others:
        yield Case("polyglots", form, whole + other, whole)
        yield Case("polyglots", form, other + whole)
    yield Case("polyglots", form, whole[:2] + made.PNG)


def bombs(pixels: Pixels) -> Iterator[Case]:
    """Make small files that would take much memory or time."""
    zeros = zlib.compress(bytes(300_000_000), 9)
    ihdr = made.ihdr(64, 64)
    yield Case("bombs", "PNG", made.pixel_bomb())
    yield Case("bombs", "PNG", made.TEXT_BOMB)
    yield Case("bombs", "PNG", made.png(ihdr, (b"IDAT", zeros), made.IEND))
    for chunk in (b"iCCP", b"zTXt"):
        yield Case(
            "bombs", "PNG", made.png(made.ihdr(160, 120), (chunk, b"x\0\0" + zeros), made.IDAT, made.IEND)
        )
    empty_chunk = made.png((b"teXt", b""))[8:]
    yield Case("bombs", "PNG", made.PNG[:33] + empty_chunk * 200_000 + made.PNG[33:])
    yield Case("bombs", "PNG", made.png(made.ihdr(2**31 - 1, 2**31 - 1), made.IDAT, made.IEND))
    jpeg, progressive = written(pixels, "JPEG, baseline"), written(pixels, "JPEG, progressive")
    yield Case("bombs", "JPEG", made.sof(65_500, 65_500, jpeg))
    yield Case("bombs", "JPEG", made.sof(16_000, 16_000, progressive))
    yield Case("bombs", "JPEG", jpeg[:2] + b"\xff\xfe\0\x02" * 200_000 + jpeg[2:])
    scans = read_header(progressive).jpeg
    assert scans is not None
    last = progressive[scans.scans[-2].end : scans.scans[-1].end]
    yield Case("bombs", "JPEG", progressive[:-2] + last * 2000 + b"\xff\xd9")
    bmp, tiff = made.BMP, written(pixels, "TIFF, Deflate")
    yield Case("bombs", "BMP", bmp[:18] + struct.pack("<ii", 30_000, 30_000) + bmp[26:])
    webp = written(pixels, "WebP, lossless")
    yield Case("bombs", "WebP", webp[:21] + struct.pack("<I", 0x0FFFFFFF) + webp[25:])
    layout = read_header(tiff).tiff
    assert layout is not None
    offset, _ = layout.places[0]
    yield Case(
        "bombs", "TIFF", made.encode(pixels, "TIFF", compression="tiff_adobe_deflate")[:offset] + zeros
    )
    yield Case("bombs", "JPEG", jpeg + bytes(65 * 2**20))


def refused_formats(pixels: Pixels, rng: random.Random) -> Iterator[Case]:
    """Write files of kinds that are not read."""
    picture = Image.fromarray(pixels).resize((200, 200))
    for fmt in ("GIF", "PPM", "TGA", "ICO", "JPEG2000", "PCX", "SGI", "ICNS", "EPS", "PDF", "DDS"):
        with io.BytesIO() as buffer:
            picture.save(buffer, fmt)
            yield Case("other formats", fmt, buffer.getvalue())
    for mode in ("L", "1", "P", "CMYK", "RGBA", "YCbCr", "LAB", "I;16", "F"):
        grey = picture.convert("I") if mode == "I;16" else picture
        yield Case("other formats", f"TIFF, {mode}", made.encode(_converted(grey, mode), "TIFF"))
    yield Case("other formats", "TIFF, JPEG", made.encode(picture, "TIFF", compression="jpeg"))
    frames = {"save_all": True, "append_images": [picture.rotate(90)]}
    yield Case("other formats", "WebP, animated", made.encode(picture, "WEBP", **frames))
    starts = {
        "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "AVIF": b"\0\0\0\x1cftypavif",
        "JPEG XL": b"\xff\x0a",
        "DICOM": bytes(128) + b"DICM",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "HTML": b"<!doctype html><html>",
        "ZIP": b"PK\x03\x04",
        "MP4": b"\0\0\0\x20ftypisom",
        "PSD": b"8BPS\0\x01",
        "text": b"this is no picture\n" * 100,
    }
    for form, start in starts.items():
        yield Case("other formats", form, start + bytes(1000))
    yield Case("other formats", "empty", b"")
    for length in (1, 2, 10, 1000, 100_000):
        yield Case("other formats", "random bytes", rng.randbytes(length))
    for whole in (made.JPEG, made.PNG, made.WEBP, made.BMP, written(pixels, "TIFF, LZW")):
        for length in (1, 2, 3, 4, 8, 12, 16, 20, 26, 30, 40, 60):
            yield Case("truncated", "header alone", whole[:length])


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
        assert converted is not None
        return converted
    return picture.convert(mode)


def no_files(folder: Path) -> Iterator[Case]:
    """Name things that are no regular files, and odd names of files that are."""
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "fifo.jpg")
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    for name in (
        "folder.jpg",
        "fifo.jpg",
        "dangling.jpg",
        "loop.jpg",
        "missing.jpg",
        "x" * 300,
        "null\0.jpg",
    ):
        yield Case("no regular file", name[:8], folder / name)
    yield Case("no regular file", "device", Path(os.devnull))
    for name in ("皮膚 é.jpg", "new\nline.jpg", "-x.jpg", "\x1b[31m.jpg", "wrong.png"):
        (folder / name).write_bytes(EXAMPLE.read_bytes())
        yield Case("odd names", "JPEG", folder / name)
