"""Tables of results: JSON lines, CSV and Parquet, written whole and in constant memory."""

import contextlib
import csv
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from edgeskin.batch.ledger import Output, Row, ledger_folder
from edgeskin.errors import SettingError
from edgeskin.photo.parquet import require_pyarrow, write_parquet
from edgeskin.photo.remote import Url, uploaded
from edgeskin.report.output_file import opened_whole
from edgeskin.report.text import printable
from edgeskin.results import Assessment

Form = Literal["jsonl", "csv", "parquet"]
FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the start of a formula, also in full width (OWASP, CSV injection)."""
_STARTS_FORMULA = re.compile(rf"""(^|;)(?=[ "]*[{re.escape("".join(FORMULAS))}])""")
"""The start of a cell whose text is a formula once a spreadsheet has taken away blanks and quotes."""


def form_of(out: Output) -> Form:
    """The form of a table by its file's name.

    Raises:
        SettingError: The name ends otherwise, or with ``.parquet`` and the extra is missing.
    """
    suffix = out.suffix.lower().removeprefix(".")
    forms: tuple[Form, ...] = get_args(Form)
    form = next((one for one in forms if suffix == one), None)
    if form is None:
        raise SettingError(f"{out}: name a file that ends with .jsonl, .csv or .parquet")
    if form == "parquet":
        require_pyarrow()
    return form


def row_of(result: Assessment, form: Form) -> Row:
    """What a table of a form holds of a result: all of it in JSON lines, else one flat row."""
    return result.to_dict() if form == "jsonl" else result.to_row()


def write_table(out: Output, rows: Iterable[Row], form: Form) -> None:
    """Write a table that is there whole or not at all.

    Args:
        out: The file, which is written in the folder of its ledger if that is there, and then moved; or the
            object, which is written to a temporary file of this machine, and then uploaded.
        rows: As `row_of` gives them, all with the same keys, one or more.
        form: Of the table.

    Raises:
        ResourceError: It cannot be written; what was there before is kept.
    """
    write = {"jsonl": _write_jsonl, "csv": _write_csv, "parquet": write_parquet}[form]
    with _opened(out) as file:
        write(file, rows)


def _opened(out: Output) -> contextlib.AbstractContextManager[BinaryIO]:
    if isinstance(out, Url):
        return uploaded(out)
    ledger = ledger_folder(out)
    folder = ledger if isinstance(ledger, Path) and ledger.is_dir() else None
    return opened_whole(out, durable=True, folder=folder)


def csv_text(text: str) -> str:
    """A text on one line, with an apostrophe before what a spreadsheet would run as a formula.

    Also after a semicolon, where the spreadsheets of many countries start a new cell. Tabs are escaped.
    """
    return _STARTS_FORMULA.sub(r"\1'", printable(text))


def json_line(row: Row) -> str:
    """A row as one line of JSON, in ASCII."""
    return f"{json.dumps(row, allow_nan=False)}\n"


def csv_lines(row: Row, *, with_header: bool) -> str:
    """A row as one line of CSV, with the names of its columns in a line before it or not."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if with_header:
        writer.writerow(row)
    writer.writerow(csv_text(cell) if isinstance(cell, str) else cell for cell in row.values())
    return text.getvalue()


def _write_jsonl(file: BinaryIO, rows: Iterable[Row]) -> None:
    for row in rows:
        file.write(json_line(row).encode())


def _write_csv(file: BinaryIO, rows: Iterable[Row]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
    for number, row in enumerate(rows):
        text.write(csv_lines(row, with_header=number == 0))
    text.flush()
    text.detach()
