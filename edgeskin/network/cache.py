"""Compiled networks kept in a folder between processes, since compiling is most of a start.

A file is the SHA-256 of OpenVINO's export, then the export. A damaged file is compiled anew: OpenVINO alone
would load it and answer wrongly. The hash does not guard against somebody who may write into the folder.
"""

import contextlib
import hashlib
import os
import secrets
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgeskin.errors import SettingError

if TYPE_CHECKING:
    import openvino

_HASH_BYTES = 32


def user_cache_dir() -> Path:
    """This user's cache folder for edgeskin; it need not exist. Raises SettingError without a home folder.

    ``XDG_CACHE_HOME`` or ``~/.cache`` (XDG Base Directory Specification 0.8), ``~/Library/Caches`` on macOS,
    ``%LOCALAPPDATA%`` on Windows.
    """
    try:
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA")
            return Path(base or Path.home() / "AppData" / "Local") / "edgeskin" / "cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "edgeskin"
        base = os.environ.get("XDG_CACHE_HOME", "")
        # The specification says to ignore a relative path.
        return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "edgeskin"
    except RuntimeError as error:
        raise SettingError(f"there is no cache folder ({error}): name one with --cache-dir") from error


def is_private(folder: Path) -> bool:
    """Whether only this user and root may write the folder and the files in it, with no symbolic links."""
    try:
        inside = [folder.stat()]
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    return False
                with contextlib.suppress(FileNotFoundError):  # a file that another process is replacing
                    inside.append(entry.stat())
    except OSError:
        return False
    if sys.platform == "win32":  # there, a profile's folder is its user's
        return True
    others_write = stat.S_IWGRP | stat.S_IWOTH
    return all(one.st_uid in (0, os.getuid()) and not one.st_mode & others_write for one in inside)


def require_writable(folder: Path, mode: int = 0o755) -> None:
    """Make the folder if need be, for others to read if the mode and the umask allow it.

    Raises SettingError when it cannot be written.
    """
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingError(
            f"cache {folder}: cannot be written ({error.strerror}); name a folder of yours, or none"
        ) from error


def read_export(file: Path) -> "openvino.Tensor":
    """A compiled network's export. Raises OSError or ValueError unless it is there as it was written."""
    import openvino

    with file.open("rb") as opened:
        sha256 = opened.read(_HASH_BYTES)
        length = max(0, os.fstat(opened.fileno()).st_size - _HASH_BYTES)
        # In OpenVINO's own memory, where its weights stay; from a stream it would copy them twice.
        content = openvino.Tensor(openvino.Type.u8, [length])
        opened.readinto(content.data)
    if hashlib.sha256(content.data).digest() != sha256:
        raise ValueError(f"{file}: damaged")
    return content


def write_export(file: Path, export: bytes) -> None:
    """Replace the file atomically, since another process may read it. On a full disk nothing is kept.

    Other users may read it if the umask allows it: one user prepares the cache that all use.
    """
    part = file.with_name(f"{secrets.token_hex(8)}.part")
    with contextlib.suppress(OSError):
        try:
            part.touch(mode=0o644, exist_ok=False)
            with part.open("wb") as opened:
                opened.writelines([hashlib.sha256(export).digest(), export])
            part.replace(file)
        except OSError:
            part.unlink()
