"""The photos that a list of paths names."""

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

RECURSIVE = ", or add --recursive with --out"
"""What reads sub-folders, for messages."""

_log = logging.getLogger(__name__)


def photos_in(paths: Iterable[Path], *, recursive: bool = False, quiet: bool = False) -> Iterator[Path]:
    """Expand folders to the photos inside them.

    Logs a warning for each folder that holds other files beside its photos, or sub-folders that are not read.

    Args:
        paths: Files and folders.
        recursive: Whether to read sub-folders too. Links to folders are not followed.
        quiet: Whether to log nothing.

    Yields:
        Each file as it is named, and all of each folder that is named like a photo, sorted by name; then its
        sub-folders, sorted by name. What is no regular file (a dangling link, a FIFO, a folder) is among
        these, so that it gives an error by name. A folder that holds no photo or cannot be listed is yielded
        itself; decoding it gives an error that names it.
    """
    for path in paths:
        is_empty = True
        for photo in _photos_in(path, recursive, quiet):
            is_empty = False
            yield photo
        if is_empty:
            yield path


def is_system_file(name: str) -> bool:
    """Whether a file or folder of this name is what an operating system leaves beside a user's files."""
    return name.lower() in SYSTEM_FILES or name.startswith("._")


def _photos_in(top: Path, recursive: bool, quiet: bool) -> Iterator[Path]:
    """The photos in a folder, and its sub-folders that cannot be listed; nothing if it is no folder."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            if not folder.is_dir():
                continue
            photos, folders = _entries(folder, recursive, quiet)
        except OSError:
            if folder != top:
                yield folder
            continue
        yield from (folder / name for name in photos)
        waiting += [folder / name for name in reversed(folders)]


def _entries(folder: Path, recursive: bool, quiet: bool) -> tuple[list[str], list[str]]:
    """The names of a folder's photos and of its folders to read, sorted. Raises OSError."""
    photos, folders, skipped, unread = [], [], 0, 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_system_file(entry.name):
                skipped += 1
            elif recursive and is_folder(entry) and not entry.is_symlink():
                folders.append(entry.name)
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                photos.append(entry.name)
            elif is_folder(entry):
                unread += 1
            else:
                skipped += 1
    if skipped and not quiet:
        _log.warning(
            "%s: skipped %d file(s) not named as pictures; with --out, 'folder/*' takes them too",
            folder,
            skipped,
        )
    if unread and not quiet:
        kind, way_out = ("linked folder(s)", "") if recursive else ("sub-folder(s)", RECURSIVE)
        _log.warning(f"%s: contains %d {kind}, which are not read; name them{way_out}", folder, unread)
    return sorted(photos), sorted(folders)


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False
