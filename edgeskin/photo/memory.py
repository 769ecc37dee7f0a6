"""A lack of memory, wherever it shows, as an error that names the photo."""

import contextlib
from collections.abc import Iterator

import cv2
import numpy as np

from edgeskin.errors import ResourceError

WAY_OUT = "close other programs, allow this process more memory, or export the picture as a smaller JPEG"


@contextlib.contextmanager
def memory_errors(name: str) -> Iterator[None]:
    """Raise ResourceError (code ``out_of_memory``) where Python, numpy or OpenCV lacks memory.

    Args:
        name: Of the photo.
    """
    try:
        yield
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and not lacks_memory(error):
            raise
        detail = str(getattr(error, "err", error))
        raise ResourceError(
            f"{name}: memory is short{detail and f' ({detail})'}; {WAY_OUT}", "out_of_memory"
        ) from error


def lacks_memory(error: cv2.error) -> bool:
    """Whether OpenCV failed for lack of memory."""
    return getattr(error, "code", None) == cv2.Error.StsNoMem or "bad_alloc" in str(error)


def require_memory(size: int) -> None:
    """Raise MemoryError unless the system grants so many bytes. None is kept, and none is touched.

    Some decoders report a lack of memory as damage. A limit of the address space shows here; that of a
    container does not.
    """
    try:
        np.empty(size, np.uint8)
    except MemoryError as error:
        raise MemoryError(f"the picture needs {size / 1e6:.0f} MB") from error
