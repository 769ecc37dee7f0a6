"""What a picture file is: the formats that are read, all others by their name, and the errors of both.

Error messages do not name the file; the caller adds its name.
"""

import re
from typing import Literal

from edgeskin.errors import PhotoError

FileFormat = Literal["jpeg", "png", "webp", "bmp", "tiff", "dicom", "heic"]

MAX_SEGMENTS = 100_000
"""Segments or chunks that are read of one file. A small file of many could keep a reader busy for minutes."""
SEARCHED = 1 << 16
"""Bytes of a file that are looked at to name its format."""

RAW = "a raw picture of a camera"
DEVELOP = "develop it in the camera's software, and export it as JPEG"
STILL = "save the one frame that shows the lesion as JPEG"
UNPACK = "take the pictures out of it, and name those"

# What may come before the first element of markup. The groups are atomic, which keeps the search linear.
PROLOGUE = rb"(?i)(?:\xef\xbb\xbf)?(?>\s|<\?.*?\?>|<!--.*?-->|<!doctype\s+(?!html)[^\[>]*(?:\[.*?\]\s*)?>)*+"

OTHERS: dict[bytes, tuple[str, str]] = {
    rb".{4}ftypavi[fs]": ("an AVIF picture", ""),
    rb".{4}ftypcrx ": (f"{RAW} (Canon CR3)", DEVELOP),
    rb"II\*\0.{4}CR": (f"{RAW} (Canon CR2)", DEVELOP),
    rb"II.\0\0\0HEAPCCDR": (f"{RAW} (Canon CRW)", DEVELOP),
    rb"FUJIFILMCCD-RAW": (f"{RAW} (Fujifilm RAF)", DEVELOP),
    rb"IIR[OS]\x08\0|MMOR": (f"{RAW} (Olympus ORF)", DEVELOP),
    rb"IIU\0": (f"{RAW} (Panasonic RW2)", DEVELOP),
    rb"FOVb": (f"{RAW} (Sigma X3F)", DEVELOP),
    rb"\0MRM": (f"{RAW} (Minolta MRW)", DEVELOP),
    rb"\0\0\0\x0cjP  \r\n|\xff\x4f\xff\x51": ("a JPEG 2000 picture", ""),
    rb"\0\0\0\x0cJXL \r\n|\xff\x0a": ("a JPEG XL picture", ""),
    rb"II\xbc": ("a JPEG XR picture", ""),
    rb"8BPS": ("a Photoshop document (PSD)", ""),
    rb"gimp xcf": ("a GIMP document (XCF)", ""),
    rb"GIF8": ("a GIF picture", ""),
    rb"\0\0[\x01\x02]\0[^\0]\0": ("an icon (ICO or CUR)", ""),
    rb"icns": ("an icon (ICNS)", ""),
    rb"P[1-7][\s#]|P[Ff]\n": ("a PNM picture (PBM, PGM, PPM or PAM)", ""),
    rb"\x76\x2f\x31\x01": ("an OpenEXR picture", ""),
    rb"#\?R(ADIANCE|GBE)": ("a Radiance HDR picture", ""),
    rb"qoif": ("a QOI picture", ""),
    rb"DDS ": ("a DDS texture", ""),
    rb"BPG\xfb": ("a BPG picture", ""),
    rb"[\x8a\x8b][MJ]NG\r\n": ("an MNG or JNG picture", ""),
    rb"%PDF": ("a PDF document", ""),
    rb"%!PS|\xc5\xd0\xd3\xc6": ("a PostScript document (PS or EPS)", ""),
    PROLOGUE + rb"<(?:\w+:)?svg\b": ("an SVG drawing", ""),
    PROLOGUE + rb"<(?:html|head|body|!doctype\s+html)\b": ("a web page", "download the picture itself"),
    rb".{4}ftyp|.{4}(moov|mdat|wide|pnot)": ("a video (MP4 or MOV)", STILL),
    rb"RIFF.{4}AVI ": ("a video (AVI)", STILL),
    rb"\x1a\x45\xdf\xa3": ("a video (MKV or WebM)", STILL),
    rb"\0\0\x01[\xba\xb3]": ("a video (MPEG)", STILL),
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11": ("a video (WMV)", STILL),
    rb"PK\x03\x04.{26}(\[Content_Types\]|mimetype|word/|ppt/|xl/)": ("an office document", UNPACK),
    rb"PK[\x03\x05][\x04\x06]": ("a ZIP archive", UNPACK),
    rb"Rar!\x1a|7z\xbc\xaf|\x1f\x8b|BZh|\xfd7zXZ|.{257}ustar": ("an archive", UNPACK),
    rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an office document", UNPACK),
    rb"\0\x05\x16[\0\x07]": (
        "what macOS keeps beside a picture (AppleDouble)",
        "name the file without ._ before its name",
    ),
    rb"version https://git-lfs": ("a pointer of Git LFS", "fetch the picture with git lfs pull"),
}
"""Starts of files in other formats, as regular expressions; what to call each, and the way out.

The first that fits counts. Without a way out of its own, a picture has to be exported as JPEG.
"""


def damaged() -> PhotoError:
    """Return the error of a file whose content contradicts itself or cannot be decoded."""
    return PhotoError("the picture is damaged; copy it again, or export it again as JPEG", "damaged")


def cut_off() -> PhotoError:
    """Return the error of a file that ends too early."""
    return PhotoError("the picture is cut off before its end; copy or send it again", "cut_off")


def unsupported(finding: str, way_out: str = "") -> PhotoError:
    """Return the error of a file in a format or coding that is not read."""
    return PhotoError(
        f"{finding}; edgeskin reads JPEG, PNG, WebP, BMP and TIFF, so {way_out or 'export it as JPEG'}",
        "unsupported_format",
    )


def needs_extra(kind: str, extra: str) -> PhotoError:
    """Return the error of a file in a format that only an extra reads, which is not installed."""
    install = f'pip install "edgeskin[{extra}]"'
    return PhotoError(
        f"this is {kind}, which the extra {extra} reads; {install}, or export it as JPEG",
        "unsupported_format",
    )


def other_format(data: bytes) -> PhotoError:
    """Return the error of a file in none of the formats that are read. It names the format where it can."""
    start = data[:SEARCHED]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        start = start.decode("utf-16", "replace").encode()
    for pattern, (kind, way_out) in OTHERS.items():
        if re.match(pattern, start, re.DOTALL):
            return unsupported(f"this is {kind}", way_out)
    return unsupported("this is not a picture", "name a picture")
