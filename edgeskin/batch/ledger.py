"""The ledger of a run: its job, and the rows of every part that is done, in a folder beside the output.

A part is keyed by the pictures that it holds, and each of its rows by all that its picture is, with size and
time. A part is written whole and moved into place. So whenever the process ends, what is there is done and
the rest is not, and the same command goes on where the run ended.
"""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from edgeskin.errors import ResourceError, SettingError
from edgeskin.photo.listing import PhotoRef
from edgeskin.photo.remote import RemoteFolder, Url
from edgeskin.report.output_file import PART, write_whole

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

Row = dict[str, Any]
Output = Path | Url
"""Where a table goes: a file, or an object in a store."""
Place = TypeVar("Place", bound=Output)
JOB, LOCK, PARTS = "run.json", "lock", "part-*.jsonl"


class Folder(Protocol):
    """Where a ledger is kept."""

    def read(self, name: str) -> bytes:
        """The content of a file. Raises OSError, or FileNotFoundError if there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file that is there whole or not at all. Raises ResourceError if it cannot be written."""

    def delete(self, names: str) -> None:
        """Delete the files that match a pattern, where that is possible."""


class Ledger:
    """The parts of a run that are done. Made by `open_ledger`."""

    def __init__(self, folder: Folder, job: Mapping[str, Any]) -> None:
        """Use a folder that is there and locked, for a job."""
        self._folder, self._job = folder, job

    def __str__(self) -> str:
        return str(self._folder)

    def key(self, photos: Sequence[PhotoRef]) -> str:
        """What identifies the job and the pictures of a part, whatever their files hold: 32 hex digits.

        A part that another job left behind is thus never taken for one of this job.
        """
        return _digest([self._job, [_identity(one) for one in photos]])

    def read(self, key: str) -> list[Row] | None:
        """The rows of a part; None if it is not done, or its file is damaged.

        Raises:
            ResourceError: It cannot be read, so nobody knows whether it is done (code ``unreadable``).
        """
        try:
            lines = self._folder.read(_part(key)).splitlines()
            return [json.loads(line) for line in lines]
        except (FileNotFoundError, ValueError):
            return None
        except OSError as error:
            raise _unreadable(f"{self}/{_part(key)}", error) from error

    def write(self, key: str, rows: Sequence[Row]) -> None:
        """Keep the rows of a part. Raises ResourceError if they cannot be written."""
        content = "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows)
        self._folder.write(_part(key), content.encode())

    def remove(self) -> None:
        """Delete the ledger, and its folder unless others put files there."""
        for names in (PARTS, JOB, LOCK):
            self._folder.delete(names)


def picture_key(photo: PhotoRef) -> str:
    """What identifies a picture and what its file holds now: 32 hexadecimal digits.

    Take it before the picture is read. If its file changes in between, the row is then of a key that no later
    run asks for.
    """
    return _digest([*_identity(photo), photo.version()])


def _identity(photo: PhotoRef) -> list[Any]:
    """All that the row of a picture depends on, but for the content of its file.

    A relative path is another file in another working folder, and so is a link that has been changed.
    """
    return [photo.name, photo.real_path(), photo.member and astuple(photo.member), photo.age, photo.site]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def ledger_folder(out: Place) -> Place:
    """Where the ledger of an output is: ``results.csv.parts`` beside ``results.csv``."""
    return cast("Place", out.with_name(f"{out.name}.parts"))


@contextlib.contextmanager
def open_ledger(out: Output, job: Mapping[str, Any]) -> Iterator[Ledger]:
    """Open the ledger of an output, or make it.

    Only one process at a time can have that of a file open. Stores have no locks: two runs of one job do the
    same work twice there, and write the same.

    Args:
        out: The output.
        job: All that decides what the rows are, as plain data for JSON.

    Raises:
        SettingError: Another run is writing this output, or the ledger is another job's.
        ResourceError: The ledger cannot be made or read.
    """
    place = ledger_folder(out)
    with _locked(place, out) if isinstance(place, Path) else contextlib.nullcontext():
        folder = _LocalFolder(place) if isinstance(place, Path) else RemoteFolder(place)
        _require_job(folder, out, json.loads(json.dumps(job)))
        yield Ledger(folder, job)


class _LocalFolder:
    """A folder of this machine. Its files are on the disk once they are written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        for unfinished in path.glob(PART):
            unfinished.unlink(missing_ok=True)

    def __str__(self) -> str:
        return str(self._path)

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        write_whole(self._path / name, content, durable=True)

    def delete(self, names: str) -> None:
        for path in self._path.glob(names):
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):  # the last one to go takes the folder along
            self._path.rmdir()


def _unreadable(place: str, error: OSError) -> ResourceError:
    return ResourceError(
        f"{place}: cannot be read ({error.strerror or error}); check permissions, credentials and network, "
        "and run the same command again",
        "unreadable",
    )


def _part(key: str) -> str:
    return PARTS.replace("*", key)


def _require_job(folder: Folder, out: Output, job: dict[str, Any]) -> None:
    """Record the job in a new ledger. Raises SettingError if the ledger is another job's."""
    way_out = f"name another --out, or delete the folder {folder}"
    try:
        found = json.loads(folder.read(JOB))
    except FileNotFoundError:
        folder.write(JOB, f"{json.dumps(job, indent=2)}\n".encode())
        return
    except OSError as error:
        raise _unreadable(f"{folder}/{JOB}", error) from error
    except ValueError as error:
        raise SettingError(f"{folder}/{JOB}: damaged ({error}); {way_out}") from error
    if found != job:
        names = sorted(set(job) | set(found)) if isinstance(found, dict) else []
        differing = ", ".join(name for name in names if job.get(name) != found.get(name))
        raise SettingError(
            f"{out}: this output belongs to another job with other settings ({differing}); name another "
            f"--out, or move {folder} away, and the output with it"
        )


def _locked(folder: Path, out: Output) -> BinaryIO:
    """The lock file of a folder, made and locked. The system unlocks it however the process ends.

    Raises:
        SettingError: Another process holds it.
        ResourceError: It cannot be made.
    """
    path = folder / LOCK
    try:
        while True:
            try:
                folder.mkdir(exist_ok=True)
                file = path.open("ab")
            except (FileExistsError, FileNotFoundError):
                if not folder.parent.is_dir() or (os.path.lexists(folder) and not folder.is_dir()):
                    raise
                continue  # a run that finished just then took the folder away
            try:
                _lock(file)
                if _is_at(file, path):
                    return file
            except BaseException:
                file.close()
                raise
            file.close()  # the process that held it has finished and deleted it
    except BlockingIOError as error:
        raise SettingError(
            f"{out}: another run is writing it; wait for its end, or name another --out"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"{folder}: cannot be made ({reason}); name another --out", "not_written"
        ) from error


def _lock(file: BinaryIO) -> None:
    """Lock a file, or raise BlockingIOError."""
    if sys.platform == "win32":
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(error.errno, error.strerror) from error
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
