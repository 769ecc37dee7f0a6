"""CSV tables as people have them: read whole, or refused with the row that is wrong."""

import codecs
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from edgeskin.errors import SettingError

SAVE_AS = "save it as CSV in UTF-8, separated by commas"


def read_table(table: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file, without blank ones.

    A byte order mark, which spreadsheets put in front of UTF-8, is no part of the first column's name.

    Args:
        table: The file.
        columns: Names that its first row must hold, among others.

    Returns:
        The cells of each row by column.

    Raises:
        SettingError: The file cannot be read, is not in UTF-8, or is no CSV; a column is missing or there
            twice; or a row has fewer or more cells than the first one. The message names file and row.
    """
    reader = csv.reader(io.StringIO(_text_of(table), newline=""), strict=True)
    names: list[str] = []
    rows = []
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
            rows.append(dict(zip(names, cells, strict=True)))
    if not names:
        raise SettingError(f"{table}: the table is empty; it needs the columns {', '.join(columns)}")
    return rows


def _text_of(table: Path) -> str:
    try:
        content = table.read_bytes()
    except OSError as error:
        raise SettingError(f"{table}: cannot be read ({error.strerror}); check its permissions") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SettingError(f"{table}: row 1: the table is in UTF-16; {SAVE_AS}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise SettingError(f"{table}: row {row}: not in UTF-8 ({error.reason}); {SAVE_AS}") from error
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise SettingError(f"{table}: row {row}: holds NUL characters, as UTF-16 does; {SAVE_AS}")
    return text


def _require_columns(place: str, names: list[str], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in names]
    if missing:
        separator = next((one for one in ";\t|" if len(names) == 1 and one in names[0]), None)
        way_out = f"it is separated by {separator!r}; {SAVE_AS}" if separator else "add them"
        raise SettingError(f"{place}: no columns {', '.join(missing)}; {way_out}")
    twice = [name for name in columns if names.count(name) > 1]
    if twice:
        raise SettingError(f"{place}: columns {', '.join(twice)} are there twice; rename one")
