"""From a file, bytes or an array to an upright RGB picture, refusing what would hurt before decoding it."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Image
from edgeskin.errors import PhotoError
from edgeskin.photo.headers import CUT_OFF, DAMAGED, FileFormat, Header, read_header

Source = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8]
"""A path, the bytes of a JPEG, PNG, WebP or BMP file, or uint8 RGB of shape (h, w, 3)."""

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000
"""Of a JPEG that is decoded row by row; half of it for other files, a quarter for 16-bit PNG."""
MIN_SIDE, MAX_SIDE = 32, 16_384

REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}


@dataclass(frozen=True)
class Photo:
    """A decoded picture.

    image: uint8 RGB (h, w, 3), contiguous, turned upright, possibly decoded at 1/2, 1/4 or 1/8.
    width, height: pixels of the file or array as stored, turned upright, before any reduction.
    format: the file's format, whatever its name says; ``array`` for an array.
    """

    image: Image
    width: int
    height: int
    format: FileFormat | Literal["array"]


def load_photo(source: Source, input_size: int) -> Photo:
    """Decode a picture for a network whose square input has `input_size` pixels a side.

    JPEG is decoded at a reduced scale while its short side stays at least twice `input_size`.
    Transparency is laid on white; 16 bits become 8. Raises PhotoError, naming the file, when it is
    missing, no picture, damaged, cut off, too large (MAX_BYTES, MAX_PIXELS, MAX_SIDE) or too small
    (MIN_SIDE).
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if not isinstance(source, str | os.PathLike | bytes):
        raise PhotoError(f"{type(source).__name__}: give a path, bytes or a uint8 RGB array (h, w, 3)")
    name = "<bytes>" if isinstance(source, bytes) else os.fspath(source)
    try:
        header = read_header(_read_bytes(source))
        _check_size(header.width, header.height, header.cost)
        image = _turn_upright(_decode(header, input_size), header.orientation)
    except PhotoError as error:
        raise PhotoError(f"{name}: {error}") from error.__cause__
    width, height = header.width, header.height
    if header.orientation >= 5:
        width, height = height, width
    return Photo(image, width, height, header.format)


def _from_array(array: npt.NDArray[np.uint8]) -> Photo:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise PhotoError(
            f"<ndarray>: dtype {array.dtype}, shape {array.shape}; give uint8 RGB of shape (height, width, 3)"
        )
    height, width = array.shape[:2]
    try:
        _check_size(width, height, cost=1)
    except PhotoError as error:
        raise PhotoError(f"<ndarray>: {error}") from None
    return Photo(np.ascontiguousarray(array), width, height, "array")


def _read_bytes(source: str | os.PathLike[str] | bytes) -> bytes:
    """The bytes themselves, or those of a regular file, at most MAX_BYTES of them."""
    if isinstance(source, bytes):
        data = source
    else:
        path = Path(source)
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise PhotoError(
                    "this is a folder: name the pictures in it, or a folder that holds some itself"
                )
            # Opening a FIFO waits for ever, and a device has no end.
            if not stat.S_ISREG(status.st_mode):
                raise PhotoError("this is not a regular file: copy the picture to a file first")
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError as error:
            raise PhotoError("there is no such file: check the path") from error
        except (OSError, ValueError) as error:
            raise PhotoError(
                f"the file cannot be read ({error}): check the path and its permissions"
            ) from error
    if not data:
        raise PhotoError("the file is empty: copy or send it again")
    if len(data) > MAX_BYTES:
        raise PhotoError(f"the file is larger than {MAX_BYTES >> 20} MiB: export it as a smaller JPEG")
    return data


def _check_size(width: int, height: int, cost: int) -> None:
    size = f"the picture has {width} x {height} pixels"
    if min(width, height) < MIN_SIDE:
        raise PhotoError(f"{size}, the short side must have at least {MIN_SIDE}: take a larger picture")
    if max(width, height) > MAX_SIDE:
        raise PhotoError(f"{size}, the long side may have {MAX_SIDE}: crop it to the lesion")
    limit = MAX_PIXELS // cost
    if width * height > limit:
        raise PhotoError(f"{size}, of its kind at most {limit / 1e6:g} megapixels are read: make it smaller")


def _decode(header: Header, input_size: int) -> Image:
    """Decode to uint8 RGB (h, w, 3), not turned yet."""
    scale = 1
    if header.format == "jpeg":
        short_side = min(header.width, header.height)
        scale = next((s for s in REDUCED if short_side // s >= 2 * input_size), 1)
    flags = REDUCED[scale]
    if header.format in ("png", "webp"):
        flags = cv2.IMREAD_UNCHANGED  # with the alpha channel
    try:
        # Which formats OpenCV turns depends on its version, so that is left to _turn_upright.
        image = cv2.imdecode(np.frombuffer(header.encoded, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise PhotoError(DAMAGED) from error
    if image is None or image.shape[:2] != (-(-header.height // scale), -(-header.width // scale)):
        raise PhotoError(DAMAGED)
    # libjpeg goes on without data that are missing and paints the rest in the middle of the range.
    if header.format == "jpeg" and (image[-1] == 128).all():
        raise PhotoError(CUT_OFF)
    try:
        return _to_rgb(image)
    except cv2.error as error:
        raise PhotoError(DAMAGED) from error


def _to_rgb(image: cv2.typing.MatLike) -> Image:
    """Gray (h, w), BGR or BGRA (h, w, c) of 8 or 16 bits to uint8 RGB (h, w, 3)."""
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
    if image.ndim == 2:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    if image.shape[2] == 4:
        # Dropping alpha would show whatever colour is hidden where nothing is to be seen; white is
        # what viewers and printers put there. By bands of rows, to keep the memory small.
        for top in range(0, len(image), 256):
            band = slice(top, top + 256)
            alpha = image[band, :, 3:].astype(np.uint16)
            rgb[band] = (rgb[band] * alpha + (255 - alpha) * 255 + 127) // 255
    return rgb


def _turn_upright(image: Image, orientation: int) -> Image:
    """Undo an EXIF orientation (1 to 8; EXIF 2.3, 4.6.4): mirror the axes, then swap them."""
    if orientation in (2, 3, 7, 8):
        image = image[:, ::-1]
    if orientation in (3, 4, 6, 7):
        image = image[::-1]
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    return np.ascontiguousarray(image)
