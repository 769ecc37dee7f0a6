"""The photograph in a DICOM file, found by pydicom. This module needs the extra ``dicom``.

Of a file's attributes only those are read that describe the pixels: what names the patient is skipped. Sizes
are known before any pixel is decoded.
"""

import contextlib
import io
import itertools
import logging
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from pydicom import uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import BaseTag

from edgeskin.arrays import Image
from edgeskin.errors import PhotoError
from edgeskin.photo.formats import MAX_SEGMENTS, cut_off, damaged, unsupported
from edgeskin.photo.jpeg import read_segments
from edgeskin.photo.tiff_pixels import unpack_bits

DATA_AT = 132
"""Offset of the first element, after the preamble and ``DICM`` (PS3.10, 7.1)."""
MAX_INFLATED = 128 * 2**20
"""Bytes that a deflated file may hold."""
UNDEFINED = 0xFFFFFFFF
PIXELS_FROM = 0x7FE00008
"""The first of the tags that hold pixels; all attributes that are read come before it."""

PHOTOGRAPHS = (
    uid.VLPhotographicImageStorage,
    uid.DermoscopicPhotographyImageStorage,
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
)
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian)
JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000)
COLORS: dict[str, tuple[str, ...]] = {
    uid.JPEGBaseline8Bit: ("RGB", "YBR_FULL", "YBR_FULL_422"),
    uid.RLELossless: ("RGB", "YBR_FULL"),
    **dict.fromkeys(NATIVE, ("RGB", "YBR_FULL", "YBR_FULL_422")),
    **dict.fromkeys(JPEG_LS, ("RGB",)),
    **dict.fromkeys(JPEG_2000, ("RGB", "YBR_RCT", "YBR_ICT")),
}
"""The photometric interpretations that are read, by transfer syntax."""
PACKAGES: dict[str, str] = {
    **dict.fromkeys(JPEG_LS, "pyjpegls"),
    **dict.fromkeys(JPEG_2000, "pylibjpeg pylibjpeg-openjpeg"),
}
"""What pydicom needs to decode a transfer syntax."""

SPACINGS = {
    "ImagerPixelSpacing": 0x00181164,
    "NominalScannedPixelSpacing": 0x00182010,
    "PixelSpacing": 0x00280030,
}
"""Where the distance between rows and that between columns may be, which give the shape of a pixel too."""
MOST_STRETCHED = 1.01
"""Height of a pixel over its width, or the reverse, that is taken for square: spacings are rounded."""
TAGS = {
    "SOPClassUID": 0x00080016,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "PlanarConfiguration": 0x00280006,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelAspectRatio": 0x00280034,
    **SPACINGS,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "PixelRepresentation": 0x00280103,
    "ICCProfile": 0x00282000,
}
HELD = 14
"""Bytes a pixel that decoding holds at once; measured: 6 with RGB, 13 with YBR_FULL_422, 14 with RLE."""
HELD_BY_PLUGINS: dict[str, int] = {**dict.fromkeys(JPEG_LS, 9), **dict.fromkeys(JPEG_2000, 24)}
"""Likewise, with pyjpegls and OpenJPEG."""
_QUIET = threading.Lock()
_LOGGERS = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
for _logger in _LOGGERS:
    _logger.addHandler(logging.NullHandler())  # else logging prints warnings that no other handler takes


@dataclass(frozen=True)
class DicomPicture:
    """The colour picture of a DICOM file.

    Attributes:
        width: Pixels a row.
        height: Rows.
        profile: The ICC profile, not yet checked; empty for none.
        jpeg: The JPEG file that the DICOM file holds; empty for other codings.
        pixels: Decodes other codings to uint8 BGR (height, width, 3), or raises PhotoError.
        held: Bytes a pixel that decoding holds at once.
        has_surplus: Whether there are more bytes of pixels than the picture has.
    """

    width: int
    height: int
    profile: bytes
    jpeg: bytes = b""
    pixels: Callable[[], Image] | None = None
    held: int = HELD
    has_surplus: bool = False


def read_dicom(data: bytes) -> DicomPicture:
    """Read the header of a DICOM file, and find its picture.

    Args:
        data: All bytes of the file, which has ``DICM`` after its preamble.

    Raises:
        PhotoError: The file holds anything but one colour photograph of 8 bits, is in an unsupported transfer
            syntax, damaged or cut off.
    """
    try:
        with quiet():
            return _read(data)
    except (PhotoError, MemoryError):
        raise
    except Exception:  # pydicom's errors are of many classes, and quote the file
        raise damaged() from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what pydicom and highdicom warn and log: it may quote the file, and so the patient."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = [(logger, logger.propagate) for logger in _LOGGERS]
        try:
            for logger in _LOGGERS:
                logger.propagate = False
            yield
        finally:
            for logger, propagate in kept:
                logger.propagate = propagate


class _Bounded(io.BytesIO):
    """Bytes that are read in so many pieces at most: a file of tiny elements would keep a reader busy."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._left = 4 * MAX_SEGMENTS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise damaged()
        return super().read(size)


def read_attributes(data: bytes, tags: list[int]) -> tuple[str, Dataset, io.BytesIO]:
    """Read attributes of a DICOM file that lie before its pixels.

    Args:
        data: All bytes of the file.
        tags: The attributes.

    Returns:
        The transfer syntax, the attributes, and the inflated file at the element of the pixels.

    Raises:
        PhotoError: The transfer syntax is not one of COLORS, or the file is damaged, cut off or too large.
        Exception: Whatever pydicom raises for a damaged file.
    """
    file = _Bounded(data)
    file.seek(DATA_AT)
    meta = read_dataset(
        file, False, True, stop_when=lambda tag, *_: tag.group != 2, specific_tags=[BaseTag(0x00020010)]
    )
    syntax = _text(meta, 0x00020010)
    if syntax not in COLORS:
        known = uid.UID(syntax).name
        name = known if known != syntax else "unknown"
        raise unsupported(f"this DICOM file has an unsupported transfer syntax ({name})")
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        file = _Bounded(_inflated(data[file.tell() :]))
    is_implicit = syntax == uid.ImplicitVRLittleEndian
    attributes = read_dataset(
        file,
        is_implicit,
        True,
        stop_when=lambda tag, *_: tag >= PIXELS_FROM,
        specific_tags=[BaseTag(tag) for tag in tags],
    )
    return syntax, attributes, file


def _inflated(part: bytes) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    content = stream.decompress(part, MAX_INFLATED + 1)
    if len(content) > MAX_INFLATED:
        raise PhotoError(
            f"the DICOM file inflates to more than {MAX_INFLATED >> 20} MiB; export it as a smaller JPEG",
            "file_too_large",
        )
    if not stream.eof:
        raise cut_off()
    return content


def _read(data: bytes) -> DicomPicture:
    syntax, attributes, file = read_attributes(data, list(TAGS.values()))
    sop_class = _text(attributes, TAGS["SOPClassUID"])
    if sop_class not in PHOTOGRAPHS:
        known = uid.UID(sop_class).name if sop_class else ""
        raise unsupported(f"this DICOM file is no photograph ({known if known != sop_class else 'unknown'})")
    color = _text(attributes, TAGS["PhotometricInterpretation"])
    _require_color_picture(attributes, color, syntax)
    _require_square_pixels(attributes)
    width, height = (_number(attributes, TAGS[name]) for name in ("Columns", "Rows"))
    profile = _value(attributes, TAGS["ICCProfile"])
    content, is_encapsulated = _pixel_data(file, syntax == uid.ImplicitVRLittleEndian)
    if is_encapsulated == (syntax in NATIVE):
        raise damaged()
    found = partial(DicomPicture, width, height, profile)
    if syntax == uid.JPEGBaseline8Bit:
        _require_known_color(content, color)
        return found(jpeg=content)
    if syntax == uid.RLELossless:
        return found(pixels=partial(_from_rle, content, width, height, color))
    if syntax in PACKAGES:
        if _coded_size(content) != (width, height, 3, 8):
            raise damaged()
        if not get_decoder(syntax).is_available:
            package = PACKAGES[syntax]
            raise unsupported(
                f"this DICOM file holds {uid.UID(syntax).name}",
                f"pip install {package}, or export it as JPEG",
            )
        pixels = partial(_by_plugin, content, width, height, color, syntax)
        return found(pixels=pixels, held=HELD_BY_PLUGINS[syntax])
    size = width * height * (2 if color == "YBR_FULL_422" else 3)
    if len(content) < size:
        raise cut_off()
    is_planar = _number(attributes, TAGS["PlanarConfiguration"]) == 1 and color != "YBR_FULL_422"
    pixels = partial(_native, content[:size], width, height, color, is_planar)
    return found(pixels=pixels, has_surplus=len(content) > size + size % 2)


def _require_color_picture(attributes: Dataset, color: str, syntax: str) -> None:
    """Raise PhotoError unless there is one picture of three channels of 8 bits."""
    frames = _text(attributes, TAGS["NumberOfFrames"]) or "1"
    if frames.strip() != "1":
        raise unsupported("this DICOM file holds several frames", "export the one that shows the lesion")
    bits = _number(attributes, TAGS["BitsAllocated"]), _number(attributes, TAGS["BitsStored"])
    if bits != (8, 8) or _number(attributes, TAGS["PixelRepresentation"]) != 0:
        raise unsupported("this DICOM file has not 8 bits a channel")
    if color not in COLORS[syntax] or _number(attributes, TAGS["SamplesPerPixel"]) != 3:
        raise unsupported("this DICOM file is grey, has a palette, or has its colours coded in another way")


def _require_square_pixels(attributes: Dataset) -> None:
    """Raise PhotoError for pixels that are not square: the lesion would be assessed out of shape."""
    for name in ("PixelAspectRatio", *SPACINGS):  # each vertical, then horizontal (PS3.3, 10.7.1)
        text = _text(attributes, TAGS[name])
        if not text:
            continue
        try:
            height, width = map(float, text.split("\\"))
        except ValueError:
            raise damaged() from None
        if not 0 < max(height, width) <= MOST_STRETCHED * min(height, width):
            raise unsupported(
                f"this DICOM file has pixels that are not square ({name})", "export it with square pixels"
            )


def _pixel_data(file: io.BytesIO, is_implicit: bool) -> tuple[bytes, bool]:
    """Return the frame or the native pixels, and whether they were encapsulated (PS3.5, 7.1 and A.4)."""
    head = file.read(8 if is_implicit else 12)
    try:
        tag, vr, length = (
            (*struct.unpack("<I", head[:4]), b"OW", *struct.unpack("<I", head[4:]))
            if is_implicit
            else struct.unpack("<I2s2xI", head)
        )
    except struct.error:
        raise cut_off() from None
    if tag != 0x0010_7FE0 or vr not in (b"OB", b"OW"):
        raise damaged()
    if length != UNDEFINED:
        return file.read(length), False
    try:
        frames = list(itertools.islice(generate_frames(file, number_of_frames=1), 2))
    except (ValueError, EOFError, struct.error):
        raise cut_off() from None
    if len(frames) != 1:
        raise damaged()
    return frames[0], True


def _require_known_color(jpeg: bytes, color: str) -> None:
    """Raise PhotoError where a JPEG does not say that it is RGB although its DICOM file does.

    Decoders believe the JPEG's own markers, and take it for YCbCr where it has none. Files that are labelled
    RGB and hold YCbCr are common, so neither can be trusted alone.
    """
    if color != "RGB":
        return
    frame_at = read_segments(jpeg).layout.size_at
    is_marked = re.search(rb"\xff\xe0..JFIF\0|\xff\xee..Adobe", jpeg[:frame_at], re.DOTALL)
    if not is_marked and jpeg[frame_at + 5 : frame_at + 14 : 3] != b"RGB":
        raise unsupported("this DICOM file is labelled RGB, and the JPEG within does not say whether it is")


def _coded_size(frame: bytes) -> tuple[int, int, int, int] | None:
    """Width, height, channels and bits of a JPEG 2000 or JPEG-LS picture; None if it is neither."""
    if frame.startswith(b"\xff\x4f\xff\x51"):  # SOC, SIZ (ITU-T T.800, A.5.1)
        right, bottom, left, top = struct.unpack_from(">4I", frame, 8)
        channels, bits = struct.unpack_from(">HB", frame, 40)
        return right - left, bottom - top, channels, bits + 1
    at = frame.find(b"\xff\xf7")  # SOF55 (ITU-T T.87, C.2.2)
    if not frame.startswith(b"\xff\xd8") or at < 0:
        return None
    bits, height, width, channels = struct.unpack_from(">BHHB", frame, at + 4)
    return width, height, channels, bits


def _native(content: bytes, width: int, height: int, color: str, is_planar: bool) -> Image:
    """Uncompressed pixels (PS3.3, C.7.6.3.1.2) as uint8 BGR (height, width, 3)."""
    values = np.frombuffer(content, np.uint8)
    if color == "YBR_FULL_422":  # two pixels: Y, Y, Cb, Cr
        if width % 2:
            raise damaged()
        pairs = values.reshape(height, width // 2, 4)
        pixels = np.empty((height, width, 3), np.uint8)
        pixels[..., 0] = pairs[..., :2].reshape(height, width)
        pixels[..., 1] = np.repeat(pairs[..., 2], 2, axis=1)
        pixels[..., 2] = np.repeat(pairs[..., 3], 2, axis=1)
    elif is_planar:
        pixels = values.reshape(3, height, width).transpose(1, 2, 0)
    else:
        pixels = values.reshape(height, width, 3)
    if color == "RGB":
        return np.ascontiguousarray(pixels[..., ::-1])
    # OpenCV's order is Y, Cr, Cb.
    swapped = np.ascontiguousarray(pixels[..., [0, 2, 1]])
    return np.asarray(cv2.cvtColor(swapped, cv2.COLOR_YCrCb2BGR), dtype=np.uint8)


def _from_rle(frame: bytes, width: int, height: int, color: str) -> Image:
    """RLE (PS3.5, G): a segment of PackBits for each channel."""
    if len(frame) < 64:
        raise cut_off()
    count, *offsets = struct.unpack_from("<4I", frame)
    if count != 3 or offsets[0] != 64 or not offsets[0] <= offsets[1] <= offsets[2] <= len(frame):
        raise damaged()
    size = width * height
    ends = [*offsets[1:], len(frame)]
    channels = [unpack_bits(frame[a:b], size)[:size] for a, b in zip(offsets, ends, strict=True)]
    if any(len(channel) < size for channel in channels):
        raise cut_off()
    return _native(b"".join(channels), width, height, color, is_planar=True)


def _by_plugin(frame: bytes, width: int, height: int, color: str, syntax: str) -> Image:
    """JPEG-LS or JPEG 2000, by a package that pydicom knows."""
    options: Any = {
        "rows": height,
        "columns": width,
        "samples_per_pixel": 3,
        "photometric_interpretation": color,
        "planar_configuration": 0,
        "bits_allocated": 8,
        "bits_stored": 8,
        "pixel_representation": 0,
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    try:
        with quiet():
            pixels, properties = get_decoder(syntax).as_array(encapsulate([frame]), index=0, **options)
    except MemoryError:
        raise
    except Exception:
        raise damaged() from None
    if properties["photometric_interpretation"] != "RGB":
        raise damaged()
    return np.ascontiguousarray(pixels[..., ::-1])


def _value(attributes: Dataset, tag: int) -> bytes:
    """The value as it lies in the file; empty for none. It is not converted, which could warn."""
    if tag not in attributes:
        return b""
    element = attributes.get_item(tag, keep_deferred=True)
    if not isinstance(element, RawDataElement):
        raise damaged()
    if element.length != len(element.value or b""):
        raise cut_off()
    return element.value or b""


def _text(attributes: Dataset, tag: int) -> str:
    return _value(attributes, tag).decode("ascii", "replace").rstrip("\0 ")


def _number(attributes: Dataset, tag: int) -> int:
    value = _value(attributes, tag)
    return int(struct.unpack("<H", value)[0]) if value else 0
