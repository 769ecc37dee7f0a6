"""Parquet tables of pictures, by pyarrow (extra ``parquet``)."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from edgeskin.errors import SettingError

ROWS_AT_ONCE = 4096


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
        column: A column that it must have; None to read all columns.
        optional: Columns to read beside that one, where it has them.

    Raises:
        SettingError: The extra is missing, the file cannot be read, or it lacks the column.
    """
    require_pyarrow(table)
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(table) as file:
            names = file.schema_arrow.names
            if column is not None and column not in names:
                raise SettingError(f"{table}: no column {column}; it has {', '.join(names)}")
            columns = None if column is None else [column, *(name for name in optional if name in names)]
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(f"{table}: cannot be read as Parquet ({reason}); write it again") from error
