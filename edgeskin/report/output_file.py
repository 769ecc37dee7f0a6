"""Writing a result to a file that is never seen half written."""

import os
import secrets
import stat
from pathlib import Path

from edgeskin.errors import ResourceError

_BINARY = getattr(os, "O_BINARY", 0)  # of Windows


def write_whole(output: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file that is there whole or not at all, whenever the process ends.

    It is written beside its place, under a name that starts with ``.edgeskin-``, and then moved there. What
    is no regular file, as a device or a link to one, is written where it is.

    Args:
        output: The file.
        content: All of it.
        mode: Permissions of a file that is made, of which the process's umask takes some away.

    Raises:
        ResourceError: It cannot be written; what was there before is kept.
    """
    part = output.parent / f".edgeskin-{secrets.token_hex(8)}.part"
    try:
        if os.path.lexists(output) and not stat.S_ISREG(output.lstat().st_mode):
            output.write_bytes(content)
            return
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            part.replace(output)
        except OSError:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"{output}: cannot be written ({reason}); make room, or name another place", "not_written"
        ) from error
