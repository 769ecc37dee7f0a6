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


def write_whole(output: Path, content: bytes, mode: int = 0o666, *, durable: bool = False) -> None:
    """Write a file at once; arguments and errors as `opened_whole`."""
    with opened_whole(output, mode, durable=durable) as file:
        file.write(content)


@contextlib.contextmanager
def opened_whole(
    output: Path, mode: int = 0o666, *, durable: bool = False, folder: Path | None = None
) -> Iterator[BinaryIO]:
    """Open a file that is there whole or not at all, whenever the process ends.

    It is written beside its place, under a name that starts with ``.edgeskin-``, and then moved there. What
    is no regular file, as a device or a link to one, is written where it is.

    Args:
        output: The file.
        mode: Permissions of a file that is made, of which the process's umask takes some away.
        durable: Whether to wait until the file is on the disk, so that it outlives a loss of power.
        folder: Where it is written before it is moved, on the same disk; None for beside its place.

    Raises:
        ResourceError: It cannot be written; what was there before is kept.
    """
    part = (folder or output.parent) / f".edgeskin-{secrets.token_hex(8)}.part"
    try:
        if os.path.lexists(output) and not stat.S_ISREG(output.lstat().st_mode):
            with output.open("wb") as file:
                yield file
            return
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
            with os.fdopen(descriptor, "wb") as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(output)
            if durable:
                _sync_folder(output.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"{output}: cannot be written ({reason}); make room, or name another place", "not_written"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk, where the system can; Windows cannot."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
