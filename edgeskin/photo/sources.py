"""The photos that a list of paths names."""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"),
    *(".heic", ".heif", ".avif", ".tif", ".tiff", ".gif", ".dcm", ".dng"),
    *(".jp2", ".jxl", ".psd", ".cr2", ".cr3", ".nef", ".arw"),
}
"""File names that count as photos in a folder, in lower case.

Unsupported formats are among them, so that each such file gives an error by name instead of being skipped.
"""

SYSTEM_FILES = {"thumbs.db", ".ds_store", "desktop.ini", "__macosx"}
"""What operating systems leave in folders, in lower case; so do names that start with ``._``."""

_log = logging.getLogger(__name__)


def photos_in(paths: Iterable[Path]) -> Iterator[Path]:
    """Expand folders to the photos directly inside them.

    Logs a warning for each folder that holds other files beside its photos, or sub-folders.

    Args:
        paths: Files and folders.

    Yields:
        Each file as it is named, and all of each folder that is named like a photo, sorted by name. What is
        no regular file (a dangling link, a FIFO, a folder) is among these, so that it gives an error by name.
        A folder that holds no photo or cannot be listed is yielded itself; decoding it gives an error that
        names it.
    """
    for path in paths:
        photos: list[Path] = []
        with contextlib.suppress(OSError):
            if path.is_dir():
                photos = _photos_in(path)
        yield from photos or [path]


def is_system_file(name: str) -> bool:
    """Whether a file or folder of this name is what an operating system leaves beside a user's files."""
    return name.lower() in SYSTEM_FILES or name.startswith("._")


def _photos_in(folder: Path) -> list[Path]:
    """What is named like a photo directly in a folder, sorted. Raises OSError if it cannot be listed."""
    photos, skipped, folders = [], 0, 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_system_file(entry.name):
                skipped += 1
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                photos.append(folder / entry.name)
            elif _is_folder(entry):
                folders += 1
            else:
                skipped += 1
    if photos and skipped:
        _log.warning("%s: skipped %d file(s) not named as pictures", folder, skipped)
    if folders:
        _log.warning("%s: contains %d sub-folder(s), which are not read; name them", folder, folders)
    return sorted(photos)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False
