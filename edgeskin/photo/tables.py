"""CSV tables as people have them: read whole, or refused with the row that is wrong."""

import codecs
import contextlib
import csv
import stat
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from edgeskin.errors import SettingError

SAVE_AS = "save it as CSV in UTF-8, separated by commas"


def read_table(table: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """All rows of `iter_table`; arguments and errors as there."""
    return list(iter_table(table, columns))


def iter_table(table: Path, columns: Sequence[str] = ()) -> Generator[dict[str, str]]:
    """The rows of a CSV file, without blank ones, read as they are needed.

    A byte order mark, which spreadsheets put in front of UTF-8, is no part of the first column's name.

    Args:
        table: The file.
        columns: Names that its first row must hold, among others.

    Yields:
        The cells of each row by column.

    Raises:
        SettingError: The file cannot be read, is not in UTF-8, or is no CSV; a column is missing, or a name
            is there twice; or a row has fewer or more cells than the first one. The message names file and
            row.
    """
    with contextlib.closing(_lines(table)) as lines:  # also where a row is wrong
        yield from _rows(table, lines, columns)


def _rows(table: Path, lines: Iterator[str], columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows in the lines of a table; arguments and errors as `iter_table`."""
    reader = csv.reader(lines, strict=True)
    names: list[str] = []
    while True:
        place = f"{table}: row {reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            reason = "a quote is not closed" if "unexpected end" in str(error) else str(error)
            raise SettingError(f"{place}: {reason}; correct the row") from error
        if not any(cell.strip() for cell in cells):
            continue
        if not names:
            names = [cell.strip() for cell in cells]
            _require_columns(place, names, columns)
        elif len(cells) != len(names):
            raise SettingError(
                f"{place}: {len(cells)} cells for {len(names)} columns; correct the row, and quote cells "
                "that hold a comma"
            )
        else:
            yield dict(zip(names, cells, strict=True))
    if not names:
        named = f": {', '.join(columns)}" if columns else ""
        raise SettingError(f"{table}: the table is empty; its first row must name its columns{named}")


def require_regular(table: Path) -> None:
    """Raise SettingError for what is there and is no file, such as a pipe, which may never end."""
    try:
        is_file = stat.S_ISREG(table.stat().st_mode)
    except (OSError, ValueError):
        return  # opening it names the reason
    if not is_file:
        raise SettingError(f"{table}: this is not a regular file; copy the table to a file")


def _lines(table: Path) -> Generator[str]:
    """The lines of a text file with their ends. Raises SettingError, naming the row."""
    require_regular(table)
    try:
        with table.open("rb") as file:
            if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise SettingError(f"{table}: row 1: the table is in UTF-16; {SAVE_AS}")
        # A byte that is not UTF-8 becomes half of a surrogate pair, which encoding then finds.
        with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            for row, line in enumerate(text, 1):
                if "\0" in line:
                    raise SettingError(f"{table}: row {row}: holds NUL characters, as UTF-16 does; {SAVE_AS}")
                if not line.isascii():
                    line.encode()
                yield line
    except UnicodeEncodeError as error:
        raise SettingError(
            f"{table}: row {row}: not in UTF-8 (a byte that starts no character); {SAVE_AS}"
        ) from error
    except OSError as error:
        raise SettingError(
            f"{table}: cannot be read ({error.strerror}); check its name and permissions"
        ) from error


def _require_columns(place: str, names: list[str], columns: Sequence[str]) -> None:
    separator = next((one for one in ";\t|" if len(names) == 1 and one in names[0]), None)
    if separator:
        raise SettingError(f"{place}: the table is separated by {separator!r}; {SAVE_AS}")
    missing = [name for name in columns if name not in names]
    if missing:
        raise SettingError(f"{place}: no columns {', '.join(missing)}; add them")
    # All columns, since only one of each name could be read. Empty names are of columns without cells.
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        raise SettingError(f"{place}: columns {', '.join(twice)} are there twice; rename one")
