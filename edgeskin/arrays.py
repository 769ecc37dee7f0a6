"""The bundle's .npz files: float32 arrays of known names and shapes, nothing else."""

import io
import zipfile
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgeskin.errors import BundleError

Floats = npt.NDArray[np.float32]


def read_arrays(content: bytes, name: str, shapes: Mapping[str, str]) -> dict[str, Floats]:
    """The arrays of a file, by name.

    shapes: a letter for each side, the same letter for the same length everywhere; a digit is a length.
    Raises BundleError naming the file when an array is missing, of another type or shape, or not finite.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # Stored as they are: what is compressed could fill the memory.
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
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{name}: not the arrays of a bundle ({error}); pack the bundle anew") from error
    return values
