"""The ledger of a run: its job, and the rows of every part that is done, in a folder beside the output.

A part is keyed by what it holds: the names, sizes and times of its pictures. It is written whole and moved
into place, so whenever the process ends, what is there is done and the rest is not. The same command then
goes on where the run ended.
"""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, BinaryIO

from edgeskin.errors import ResourceError, SettingError
from edgeskin.photo.listing import PhotoRef
from edgeskin.report.output_file import PART, write_whole

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

Row = dict[str, Any]
JOB, LOCK = "run.json", "lock"


class Ledger:
    """The parts of a run that are done. Made by `open_ledger`.

    Attributes:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        """Use a folder that is there and locked."""
        self.folder = folder

    def key(self, photos: Sequence[PhotoRef]) -> str:
        """What identifies the pictures of a part: 32 hexadecimal digits of a SHA-256 over all they are."""
        content = [
            (one.name, one.version(), one.member and astuple(one.member), one.age, one.site) for one in photos
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    def read(self, key: str) -> list[Row] | None:
        """The rows of a part; None if it is not done, or its file is damaged."""
        try:
            lines = self._part(key).read_bytes().splitlines()
            return [json.loads(line) for line in lines]
        except (OSError, ValueError):
            return None

    def write(self, key: str, rows: Sequence[Row]) -> None:
        """Keep the rows of a part on the disk. Raises ResourceError if they cannot be written."""
        content = "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows)
        write_whole(self._part(key), content.encode(), durable=True)

    def remove(self) -> None:
        """Delete the ledger, and its folder unless others put files there."""
        for path in [*self.folder.glob("part-*.jsonl"), self.folder / JOB, self.folder / LOCK]:
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _part(self, key: str) -> Path:
        return self.folder / f"part-{key}.jsonl"


def ledger_folder(out: Path) -> Path:
    """Where the ledger of an output is: ``results.csv.parts`` beside ``results.csv``."""
    return out.with_name(f"{out.name}.parts")


@contextlib.contextmanager
def open_ledger(out: Path, job: Mapping[str, Any]) -> Iterator[Ledger]:
    """Open the ledger of an output, or make it. Only one process at a time can have it open.

    Args:
        out: The output.
        job: All that decides what the rows are, as plain data for JSON.

    Raises:
        SettingError: Another run is writing this output, or the ledger is another job's.
        ResourceError: The ledger cannot be made.
    """
    folder = ledger_folder(out)
    try:
        lock = _locked(folder)
    except BlockingIOError as error:
        raise SettingError(
            f"{out}: another run is writing it; wait for its end, or name another --out"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"{folder}: cannot be made ({reason}); name another --out", "not_written"
        ) from error
    with lock:
        for unfinished in folder.glob(PART):
            unfinished.unlink(missing_ok=True)
        _require_job(folder, out, json.loads(json.dumps(job)))
        yield Ledger(folder)


def _require_job(folder: Path, out: Path, job: dict[str, Any]) -> None:
    """Record the job in a new ledger. Raises SettingError if the ledger is another job's."""
    path = folder / JOB
    way_out = f"name another --out, or delete the folder {folder}"
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        write_whole(path, f"{json.dumps(job, indent=2)}\n".encode(), durable=True)
        return
    except (OSError, ValueError) as error:
        raise SettingError(f"{path}: cannot be read ({error}); {way_out}") from error
    if found != job:
        names = sorted(set(job) | set(found)) if isinstance(found, dict) else []
        differing = ", ".join(name for name in names if job.get(name) != found.get(name))
        raise SettingError(f"{out}: an unfinished run with other settings ({differing}) is there; {way_out}")


def _locked(folder: Path) -> BinaryIO:
    """The lock file of a folder, made and locked. The system unlocks it however the process ends.

    Raises:
        BlockingIOError: Another process holds it.
        OSError: It cannot be made.
    """
    path = folder / LOCK
    while True:
        folder.mkdir(exist_ok=True)
        file = path.open("ab")
        try:
            _lock(file)
            if _is_at(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # the process that held it has finished and deleted it


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
