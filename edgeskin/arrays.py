"""Array types, with the dtype in the name, and the reader of a bundle's ``.npz`` files."""

import io
import zipfile
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgeskin.errors import BundleError

Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
UInt8s = npt.NDArray[np.uint8]

Image = UInt8s
"""A picture: uint8 RGB, shape (h, w, 3), values 0 to 255."""
Mask = Bools
"""A part of a picture: True inside, shape (h, w)."""


def read_arrays(content: bytes, name: str, shapes: Mapping[str, str]) -> dict[str, Float32s]:
    """Read float32 arrays of known names and shapes from a ``.npz`` file.

    Args:
        content: The bytes of the file.
        name: The file's name, for error messages.
        shapes: The shape of each array, by name, with one character a dimension. A digit is that length. A
            letter is any length, and the same letter is the same length in every array.

    Returns:
        The arrays by name, in the order of ``shapes``.

    Raises:
        BundleError: The file is not an uncompressed ``.npz``, or an array is missing, has another dtype or
            shape, or holds a value that is not finite.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # A compressed member of a few bytes could unpack to gigabytes.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("compressed")
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            values = {array: stored[array] for array in shapes}
        sides: dict[str, int] = {}
        for array, shape in shapes.items():
            value = values[array]
            for side, length in zip(shape, value.shape, strict=False):
                sides.setdefault(side, int(side) if side.isdigit() else length)
            if value.dtype != np.float32 or value.shape != tuple(sides.get(side) for side in shape):
                raise ValueError(f"{array} is {value.dtype} {value.shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"{array} is not finite")
    except Exception as error:  # hostile bytes raise many kinds, such as tokenize.TokenError
        raise BundleError(f"{name}: not the arrays of a bundle ({error}); pack the bundle again") from error
    return values
