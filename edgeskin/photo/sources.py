"""The photos that a list of paths names."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"),
    *(".heic", ".heif", ".avif", ".tif", ".tiff", ".gif", ".dcm", ".dng"),
}
"""File names that count as photos in a folder, in lower case.

Unsupported formats are among them, so that each such file gives an error by name instead of being skipped.
"""

_log = logging.getLogger(__name__)


def photos_in(paths: Iterable[Path]) -> Iterator[Path]:
    """Expand folders to the photos directly inside them.

    Logs a warning where a folder with photos holds other files too.

    Args:
        paths: Files and folders.

    Yields:
        Each file as it is named, and the photos of each folder, sorted by name. A folder that holds no photo
        or cannot be listed is yielded itself; decoding it gives an error that names it.
    """
    for path in paths:
        photos: list[Path] = []
        with contextlib.suppress(OSError):
            if path.is_dir():
                files = [child for child in path.iterdir() if child.is_file()]
                photos = sorted(child for child in files if child.suffix.lower() in SUFFIXES)
                if photos and len(files) > len(photos):
                    skipped = len(files) - len(photos)
                    _log.warning("%s: skipped %d file(s) not named as pictures", path, skipped)
        yield from photos or [path]
