"""Writing a result to a file that is never seen half written."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edgeskin.errors import ResourceError

PART = ".edgeskin-*.part"
"""What a file is called until it is whole."""
_BINARY = getattr(os, "O_BINARY", 0)  # of Windows
_STREAMS = ("/dev/fd/", "/dev/std", "/proc/")
"""Links in these places stand for an open file: it is written where it is, also if it is a regular one."""


def write_whole(output: Path, content: bytes, mode: int = 0o666, *, durable: bool = False) -> None:
    """Write a file at once; arguments and errors as `opened_whole`."""
    with opened_whole(output, mode, durable=durable) as file:
        file.write(content)


@contextlib.contextmanager
def opened_whole(
    output: Path, mode: int = 0o666, *, durable: bool = False, folder: Path | None = None
) -> Iterator[BinaryIO]:
    """Open a file that is there whole or not at all, whenever the process ends.

    It is written beside its place, under a name that starts with ``.edgeskin-``, and then moved there. Of a
    link, the file that it leads to is replaced. What is no regular file, as a device or a link to one, is
    written where it is.

    Args:
        output: The file.
        mode: Permissions of a file that is made, of which the process's umask takes some away.
        durable: Whether to wait until the file is on the disk, so that it outlives a loss of power.
        folder: Where it is written before it is moved, on the same disk; None for beside its place. That of a
            link is always written beside the file that the link leads to.

    Raises:
        ResourceError: It cannot be written; what was there before is kept.
    """
    try:
        place = _regular(output)
        if place is None:
            with output.open("wb") as file:
                yield file
            return
        beside = folder if folder and place == output else place.parent
        part = beside / f".edgeskin-{secrets.token_hex(8)}.part"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
            with os.fdopen(descriptor, "wb") as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(place)
            if durable:
                sync_folder(place.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"{output}: cannot be written ({reason}); make room, or name another place", "not_written"
        ) from error


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, and its own name, where the system can; Windows cannot."""
    for one in (folder, folder.absolute().parent):  # the folder itself may be new
        with contextlib.suppress(OSError):
            descriptor = os.open(one, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _regular(output: Path) -> Path | None:
    """The regular file that a path leads to, made or not yet; None if it leads to something else.

    Raises:
        OSError: The path cannot be followed, such as a link to itself.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(output.stat().st_mode):
            return None
    place = output
    while place.is_symlink():
        if str(place.absolute()).startswith(_STREAMS):
            return None
        place = place.parent / place.readlink()
    return place
