"""Decoding of a file, bytes or an array to an upright RGB picture.

Files that would exhaust memory or time are refused before they are decoded.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from edgeskin.arrays import Image
from edgeskin.errors import PhotoError, lack_of_resources, naming_lacks
from edgeskin.photo.color_profile import read_profile
from edgeskin.photo.formats import FileFormat, damaged
from edgeskin.photo.headers import Header, read_header
from edgeskin.photo.jpeg_integrity import require_whole
from edgeskin.photo.jpeg_seams import looks_torn
from edgeskin.photo.tiff_pixels import read_pixels
from edgeskin.photo.webp_integrity import require_whole_webp

Source = str | os.PathLike[str] | bytes | Image
"""A path, the bytes of a picture file, or uint8 RGB of shape (h, w, 3).

Files are JPEG, PNG, WebP, BMP or TIFF; DICOM and HEIC with the extras of these names.
"""

MAX_BYTES = 64 * 2**20
"""Size of a file, bytes."""
MAX_PIXELS = 110_000_000
"""Pixels of a JPEG that is decoded row by row, at a reduced scale."""
MAX_HELD = 204_000_000
"""Bytes that decoding any other file holds at once: 34 megapixels of 3 channels, 25.5 of 4, and half as many
of 16 bits."""
MIN_SIDE, MAX_SIDE = 32, 16_384
"""Shortest and longest side of a picture, pixels."""

REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}
"""OpenCV's flags of the reduced scales of JPEG, by the divisor of the sides, smallest picture first."""
BAND = 256
"""Rows that are converted at once, which bounds the memory of the copies; a multiple of every divisor."""


Decoder = Callable[[bytes, int], "Photo"]
"""Decodes the bytes of a file, given the side of the network's input."""


@dataclass(frozen=True)
class Photo:
    """A decoded picture, upright.

    Attributes:
        image: uint8 RGB (h, w, 3), contiguous. A file may be decoded to 1/2, 1/4 or 1/8 of its size.
        width: Pixels a row of the upright picture at full size.
        height: Rows of the upright picture at full size.
        format: The format found in the bytes, whatever the file's name says; ``array`` for an array.
        transparent: Share of pixels that are mostly transparent, 0 to 1.
        may_be_damaged: Whether parts of the picture hardly fit together, as in a damaged JPEG, or the file is
            longer than its header says.
    """

    image: Image
    width: int
    height: int
    format: FileFormat | Literal["array"]
    transparent: float = 0.0
    may_be_damaged: bool = False


def load_photo(source: Source, input_size: int, decoder: Decoder | None = None) -> Photo:
    """Read and decode a picture.

    Args:
        source: A path, the bytes of a file, or uint8 RGB (h, w, 3).
        input_size: Side of the network's square input, pixels.
        decoder: What decodes the bytes; None for `decode`.

    Raises:
        PhotoError: The picture is missing, in an unsupported format, damaged, cut off, too large (MAX_BYTES,
            MAX_PIXELS, MAX_HELD, MAX_SIDE) or too small (MIN_SIDE). The message names the file; the code
            says which.
        ResourceError: Memory is short (code ``out_of_memory``).
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if not isinstance(source, str | os.PathLike | bytes):
        raise PhotoError(
            f"{type(source).__name__}: not a picture; pass a path, bytes or a uint8 RGB array (h, w, 3)",
            "wrong_type",
        )
    name = "<bytes>" if isinstance(source, bytes) else os.fspath(source)
    try:
        with naming_lacks(name):
            return (decoder or decode)(read_bytes(source), input_size)
    except PhotoError as error:
        raise PhotoError(f"{name}: {error}", error.code) from error.__cause__


def decode(data: bytes, input_size: int) -> Photo:
    """Decode the bytes of a file.

    A file is decoded to a reduced scale as long as its short side keeps at least twice ``input_size``.
    Transparent pixels are blended with white. 16-bit channels become 8-bit. Colours are converted to sRGB if
    the file carries a profile (see `edgeskin.photo.color_profile`).

    Args:
        data: All bytes of the file.
        input_size: See `load_photo`.

    Raises:
        PhotoError: As `load_photo`, without the file's name.
        MemoryError: Memory is short; or cv2.error, as `edgeskin.errors.lack_of_resources` finds.
    """
    header = read_header(data)
    _check_size(header.width, header.height, header.held)
    image, transparent, may_be_damaged = _decode(header, input_size)
    profile = read_profile(header.profile)
    if profile is not None:
        image = profile.to_srgb(image)
    width, height = header.width, header.height
    if header.orientation >= 5:
        width, height = height, width
    upright = _make_upright(image, header.orientation)
    return Photo(upright, width, height, header.format, transparent, may_be_damaged)


def _from_array(array: Image) -> Photo:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise PhotoError(
            f"<ndarray>: dtype {array.dtype}, shape {array.shape}; pass uint8 RGB of shape (h, w, 3)",
            "wrong_array",
        )
    height, width = array.shape[:2]
    try:
        _check_size(width, height, held=4)
    except PhotoError as error:
        raise PhotoError(f"<ndarray>: {error}", error.code) from None
    return Photo(np.ascontiguousarray(array), width, height, "array")


def read_bytes(source: str | os.PathLike[str] | bytes) -> bytes:
    """The bytes themselves, or those of a regular file.

    Raises:
        PhotoError: There are none, or more than MAX_BYTES; or the file is missing, of another kind, or cannot
            be read. The message does not name it.
    """
    if isinstance(source, bytes):
        data = source
    else:
        path = Path(source)
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                # Raises PermissionError where this user may not list it, and so sees no pictures in it.
                os.scandir(path).close()
                raise PhotoError("this is a folder without pictures, or one picture is needed", "is_folder")
            # Opening a FIFO can block for ever, and a device never ends.
            if not stat.S_ISREG(status.st_mode):
                raise PhotoError("this is not a regular file; copy the picture to a file", "not_a_file")
            with path.open("rb") as file:
                # Python sets aside as many bytes as it is asked to read.
                data = file.read(min(max(status.st_size, 2**20), MAX_BYTES) + 1)
        except FileNotFoundError as error:
            raise PhotoError("there is no such file; check the path", "not_found") from error
        except (OSError, ValueError) as error:
            raise PhotoError(
                f"the file cannot be read ({error}); check the path and its permissions", "unreadable"
            ) from error
    if not data:
        raise PhotoError("the file is empty; copy or send it again", "empty_file")
    if len(data) > MAX_BYTES:
        raise PhotoError(
            f"the file is larger than {MAX_BYTES >> 20} MiB; export it as a smaller JPEG", "file_too_large"
        )
    return data


def _check_size(width: int, height: int, held: int) -> None:
    """Raise PhotoError if a picture is too small or too large to decode. See `Header` for the arguments."""
    size = f"the picture has {width} x {height} pixels"
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"{size}, but the short side must have at least {MIN_SIDE}; take a larger picture", "too_small"
        )
    if max(width, height) > MAX_SIDE:
        raise PhotoError(
            f"{size}, but the long side may have at most {MAX_SIDE}; crop it to the lesion", "side_too_long"
        )
    limit = MAX_HELD // held if held else MAX_PIXELS
    if width * height > limit:
        raise PhotoError(
            f"{size}, but the limit for this kind of file is {limit / 1e6:g} megapixels; make it smaller",
            "too_many_pixels",
        )


def _decode(header: Header, input_size: int) -> tuple[Image, float, bool]:
    """Decode to uint8 RGB (h, w, 3), in the orientation in which the pixels are stored.

    Returns:
        The picture, the share of its pixels that are mostly transparent, and whether it may be damaged.
    """
    short_side = min(header.width, header.height)
    scale = next((s for s in REDUCED if short_side // s >= 2 * input_size), 1)
    decoded_scale = scale if header.jpeg is not None else 1
    flags = cv2.IMREAD_COLOR if header.format == "bmp" else cv2.IMREAD_UNCHANGED  # with the alpha channel
    if header.jpeg is not None:
        flags = REDUCED[scale]
    pixels = header.width * header.height
    memory = header.held * pixels + 6 * pixels // scale**2
    _require_memory(memory)
    if header.jpeg is not None:
        require_whole(header.encoded, header.jpeg)
    if header.format == "webp":
        require_whole_webp(header.encoded)
    try:
        if header.pixels is not None:
            image: cv2.typing.MatLike | None = header.pixels()
        elif header.tiff is not None:
            image = read_pixels(header.encoded, header.tiff)[..., ::-1]
        else:
            encoded = np.frombuffer(header.encoded, np.uint8)
            # OpenCV's versions differ in which formats they orient, so _make_upright does it for all.
            image = cv2.imdecode(encoded, flags | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            _require_memory(memory)
            raise damaged()
        if image.shape[:2] != (-(-header.height // decoded_scale), -(-header.width // decoded_scale)):
            raise damaged()
        may_be_damaged = header.has_surplus or (
            header.jpeg is not None and looks_torn(np.asarray(image, np.uint8), header.jpeg, scale)
        )
        return (*_to_rgb(image, scale // decoded_scale), may_be_damaged)
    except cv2.error as error:
        if lack_of_resources(error):
            raise
        raise damaged() from error


def _require_memory(size: int) -> None:
    """Raise MemoryError unless the system grants so many bytes. None is kept, and none is touched.

    Some decoders report a lack of memory as damage. A limit of the address space shows here; that of a
    container does not.
    """
    try:
        np.empty(size, np.uint8)
    except MemoryError as error:
        raise MemoryError(f"the picture needs {size / 1e6:.0f} MB") from error


def _to_rgb(image: cv2.typing.MatLike, scale: int) -> tuple[Image, float]:
    """Convert grey (h, w), BGR or BGRA (h, w, c) of 8 or 16 bits to uint8 RGB, its sides divided by a scale.

    Bands of rows bound the memory of the copies.

    Returns:
        The picture, and the share of its pixels that are mostly transparent.
    """
    height, width = (-(-side // scale) for side in image.shape[:2])
    rgb = np.empty((height, width, 3), np.uint8)
    transparent = 0
    for top in range(0, len(image), BAND):
        band = image[top : top + BAND]
        if band.dtype == np.uint16:
            band = cv2.convertScaleAbs(band, alpha=1 / 257)
        if band.ndim == 3 and band.shape[2] == 4:
            transparent += int(np.count_nonzero(band[..., 3] < 128))
        band = _opaque(band)
        if scale > 1:
            band = cv2.resize(band, (width, -(-len(band) // scale)), interpolation=cv2.INTER_AREA)
        rgb[top // scale :][: len(band)] = band
    return rgb, transparent / (image.shape[0] * image.shape[1])


def _opaque(band: cv2.typing.MatLike) -> cv2.typing.MatLike:
    """Convert rows of 8 bits to RGB, blended with white where they are transparent."""
    if band.ndim == 2:
        return cv2.cvtColor(band, cv2.COLOR_GRAY2RGB)
    rgb = cv2.cvtColor(band, cv2.COLOR_BGR2RGB)
    if band.shape[2] == 4:
        # Without alpha, the hidden colour of transparent pixels would show. Viewers and printers show white.
        alpha = band[..., 3:].astype(np.uint16)
        rgb = ((rgb * alpha + (255 - alpha) * 255 + 127) // 255).astype(np.uint8)
    return rgb


def _make_upright(image: Image, orientation: int) -> Image:
    """Undo an EXIF orientation (1 to 8; EXIF 2.3, 4.6.4): flip the axes, then swap them."""
    if orientation in (2, 3, 7, 8):
        image = image[:, ::-1]
    if orientation in (3, 4, 6, 7):
        image = image[::-1]
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    return np.ascontiguousarray(image)
