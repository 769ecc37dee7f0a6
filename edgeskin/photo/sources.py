"""The files that a command line names: pictures in folders, and what is drawn of each."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from edgeskin.errors import SettingError

# Pictures that cannot be read count too: in a folder they are refused by name, not passed over.
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"),
    *(".heic", ".heif", ".avif", ".tif", ".tiff", ".gif", ".dcm", ".dng"),
}


def photos_in(paths: list[Path]) -> Iterator[Path]:
    """The files named, and the photos directly inside the folders named, in order."""
    for path in paths:
        inside = []
        # What cannot be listed, like a folder without pictures, goes on as itself and is refused by name.
        with contextlib.suppress(OSError):
            if path.is_dir():
                files = [child for child in path.iterdir() if child.is_file()]
                inside = sorted(child for child in files if child.suffix.lower() in SUFFIXES)
                if inside and len(files) > len(inside):
                    others = len(files) - len(inside)
                    print(f"{path}: {others} files passed over, not named as pictures", file=sys.stderr)
        yield from inside or [path]


def drawings_of(out: Path | None, photos: list[Path], *others: Path) -> list[Path]:
    """Where each photo's drawing goes; empty without one. Raises SettingError before any work is done."""
    if out is None:
        return []
    if out.is_dir():
        drawings = [out / f"{photo.name}.png" for photo in photos]
        twice = {path for path in drawings if drawings.count(path) > 1}
        if twice:
            names = ", ".join(sorted(path.name for path in twice))
            raise SettingError(f"{out}: several pictures would be drawn into {names}; assess them one by one")
    else:
        if len(photos) > 1 or out.suffix.lower() != ".png":
            raise SettingError(f"{out}: name a PNG file for one picture, or a folder that exists for several")
        if not out.absolute().parent.is_dir():
            raise SettingError(f"{out}: its folder does not exist; make it first")
        drawings = [out]
    spare(drawings, [*photos, *others])
    return drawings


def spare(outs: list[Path], photos: list[Path]) -> None:
    """Raise SettingError where an output would take the place of a photo."""
    for out in outs:
        if out.exists() and any(photo.exists() and out.samefile(photo) for photo in photos):
            raise SettingError(f"{out}: this is the picture itself; name another file")


def remove(outs: list[Path]) -> None:
    """What an earlier run left there is of another picture; called once the settings are known to hold."""
    for out in outs:
        out.unlink(missing_ok=True)
