"""The files that match a pattern such as ``photos/**/*.jpg``, found folder by folder."""

import fnmatch
import glob
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeskin.photo.sources import is_folder

ANY_FOLDERS = "**"

_log = logging.getLogger(__name__)


def matching(pattern: str, *, quiet: bool = False) -> Iterator[Path]:
    """The files that match a pattern, with one folder's names in memory at once.

    ``*``, ``?`` and ``[...]`` stand for parts of a name, and match hidden names only after a dot. ``**``
    stands for any number of folders. As `glob.glob`, except that ``**`` follows no links, which can lead
    round in circles, and that no file comes twice.

    Args:
        pattern: As users type it.
        quiet: Whether to log nothing about links that are not followed.

    Yields:
        The files of each folder by name, then those of its sub-folders. A folder that matches and cannot
        hold further matches, and one that cannot be listed.
    """
    parts = Path(pattern).parts
    fixed = tuple(itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    rest = parts[len(fixed) :]
    if rest[-1:] == (ANY_FOLDERS,):
        rest = (*rest, "*")
    top = Path(*fixed)
    if os.path.isdir(top):  # noqa: PTH112  (Path's raises for a name that is too long)
        yield from _walk(top, rest, {0}, quiet)


def _walk(folder: Path, parts: Sequence[str], places: set[int], quiet: bool) -> Iterator[Path]:
    """The matches in a folder.

    Args:
        folder: Its path has matched the parts before the places.
        parts: Of the pattern.
        places: Of the parts that come next: several where there were ``**``.
        quiet: As `matching`.
    """
    for place in range(len(parts)):  # ** may stand for no folder at all
        if place in places and parts[place] == ANY_FOLDERS:
            places = places | {place + 1}
    is_deep = any(parts[place] == ANY_FOLDERS for place in places)
    below: list[tuple[str, set[int]]] = []
    unread = 0
    try:
        with os.scandir(folder) as entries:
            found = sorted((one.name, is_folder(one), one.is_symlink()) for one in entries)
    except OSError:
        yield folder
        return
    for name, has_entries, is_link in found:
        if is_deep and has_entries and is_link:
            unread += 1
            continue
        following = {place + (parts[place] != ANY_FOLDERS) for place in places if _fits(name, parts[place])}
        is_match = len(parts) in following
        following.discard(len(parts))
        if has_entries and following:
            below.append((name, following))
        elif is_match:
            yield folder / name
    if unread and not quiet:
        _log.warning("%s: contains %d linked folder(s), which are not read; name them", folder, unread)
    for name, following in below:
        yield from _walk(folder / name, parts, following, quiet)


def _fits(name: str, part: str) -> bool:
    """Whether a name fits a part of a pattern."""
    if name.startswith(".") and not part.startswith("."):
        return False
    return part == ANY_FOLDERS or fnmatch.fnmatch(name, part)
