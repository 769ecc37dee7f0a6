"""Assessing the pictures that arrive in a folder, into a table that grows by one line a picture.

The folder is listed again and again, since file systems of a network send no notices. A record in the
ledger's folder holds the size and time of each picture, so a picture that changed is assessed again.

Each line is written to the record first, and synced to the disk. If the process ends before the line is whole
in the table, the next start completes it. So no line is missing or doubled, and no byte is removed.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edgeskin.batch.ledger import Row, ledger_folder
from edgeskin.batch.runner import PART_SIZE, PartSettings
from edgeskin.batch.sinks import Form, csv_lines, json_line
from edgeskin.errors import ResourceError, SettingError
from edgeskin.photo import sources
from edgeskin.photo.listing import PhotoRef
from edgeskin.report.output_file import sync_folder, write_whole

GROWING: Mapping[str, Form] = {".jsonl": "jsonl", ".csv": "csv"}
"""Forms that can grow, by the ending of the file's name. A Parquet file is whole or none."""
RECORD = "assessed.jsonl"
"""The record's file in the ledger's folder."""
Version = tuple[int, int | str]
"""Of a picture, as `PhotoRef.version`."""

_log = logging.getLogger(__name__)


def job_of(settings: PartSettings, folder: Path) -> dict[str, Any]:
    """What the ledger of a watched table records.

    It differs in the command from a run of `predict`, and in the folder from a table of another one: its
    pictures may have the same names.
    """
    return settings.job(PART_SIZE) | {"command": "watch", "folder": str(folder.resolve())}


def require_new_or_own(out: Path) -> None:
    """Raise SettingError if a file is there that no earlier watch wrote."""
    if os.path.lexists(out) and not (ledger_folder(out) / RECORD).exists():
        raise SettingError(
            f"{out}: this file was not begun by edgeskin watch; name a new file, or move this one away"
        )


@dataclass(frozen=True)
class _Entry:
    """A line of the record.

    Attributes:
        image: The picture's name, as it is.
        size: Of its file, in bytes.
        time_ns: Of its last change.
        start: Where its line starts in the table.
        line: What is written there.
    """

    image: str
    size: int
    time_ns: int
    start: int
    line: str


class GrowingTable:
    """A table of JSON lines or CSV that is written line by line, with its record.

    Attributes:
        folder: The watched folder, as it was named when the table was begun. Pictures are named by it.
        done: The version of each picture in its last line, by its name.
    """

    def __init__(self, out: Path, form: Form, folder: Path) -> None:
        """Begin a table, or go on with one. Its ledger has to be open.

        Args:
            out: The table.
            form: One of `GROWING`.
            folder: The watched folder.

        Raises:
            SettingError: A file is there that this record does not describe; it is left as it is.
            ResourceError: The table or the record cannot be opened or written.
        """
        self._out, self._form = out, form
        self._place = ledger_folder(out) / RECORD
        self.done: dict[str, Version] = {}
        with self._naming_failures(), contextlib.ExitStack() as files:
            if not self._place.exists():
                require_new_or_own(out)
                begin = json_line({"folder": str(folder)})
                write_whole(self._place, begin.encode(), durable=True)
            self._record: BinaryIO = files.enter_context(self._place.open("r+b"))
            last = self._read_record()
            is_new = last is None and not out.exists()
            self._file: BinaryIO = files.enter_context(out.open("x+b" if is_new else "r+b"))
            if is_new:
                sync_folder(out.parent)
            self._complete(last.start if last else 0, last.line.encode() if last else b"")
            self._files = files.pop_all()

    def __enter__(self) -> "GrowingTable":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # all that was added is on the disk
            self._files.close()

    def add(self, row: Row, version: Version) -> None:
        """Write a row, and wait until it is on the disk.

        Args:
            row: Of the form that `edgeskin.batch.sinks.row_of` gives.
            version: Of the picture before it was read.

        Raises:
            ResourceError: It cannot be written. The next start writes it if it is in the record.
        """
        start, (size, time_ns) = self._file.tell(), version
        text = json_line(row) if self._form == "jsonl" else csv_lines(row, with_header=start == 0)
        line = text.encode(errors="backslashreplace")
        entry = {
            "image": row["image"], "size": size, "time_ns": time_ns, "start": start, "line": line.decode()
        }  # fmt: skip
        with self._naming_failures():
            _append(self._record, json_line(entry).encode())
            _append(self._file, line)
        self.done[row["image"]] = version

    def _read_record(self) -> _Entry | None:
        """Read the record, and return its last entry; None without any.

        A last entry that a loss of power cut off is removed. Its line was not written yet.
        """
        last = None
        try:
            begin = self._record.readline()
            self.folder, end = Path(json.loads(begin)["folder"]), len(begin)
            for line in self._record:
                try:
                    last = _entry(line)
                except (ValueError, TypeError):
                    if self._record.readline():
                        raise
                    break
                self.done[last.image] = (last.size, last.time_ns)
                end += len(line)
        except (ValueError, KeyError, TypeError) as error:
            raise SettingError(f"{self._place}: this record is damaged; {self._way_out()}") from error
        self._record.truncate(end)
        self._record.seek(end)
        return last

    def _complete(self, start: int, line: bytes) -> None:
        """Write what is missing of the last line, and stand behind it.

        Raises:
            SettingError: The table does not end with this line, or with a part of it. A loss of power may
                leave zeros instead of the rest.
        """
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(start)
        tail = self._file.read(len(line) + 1)
        is_own = len(tail) <= len(line) and all(a in (b, 0) for a, b in zip(tail, line, strict=False))
        if size < start or not is_own:
            raise SettingError(f"{self._out}: another program changed this table; {self._way_out()}")
        self._file.seek(start)
        if tail != line:
            _append(self._file, line)
        self._file.seek(start + len(line))

    def _way_out(self) -> str:
        return f"name another --out, or move the table and {self._place.parent} away to begin a new one"

    @contextlib.contextmanager
    def _naming_failures(self) -> Iterator[None]:
        """Turn an error of the system into one that names the table."""
        try:
            yield
        except FileNotFoundError as error:
            raise SettingError(
                f"{self._out}: this table is gone; put it back, or move {self._place.parent} away to begin "
                "a new one"
            ) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise ResourceError(
                f"{self._out}: cannot be written ({reason}); make room, or name another place", "not_written"
            ) from error


class Arrivals:
    """The pictures that arrive in a folder."""

    def __init__(self, folder: Path, recursive: bool, table: GrowingTable) -> None:
        """Watch a folder for pictures that are not in the table, or that changed since."""
        self._folder, self._recursive, self._table = folder, recursive, table
        self._last: Mapping[str, Version] = {}
        self._warning = ""

    def new(self) -> Iterator[tuple[PhotoRef, Version]]:
        """List the folder.

        Returns:
            What is new or changed, and has the size and time that it had at the last call, by name. The
            pictures have the names of the table. One that changes before its turn, or whose drive is gone by
            then, is left out. It comes again at a later call.
        """
        found: dict[str, Version] = {}
        arrived = []
        warning = ""
        for path in sources.photos_in([self._folder], recursive=self._recursive):
            if path == self._folder:  # which stands for an empty one
                warning = self._reason()
                break
            photo = PhotoRef(str(self._table.folder / path.relative_to(self._folder)), str(path))
            version = photo.version()
            if self._table.done.get(photo.name) == version:
                continue
            found[photo.name] = version
            if self._last.get(photo.name) == version:
                arrived.append((photo, version))
        if warning and warning != self._warning:
            _log.warning("%s: %s", self._folder, warning)
        self._last, self._warning = found, warning
        return ((photo, version) for photo, version in arrived if photo.version() == version)

    def _reason(self) -> str:
        """Why there is no picture in the folder; nothing if it is empty."""
        try:
            with os.scandir(self._folder) as entries:
                is_empty = all(sources.is_system_file(entry.name) for entry in entries)
        except OSError as error:
            return f"cannot be listed ({error.strerror}); watching goes on"
        return "" if is_empty else "nothing in it is named as a picture; watching goes on"


@contextlib.contextmanager
def warnings_once() -> Iterator[None]:
    """Let each warning about what is skipped in a folder through once, however often it is listed."""
    seen: set[tuple[str, object]] = set()

    def is_new(record: logging.LogRecord) -> bool:
        folder = record.args[0] if isinstance(record.args, tuple) else None
        before = len(seen)
        seen.add((record.msg, folder))
        return len(seen) > before

    logger = logging.getLogger(sources.__name__)
    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)


def _entry(line: bytes) -> _Entry:
    """An entry of the record. Raises ValueError or TypeError if it is not whole."""
    if not line.endswith(b"\n"):
        raise ValueError(line)
    return _Entry(**json.loads(line))


def _append(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
