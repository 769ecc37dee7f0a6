"""Parquet tables, by pyarrow (extra ``parquet``): lists of pictures, and tables of results."""

import itertools
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from edgeskin.errors import SettingError
from edgeskin.photo.tables import require_regular
from edgeskin.results import TEXT_COLUMNS

ROWS_AT_ONCE = 4096
ROWS_PER_GROUP = 8192
"""Rows of a table that is written, in memory at once and in a row group of the file."""
MOST_TEXT = 4096
"""Bytes of a text. A small file could otherwise hold one of gigabytes, and name it in each of its rows."""


def require_pyarrow(table: Path | None = None) -> None:
    """Raise SettingError, naming the table, if the extra is missing."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        place = "" if table is None else f"{table}: "
        raise SettingError(
            f'{place}Parquet needs the package pyarrow: pip install "edgeskin[parquet]", or use CSV or JSONL'
        ) from error


def iter_parquet(
    table: Path, column: str | None = None, optional: Sequence[str] = ()
) -> Generator[dict[str, Any]]:
    """The rows of a Parquet file, read as they are needed, a few thousand in memory at once.

    Args:
        table: The file.
        column: A column of texts that it must have; None for none.
        optional: Columns of texts or numbers to read as well, where it has them.

    Raises:
        SettingError: The extra is missing, the file cannot be read, it lacks the column, a column is there
            twice or holds something else, or a text is longer than MOST_TEXT.
    """
    require_pyarrow(table)
    require_regular(table)
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(table) as file:
            schema, metadata = file.schema_arrow, file.metadata
        wanted = [*optional] if column is None else [column, *optional]
        columns = [name for name in wanted if name in schema.names]
        if column is not None and column not in columns:
            raise SettingError(f"{table}: no column {column}; it has {', '.join(schema.names)}")
        texts = _texts(table, schema, columns)
        if column is not None and column not in texts:
            raise SettingError(f"{table}: the column {column} holds no text; write it as text")
        _require_moderate(table, metadata, texts)
        # As a dictionary, a text that many rows share is in memory once.
        with parquet.ParquetFile(table, metadata=metadata, read_dictionary=texts) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
                for name in texts:
                    _require_short(table, name, batch.column(name))
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(f"{table}: cannot be read as Parquet ({reason}); write it again") from error


def _texts(table: Path, schema: Any, columns: Sequence[str]) -> list[str]:
    """Those of the columns that hold text; raises SettingError where one holds neither text nor numbers."""
    from pyarrow import types

    found = []
    for name in columns:
        if schema.names.count(name) > 1:
            raise SettingError(f"{table}: columns {name} are there twice; rename one")
        kind = schema.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        if types.is_string(kind) or types.is_large_string(kind):
            found.append(name)
        elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind)):
            raise SettingError(f"{table}: the column {name} holds {kind}; write texts or numbers")
    return found


def _require_moderate(table: Path, metadata: Any, texts: Sequence[str]) -> None:
    """Raise SettingError where a part of a column is larger than texts of MOST_TEXT would make it."""
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        most = 2**20 + group.num_rows * (MOST_TEXT + 8)
        for part in map(group.column, range(group.num_columns)):
            if part.path_in_schema in texts and part.total_uncompressed_size > most:
                raise _too_long(table, part.path_in_schema)


def _require_short(table: Path, name: str, column: Any) -> None:
    """Raise SettingError if a text in part of a column, which is not yet in Python, is too long."""
    from pyarrow import compute

    values = getattr(column, "dictionary", column)
    if (compute.max(compute.binary_length(values)).as_py() or 0) > MOST_TEXT:
        raise _too_long(table, name)


def _too_long(table: Path, name: str) -> SettingError:
    return SettingError(
        f"{table}: a text in the column {name} is longer than {MOST_TEXT:,} bytes; shorten it"
    )


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
