"""Files in other formats, made by Pillow, the standard library and by hand: the error names the format."""

import io
import re
import struct
import tarfile
import zipfile

import pytest
from PIL import Image, features

from edgeskin.errors import PhotoError
from edgeskin.photo.formats import other_format
from edgeskin.photo.headers import read_header
from tests.edgeskin.pictures import GRAY, JPEG, RGB, encode

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
DOCTYPE = b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd" [\n<!ENTITY ns "http://x/">\n] >'


def refused(data: bytes) -> str:
    """The message of a file that is refused for its format."""
    with pytest.raises(PhotoError) as caught:
        read_header(data)
    assert caught.value.code == "unsupported_format"
    return str(caught.value)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def archive(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, b"content")
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("lesion.jpg"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("fmt", "name"),
    [
        ("GIF", "GIF"),
        ("ICO", "ICO"),
        ("ICNS", "ICNS"),
        ("PPM", "PPM"),
        ("EPS", "EPS"),
        ("PDF", "PDF"),
        ("DDS", "DDS"),
        ("JPEG2000", "JPEG 2000"),
        ("AVIF", "AVIF"),
    ],
)
def test_files_of_pillow(fmt: str, name: str) -> None:
    if fmt == "JPEG2000" and not features.check("jpg_2000"):
        pytest.skip("Pillow cannot write JPEG 2000 here")
    if fmt == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow cannot write AVIF here")
    assert name in refused(encode(Image.fromarray(RGB), fmt))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encode(GRAY, "PPM"), "PGM"),
        (b"P7\nWIDTH 4\n", "PAM"),
        (b"\xff\x4f\xff\x51\0\x2f" + bytes(60), "JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl "), "JPEG XL"),
        (b"\xff\x0a\xfa\x7f\x01\x90\x08\x06" + bytes(40), "JPEG XL"),
        (b"8BPS\0\1" + bytes(40), "PSD"),
        (box(b"ftyp", b"crx \0\0\0\1crx isom") + bytes(40), "CR3"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "CR2"),
        (b"FUJIFILMCCD-RAW 0201FF129502", "RAF"),
        (b"IIRO\x08\0\0\0" + bytes(40), "ORF"),
        (b"MMOR\0\0\0\x08" + bytes(40), "ORF"),
        (b"IIU\0\x18\0\0\0" + bytes(40), "RW2"),
        (b"FOVb\0\0\2\0" + bytes(40), "X3F"),
        (box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", b""), "MOV"),
        (box(b"ftyp", b"mp42\0\0\0\0isommp42"), "MP4"),
        (box(b"moov", box(b"mvhd", bytes(100))), "MOV"),
        (b"RIFF\x10\0\0\0AVI LIST", "AVI"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81", "WebM"),
        (b"\0\0\1\xba\x44\0", "MPEG"),
        (b"%!PS-Adobe-3.0\n", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(30), "EPS"),
        (archive("lesion.jpg"), "ZIP"),
        (archive("word/document.xml"), "office"),
        (tar(), "archive"),
        (b"\x1f\x8b\x08\0" + bytes(20), "archive"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X        ", r"\._"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"  <!-- saved -->\n<!DOCTYPE html><html><body><svg/></body></html>", "web page"),
        (b"\xef\xbb\xbf<HTML><svg>", "web page"),
        (b"<?xml version='1.0'?><feed/>", "not a picture"),
        (b"a text about <svg>", "not a picture"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_by_hand(data: bytes, name: str) -> None:
    assert re.search(name, refused(data))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\r\n\t ",
        b"<?xml version='1.0'?>\n",
        b"<!-- <html> -->" * 300,
        DOCTYPE,
        b"<?xml?><!----> " + DOCTYPE,
    ],
    ids=["bare", "space", "declaration", "comments", "doctype", "all"],
)
def test_svg(before: bytes, encoding: str) -> None:
    assert "SVG" in refused((before + SVG).decode().encode(encoding))
    assert "SVG" in refused((before + b"<svg:svg/>").decode().encode(encoding))


@pytest.mark.parametrize("unit", [b"<!--", b"<!---->", b"<?", b"<!doctype x[", b"]", b" ", b"<", b"<?a?> "])
def test_endless_markup_is_read_in_linear_time(unit: bytes) -> None:
    """Backtracking would take for ever."""
    assert other_format(unit * 100_000).code == "unsupported_format"


@pytest.mark.parametrize("bits", [2, 12, 16])
def test_jpeg_of_other_than_8_bits(bits: int) -> None:
    at = JPEG.index(b"\xff\xc0\0\x11") + 4
    assert f"{bits} bits" in refused(JPEG[:at] + bytes([bits]) + JPEG[at + 1 :])


def test_jpeg_ls() -> None:
    assert "JPEG-LS" in refused(JPEG.replace(b"\xff\xc0\0\x11", b"\xff\xf7\0\x11"))


def test_the_way_out_fits_the_kind() -> None:
    assert "JPEG" in refused(encode(RGB, "GIF"))
    assert "take the pictures out" in refused(archive("lesion.jpg"))
    assert "the one frame" in refused(box(b"ftyp", b"isom\0\0\0\0"))
