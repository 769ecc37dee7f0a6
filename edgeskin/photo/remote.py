"""Pictures and tables in object stores, such as ``s3://bucket/folder``, by fsspec (extra ``cluster``)."""

import contextlib
import glob
import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from edgeskin.errors import PhotoError, ResourceError, SettingError
from edgeskin.photo.decode import MAX_BYTES, read_bytes
from edgeskin.photo.sources import RECURSIVE, SUFFIXES, is_system_file

PROTOCOLS = ("s3", "gs", "abfs", "hdfs", "sftp")
"""What is opened. Addresses of the web are not: a list of pictures must not make a machine call servers."""
_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)

_log = logging.getLogger(__name__)


def is_url(text: str) -> bool:
    """Whether a text is an address such as ``s3://bucket/lesion.jpg``, and not a path."""
    return _URL.match(text) is not None


@dataclass(frozen=True)
class Url:
    """The address of an object, with the few parts of `pathlib.Path` that outputs need."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.text.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The ending of the name, such as ``.csv``."""
        return PurePosixPath(self.name).suffix

    def with_name(self, name: str) -> "Url":
        """The address beside it of another name."""
        return Url(f"{self.text.rpartition('/')[0]}/{name}")

    def __truediv__(self, name: str) -> "Url":
        return Url(f"{self.text}/{name}")


@dataclass(frozen=True, slots=True)
class RemotePhoto:
    """A picture in a listing. version: its size in bytes, and its tag or time; None if it was not listed."""

    url: str
    version: tuple[int, str] | None = None


def photos_at(
    source: str, *, recursive: bool = False, quiet: bool = False, leave_out: Sequence[str] = ()
) -> Iterator[RemotePhoto]:
    """The pictures at an address: an object, a folder or a pattern, in the order of a local folder.

    Args:
        source: The address.
        recursive: Whether to read the sub-folders of a folder too.
        quiet: Whether to log nothing about what is skipped.
        leave_out: Addresses of objects and folders that the caller writes; they are no pictures.

    Yields:
        Each picture; the source itself if it holds none.

    Raises:
        SettingError: The source is a list, an archive or an output; the extra or the protocol's package is
            missing; or the protocol is not supported.
        ResourceError: The store cannot be listed (code ``unreadable``). Nothing may be missing silently.
    """
    if source in leave_out:
        raise SettingError(f"{source}: the command writes this object; name another --out")
    if PurePosixPath(source).suffix.lower() in (".csv", ".parquet", ".zip"):
        raise SettingError(f"{source}: lists and archives are read from this machine; copy it here first")
    is_empty = True
    listed: Iterator[dict[str, Any]] = iter(())
    with _listing(source):
        system, path = _opened(source)
        if glob.has_magic(path):
            found = system.glob(path, detail=True)
            listed = (found[name] for name in sorted(found) if found[name]["type"] == "file")
        elif _is_folder(system, path):
            listed = _in_folder(system, path, recursive, quiet)
        for info in listed:
            url = system.unstrip_protocol(info["name"])
            if not any(url == one or url.startswith(f"{one}/") for one in leave_out):
                is_empty = False
                yield RemotePhoto(url, _version(info))
    if is_empty:
        yield RemotePhoto(source)


def read_url(url: str) -> bytes:
    """The bytes of an object.

    Raises:
        PhotoError: As `edgeskin.photo.decode.read_bytes`; the message does not name it.
    """
    try:
        system, path = _opened(url)
    except SettingError as error:
        raise PhotoError(str(error), "unreadable") from error
    try:
        data: bytes = system.cat_file(path, start=0, end=MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise PhotoError("there is no such object; check the address", "not_found") from error
    except Exception as error:  # every store has errors of its own
        if not _is_empty(system, path):  # of which S3 has no first byte to give
            reason = str(error) or type(error).__name__
            raise PhotoError(
                f"the object cannot be read ({reason}); check address, credentials and network", "unreadable"
            ) from error
        data = b""
    return read_bytes(data)


class RemoteFolder:
    """A folder of small objects, each of which is there whole or not at all."""

    def __init__(self, url: Url) -> None:
        """Name a folder, which need not be there. Raises SettingError as `photos_at`."""
        self._url = url
        _opened(str(url))

    def __str__(self) -> str:
        return str(self._url)

    def read(self, name: str) -> bytes:
        """The bytes of an object. Raises OSError, or FileNotFoundError if there is none."""
        try:
            system, path = _opened(str(self._url / name))
            content: bytes = system.cat_file(path)
        except OSError:
            raise
        except Exception as error:  # every store has errors of its own
            raise OSError(str(error) or type(error).__name__) from error
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write an object. Raises ResourceError if it cannot be written."""
        url = self._url / name
        with _writing(url):
            system, path = _opened(str(url))
            system.pipe_file(path, content)

    def delete(self, names: str) -> None:
        """Delete the objects that match a pattern, where that is allowed."""
        with contextlib.suppress(Exception):  # what stays is of no harm
            system, path = _opened(str(self._url / names))
            for found in system.glob(path):
                system.rm_file(found)


@contextlib.contextmanager
def uploaded(url: Url) -> Iterator[BinaryIO]:
    """Open a file on this machine that becomes the object when it is whole.

    Raises:
        ResourceError: It cannot be written; what was there before is kept.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="edgeskin-") as folder:
            whole = Path(folder) / url.name
            with whole.open("wb") as file:
                yield file
            with _writing(url):
                system, path = _opened(str(url))
                system.put_file(str(whole), path)
    except OSError as error:
        raise ResourceError(
            f"{url}: no temporary file ({error.strerror or error}); name another folder by TMPDIR",
            "not_written",
        ) from error


def _opened(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. Raises SettingError."""
    match = _URL.match(url)
    protocol = match[1].lower() if match else ""
    if protocol not in PROTOCOLS:
        raise SettingError(f"{url}: addresses start with {', '.join(f'{one}://' for one in PROTOCOLS)}")
    try:
        import fsspec
    except ImportError as error:
        raise SettingError(f'{url}: addresses need the extra: pip install "edgeskin[cluster]"') from error
    try:
        system = fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError as error:
        raise SettingError(f"{url}: {error}") from error
    return system, system._strip_protocol(url)  # noqa: SLF001  (fsspec's own name for it)


def _is_folder(system: Any, path: str) -> bool:
    try:
        return bool(system.info(path)["type"] == "directory")
    except FileNotFoundError:
        return False


def _is_empty(system: Any, path: str) -> bool:
    try:
        return bool(system.info(path)["size"] == 0)
    except Exception:  # every store has errors of its own
        return False


def _in_folder(system: Any, top: str, recursive: bool, quiet: bool) -> Iterator[dict[str, Any]]:
    """The entries of a folder that are named like pictures, then those of its sub-folders."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        entries = sorted(system.ls(folder, detail=True), key=lambda entry: str(entry["name"]))
        folders, skipped = [], 0
        for entry in entries:
            name = PurePosixPath(entry["name"]).name
            if entry["type"] == "directory":
                folders.append(entry["name"])
            elif PurePosixPath(name).suffix.lower() in SUFFIXES and not is_system_file(name):
                yield entry
            else:
                skipped += 1
        if recursive:
            waiting += reversed(folders)
        elif folders and not quiet:
            _log.warning(
                f"%s: contains %d sub-folder(s), which are not read; name them{RECURSIVE}",
                folder,
                len(folders),
            )
        if skipped and not quiet:
            _log.warning("%s: skipped %d object(s) not named as pictures", folder, skipped)


def _version(info: dict[str, Any]) -> tuple[int, str]:
    changed = info.get("ETag") or info.get("LastModified") or info.get("mtime")
    return int(info["size"] or 0), str(changed)


@contextlib.contextmanager
def _listing(source: str) -> Iterator[None]:
    try:
        yield
    except SettingError:
        raise
    except Exception as error:  # every store has errors of its own
        reason = str(error) or type(error).__name__
        raise ResourceError(
            f"{source}: cannot be listed ({reason}); check address, credentials and network", "unreadable"
        ) from error


@contextlib.contextmanager
def _writing(url: Url) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # every store has errors of its own
        reason = str(error) or type(error).__name__
        raise ResourceError(
            f"{url}: cannot be written ({reason}); check credentials and network, or name another place",
            "not_written",
        ) from error
