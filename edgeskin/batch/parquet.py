"""Results as a Parquet table, by pyarrow (extra ``parquet``)."""

import itertools
from collections.abc import Iterable
from typing import Any, BinaryIO

from edgeskin.results import TEXT_COLUMNS

ROWS_PER_GROUP = 8192
"""Rows in memory at once, and in a row group of the file."""


def write_parquet(file: BinaryIO, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows of `edgeskin.results.Assessment.to_row`, one or more: text, and all else as float64."""
    import pyarrow
    from pyarrow import parquet

    remaining = iter(rows)
    first = next(remaining)
    schema = pyarrow.schema(
        (name, pyarrow.string() if name in TEXT_COLUMNS else pyarrow.float64()) for name in first
    )
    remaining = itertools.chain([first], remaining)
    with parquet.ParquetWriter(file, schema) as writer:
        while group := list(itertools.islice(remaining, ROWS_PER_GROUP)):
            encodable = [{name: _utf8(cell) for name, cell in row.items()} for row in group]
            writer.write_table(pyarrow.Table.from_pylist(encodable, schema))


def _utf8(cell: Any) -> Any:
    """A cell; file names that are not UTF-8 are escaped, which Parquet cannot hold."""
    return cell.encode(errors="backslashreplace").decode() if isinstance(cell, str) else cell
