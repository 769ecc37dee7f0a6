"""The pictures that sources name: files, folders, patterns, lists, zip archives, stores and standard input.

Names come as they are needed, so that a million of them take no more memory than one folder's.
"""

import contextlib
import glob
import itertools
import math
import os
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from edgeskin.errors import PhotoError, SettingError
from edgeskin.photo.archive import Member, members_of, read_member
from edgeskin.photo.decode import read_bytes
from edgeskin.photo.parquet import iter_parquet
from edgeskin.photo.patterns import matching
from edgeskin.photo.remote import Url, is_url, photos_at, read_url
from edgeskin.photo.sources import photos_in
from edgeskin.photo.tables import iter_table

STANDARD_INPUT = "-"
OPTIONAL = ("label", "age", "site")
"""Columns of a list beside ``path``."""
LISTS = (".csv", ".parquet")
"""Endings of the names of lists, in lower case."""
SETTLED_S = 2.0
"""A file that changed within so many seconds may still be being written."""
AHEAD_S = 600.0
"""The clock that dates a file may be ahead by so many seconds. A later date is wrong, and says nothing."""
PATIENCE_S = 60.0
"""Seconds to wait for a file that is being written."""
SAME_TIME_NS = 2_000_000_000
"""Two machines may see the time of one file to different precision, FAT to 2 seconds."""
_PAUSE_S = 0.2
_MISSPELT = (*map(str.title, OPTIONAL), *map(str.upper, OPTIONAL))
_UNKNOWN = (-1, -1)


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """A picture that a source names, not read yet.

    Attributes:
        name: How it is shown and named in tables.
        path: The file, the archive that holds it, or its address in a store.
        member: Its place in the archive; None for a file.
        refusal: Why it is not read; None if it is.
        label: Of a list: its class, or None.
        age: Of a list: age in years, or None.
        site: Of a list: body site in lower case, or None.
        row: Of a list: the list and the number of its row, for messages.
        listed_version: Of a picture in a store, as it was listed: its size, and its tag or time.
        expected_version: Of a file that another process reads: its size in bytes and time in ns there.
        content: Its bytes, once they were fetched from a store.
    """

    name: str
    path: str
    member: Member | None = None
    refusal: PhotoError | None = None
    label: str | None = None
    age: float | None = None
    site: str | None = None
    row: str = field(default="", compare=False)
    listed_version: tuple[int, str] | None = None
    expected_version: tuple[int, int] | None = None
    content: bytes | None = field(default=None, repr=False)

    @property
    def is_remote(self) -> bool:
        """Whether it is in a store."""
        return is_url(self.path)

    def version(self) -> tuple[int, int | str]:
        """What changes with the picture.

        Returns:
            Of a file: size in bytes and time of the last change in ns. Of a picture in a store: as it was
            listed. -1 and -1 if the file cannot be found, or if only its address is known.
        """
        if self.is_remote:
            return self.listed_version or _UNKNOWN
        return _version(self.path)

    def real_path(self) -> str:
        """Where its file is, links resolved; of a picture in a store its address."""
        if self.is_remote:
            return self.path
        try:
            return os.path.realpath(self.path)
        except (OSError, ValueError):  # no name that a file can have
            return os.path.abspath(self.path)  # noqa: PTH100

    def absolute(self) -> "PhotoRef":
        """The same picture for a process elsewhere, which refuses a file of another size or time.

        Its name stays.
        """
        if self.is_remote:
            return self
        path = os.path.abspath(self.path)  # noqa: PTH100
        return replace(self, path=path, expected_version=_version(self.path))

    def fetched(self) -> "PhotoRef":
        """The same picture with its bytes, or with the reason that it cannot be fetched from its store."""
        if not self.is_remote or self.refusal is not None:
            return self
        try:
            return replace(self, content=read_url(self.path))
        except PhotoError as error:
            return replace(self, refusal=error)

    def source(self, patience_s: float = PATIENCE_S) -> bytes:
        """The bytes of the picture's file, once nobody is writing it.

        Args:
            patience_s: Seconds to wait for a file that is still being written.

        Raises:
            PhotoError: It is refused or cannot be read, it is still changing (code ``still_changing``), or it
                is not the file that the run was started with (code ``other_file``). The message does not
                name it.
        """
        if self.refusal is not None:
            raise PhotoError(str(self.refusal), self.refusal.code)
        if self.content is not None:
            return self.content
        if self.is_remote:
            return read_url(self.path)
        self._require_expected()
        if self.member is not None:
            return read_member(Path(self.path), self.member)
        return _settled_bytes(self.path, patience_s)

    def _require_expected(self) -> None:
        if self.expected_version in (None, _UNKNOWN):
            return
        (size, time_ns), expected = _version(self.path), self.expected_version
        assert expected is not None
        if size != expected[0] or abs(time_ns - expected[1]) > SAME_TIME_NS:
            raise PhotoError(
                "the file is missing on this node, or another one than where the run was started; give all "
                "nodes the same disk",
                "other_file",
            )


def list_photos(
    sources: Iterable[str],
    *,
    recursive: bool = False,
    names: BinaryIO | None = None,
    quiet: bool = False,
    leave_out: Sequence[Path | Url] = (),
) -> Generator[PhotoRef]:
    """The pictures that sources name, in their order.

    Args:
        sources: Pictures, folders, patterns such as ``photos/*.jpg``, lists (CSV or Parquet with the column
            ``path``, relative to the list, and optionally ``label``, ``age`` and ``site``), zip archives,
            addresses such as ``s3://bucket/folder`` (see `edgeskin.photo.remote`), and ``-`` for the names
            of pictures on standard input, one a line or each ended by NUL.
        recursive: Whether to read the sub-folders of folders.
        names: Instead of standard input.
        quiet: Whether to log no warnings about what is skipped.
        leave_out: Files and folders, such as those that the caller writes, that patterns do not match.

    Yields:
        Each picture. What cannot be read is yielded too; reading it gives an error by name.

    Raises:
        SettingError: A list cannot be read, a row of it is wrong, or an address needs what is not installed.
        ResourceError: A store cannot be listed.
    """
    if isinstance(sources, str):
        raise SettingError(f"{sources}: give the sources as a list, such as [{sources!r}]")
    for source in sources:
        if source == STANDARD_INPUT:
            yield from (PhotoRef(name, name) for name in _names(names or _standard_input()))
            continue
        if is_url(source):
            own = [str(one) for one in leave_out if isinstance(one, Url)]
            for one in photos_at(source, recursive=recursive, quiet=quiet, leave_out=own):
                yield PhotoRef(one.url, one.url, listed_version=one.version)
            continue
        for path in matches(source, [one for one in leave_out if isinstance(one, Path)], quiet=quiet):
            if path.suffix.lower() in LISTS and not path.is_dir():
                yield from _listed(path)
            elif path.suffix.lower() == ".zip" and not path.is_dir():
                yield from _archived(path, quiet)
            else:
                found = photos_in([path], recursive=recursive, quiet=quiet)
                yield from (PhotoRef(str(photo), str(photo)) for photo in found)


def is_pattern(source: str) -> bool:
    """Whether a source is a pattern, and not the name of what is there."""
    return glob.has_magic(source) and not os.path.lexists(source)


def is_of_table(source: str) -> bool:
    """Whether a source stands for pictures that only a table has room for, and is no picture or folder."""
    named = source.lower().endswith((*LISTS, ".zip")) and not os.path.isdir(source)  # noqa: PTH112
    return source == STANDARD_INPUT or is_pattern(source) or named


def matches(source: str, leave_out: Sequence[Path] = (), *, quiet: bool = True) -> Iterator[Path]:
    """The files that match a pattern; the source itself if it is none, or matches none.

    Args:
        source: As `list_photos` takes it.
        leave_out: As `list_photos`.
        quiet: As `list_photos`.
    """
    if not is_pattern(source):
        yield Path(source)
        return
    left_out = [_place(path) for path in leave_out]
    found = (
        path
        for path in matching(source, quiet=quiet)
        if not any(out.name in path.parts and _place(path).is_relative_to(out) for out in left_out)
    )
    yield from itertools.chain([next(found, Path(source))], found)


def _place(path: Path) -> Path:
    """Where a path is, links to its folder resolved."""
    return Path(os.path.realpath(path.parent), path.name)


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise SettingError("-: standard input is closed; name the pictures")
    return sys.stdin.buffer


def _names(stream: BinaryIO) -> Iterator[str]:
    """The names on a stream, as they come: by NUL if the first block with an end has one, else by line."""
    separator, rest = b"", b""
    read = getattr(stream, "read1", stream.read)
    while block := read(2**16):
        separator = separator or next((one for one in (b"\0", b"\n") if one in block), b"")
        rest += block
        if separator:
            *whole, rest = rest.split(separator)
            yield from _decoded(whole, separator)
    yield from _decoded([rest], separator or b"\n")


def _decoded(names: list[bytes], separator: bytes) -> Iterator[str]:
    for name in names:
        text = os.fsdecode(name.rstrip(b"\r") if separator == b"\n" else name)
        if text.strip():
            yield text


def _listed(table: Path) -> Iterator[PhotoRef]:
    """The pictures of a list."""
    is_csv = table.suffix.lower() == ".csv"
    rows: Generator[dict[str, Any]] = (
        iter_table(table, ("path",)) if is_csv else iter_parquet(table, "path", (*OPTIONAL, *_MISSPELT))
    )
    number = 1 if is_csv else 0  # the first row of CSV has the names
    first = number + 1
    with contextlib.closing(rows):
        for number, row in enumerate(rows, first):
            if number == first:
                _require_names(table, row)
            place, path = f"{table}: row {number}", str(row["path"])
            if _text(row["path"]) is None:
                raise SettingError(f"{place}: names no picture; add the path or remove the row")
            label, age, site = (_text(row.get(name)) for name in OPTIONAL)
            name = path if is_url(path) else str(table.parent / path)
            years, site = _number(place, path, age), site and site.lower()
            yield PhotoRef(name, name, label=label, age=years, site=site, row=place)
    if number < first:
        raise SettingError(f"{table}: the list names no pictures; add rows or leave it out")


def _require_names(table: Path, row: Mapping[str, Any]) -> None:
    """Raise SettingError if a column would not be read for its capitals alone."""
    wrong = [name for name in row if name not in OPTIONAL and name.lower() in OPTIONAL]
    if wrong:
        raise SettingError(
            f"{table}: columns {', '.join(wrong)}: write {', '.join(map(str.lower, wrong))}, in small letters"
        )


def _text(cell: Any) -> str | None:
    """A cell's text; None if it is empty, or not a number as pandas writes it."""
    is_missing = cell is None or (isinstance(cell, float) and math.isnan(cell))
    return None if is_missing else str(cell).strip() or None


def _number(place: str, path: str, text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise SettingError(f"{place} ({path}): age {text!r}: write years as a number, or nothing") from None


def _archived(archive: Path, quiet: bool) -> Iterator[PhotoRef]:
    """The pictures of a zip archive; the archive itself if it is refused as a whole."""
    try:
        _settle(str(archive), time.monotonic() + PATIENCE_S, PATIENCE_S)
        for name, member in members_of(archive, quiet=quiet):
            shown = f"{archive}/{name}"
            if isinstance(member, PhotoError):
                yield PhotoRef(shown, str(archive), refusal=member)
            else:
                yield PhotoRef(shown, str(archive), member)
    except PhotoError as error:
        message = str(error).removeprefix(f"{archive}: ")
        yield PhotoRef(str(archive), str(archive), refusal=PhotoError(message, error.code))


def _version(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116  (a million Path objects take longer than the calls)
    except (OSError, ValueError):
        return _UNKNOWN
    return status.st_size, status.st_mtime_ns


def _settled_bytes(path: str, patience_s: float) -> bytes:
    """The bytes of a file that has not changed for SETTLED_S, nor while it was read."""
    deadline = time.monotonic() + patience_s
    while True:
        before = _settle(path, deadline, patience_s)
        data = read_bytes(path)
        if _version(path) == before:
            return data
        _require_time(deadline, patience_s)


def _settle(path: str, deadline: float, patience_s: float) -> tuple[int, int]:
    """The version of a file once it has not changed for SETTLED_S. Raises PhotoError after the deadline.

    A file is as old as its date says. Where that is ahead of this machine's clock, the file is watched.
    """
    seen, since = _UNKNOWN, 0.0
    while True:
        version = _version(path)
        if version != seen:
            seen, since = version, time.monotonic()
        if not -AHEAD_S < time.time() - version[1] / 1e9 < SETTLED_S:
            return version
        if time.monotonic() - since >= SETTLED_S:
            return version
        _require_time(deadline, patience_s)
        time.sleep(_PAUSE_S)


def _require_time(deadline: float, patience_s: float) -> None:
    if time.monotonic() > deadline:
        raise PhotoError(
            f"the file is still changing after {patience_s:g} s; try again once it is copied",
            "still_changing",
        )
