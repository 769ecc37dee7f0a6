"""Assessing the pictures that arrive in a folder, into a table that grows by one line a picture.

The folder is listed again and again, since file systems of a network send no notices. The table is the
ledger: a picture with a line is done. Lines are synced to the disk one by one, and a last line that a loss of
power cut off is removed at the next start.
"""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal

from edgeskin.batch.ledger import Row
from edgeskin.batch.sinks import csv_lines, csv_text, json_line
from edgeskin.errors import ResourceError, SettingError
from edgeskin.photo.listing import PhotoRef, list_photos

Form = Literal["jsonl", "csv"]
FORMS: Mapping[str, Form] = {".jsonl": "jsonl", ".csv": "csv"}
"""Forms that can grow, by the ending of the file's name. A Parquet file is whole or none."""


class GrowingTable:
    """A table of JSON lines or CSV that is written line by line.

    Attributes:
        done: The names of its pictures, as it shows them.
    """

    def __init__(self, out: Path, form: Form) -> None:
        """Open a table, or make it.

        Raises:
            SettingError: The file is no such table; it is left as it is.
            ResourceError: It cannot be opened.
        """
        self._out, self._form = out, form
        try:
            self._file: BinaryIO = out.open("r+b" if out.exists() else "x+b")
        except OSError as error:
            raise self._not_written(error) from error
        end = _end_of_lines(self._file)
        try:
            self.done: set[str] = _names_in(self._file, end, form)
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            self._file.close()
            raise SettingError(f"{out}: not a table of results; name another --out") from error
        self._file.truncate(end)
        self._file.seek(end)
        self._is_empty = end == 0

    def shown(self, name: str) -> str:
        """A picture's name as the table shows it."""
        return csv_text(name).encode(errors="backslashreplace").decode() if self._form == "csv" else name

    def add(self, row: Row) -> None:
        """Write a row, and wait until it is on the disk. Raises ResourceError if it cannot be written."""
        text = json_line(row) if self._form == "jsonl" else csv_lines(row, with_header=self._is_empty)
        try:
            self._file.write(text.encode(errors="backslashreplace"))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._not_written(error) from error
        self._is_empty = False
        self.done.add(self.shown(row["image"]))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _not_written(self, error: OSError) -> ResourceError:
        reason = error.strerror or str(error)
        return ResourceError(
            f"{self._out}: cannot be written ({reason}); make room, or name another place", "not_written"
        )


class Arrivals:
    """The pictures that arrive in a folder."""

    def __init__(self, folder: Path, recursive: bool, table: GrowingTable) -> None:
        """Watch a folder for pictures that are not in the table."""
        self._folder, self._recursive, self._table = folder, recursive, table
        self._last: Mapping[str, tuple[int, int | str]] = {}

    def new(self) -> list[PhotoRef]:
        """List the folder: what is new, and has the size and time that it had at the last call, sorted."""
        found: dict[str, tuple[int, int | str]] = {}
        arrived = []
        for photo in list_photos([str(self._folder)], recursive=self._recursive, quiet=True):
            name = self._table.shown(photo.name)
            if name in self._table.done or photo.path == str(self._folder):  # which stands for an empty one
                continue
            found[name] = photo.version()
            if self._last.get(name) == found[name]:
                arrived.append(photo)
        self._last = found
        return arrived


def _names_in(file: BinaryIO, end: int, form: Form) -> set[str]:
    """The names of the pictures in a file up to its last line end.

    Raises:
        ValueError: It is no table; or KeyError, TypeError or csv.Error.
    """
    file.seek(0)
    if form == "jsonl":
        return {json.loads(line)["image"] for line in _lines_to(file, end)}
    lines = (line.decode() for line in _lines_to(file, end))
    return {row["image"] for row in csv.DictReader(lines, strict=True)}


def _lines_to(file: BinaryIO, end: int) -> Iterator[bytes]:
    while file.tell() < end:
        yield file.readline()


def _end_of_lines(file: BinaryIO) -> int:
    """The position behind the last line end of a file."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 2**16)
        file.seek(start)
        place = file.read(end - start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        end = start
    return 0
