"""Reads tables of results, a thousand rows at once: JSONL, CSV, or Parquet (extra ``parquet``)."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, get_args

from edgeskin.arrays import Float64s
from edgeskin.bundle.bundle import Bundle
from edgeskin.errors import SettingError
from edgeskin.monitoring.reference import Measure, values_of
from edgeskin.photo.parquet import iter_parquet
from edgeskin.photo.tables import iter_table, require_regular
from edgeskin.results import QUALITY_MEASURES, Precision

ROWS_AT_ONCE = 1000
_IN_JSON = {
    "confidence_level": ("certainty", "level"),
    "confidence_score": ("certainty", "score"),
    "ood_score": ("ood", "score"),
    "ood_features": ("ood", "features"),
    "ood_picture": ("ood", "picture"),
    "threshold": ("operating_point", "threshold"),
    "model_sha256": ("model", "sha256"),
    "precision": ("model", "precision"),
} | {f"quality_{name}": ("quality", "measures", name) for name in QUALITY_MEASURES}
"""Where the JSON of schema 1 has the columns of a row that it has under other names."""
_OF_EVERY_ROW = ("status", "model_sha256", "precision", "threshold")
"""Columns that say whether a row counts and what it is of."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table. values: of the pictures that could be read, (n, measures). errors: the others."""

    values: Float64s
    errors: int


class Origin:
    """The network and the threshold that all rows must come from.

    Attributes:
        precision: Of the rows so far; None before the first.
        threshold: The screening threshold of the rows so far; None before the first that has one.
    """

    def __init__(self, bundle: Bundle, *, own_threshold: bool) -> None:
        """Expect rows of a bundle. own_threshold: whether they must have the bundle's threshold too."""
        self._bundle, self._own_threshold = bundle, own_threshold
        self.precision: Precision | None = None
        self.threshold: float | None = None

    def require(self, row: Row, place: str) -> None:
        """Raise SettingError, naming the place, unless a row has the same origin as those before it."""
        manifest = self._bundle.manifest
        sha256, named = row.get("model_sha256"), row.get("precision")
        if not sha256:
            raise SettingError(
                f"{place}: no model_sha256, so the result may be of any bundle; give a table of `edgeskin "
                "predict` with this column"
            )
        if sha256 != self._bundle.sha256:
            raise SettingError(
                f"{place}: the result is of the bundle {str(sha256)[:12]!r}, not of {manifest.name} "
                f"{manifest.version} ({self._bundle.sha256[:12]}); name its bundle with --bundle, and "
                "monitor the results of each bundle apart"
            )
        precision: Precision | None = next((one for one in get_args(Precision) if one == named), None)
        if precision is None:
            raise SettingError(f"{place}: unknown precision {named!r:.60}; give results of int8 or fp32")
        if self.precision is None:
            self.precision = precision
            if self._own_threshold:
                self.threshold = manifest.decision_rules[precision].screening_threshold
        if precision != self.precision:
            raise SettingError(
                f"{place}: the result is of {precision}, and those before it of {self.precision}; monitor "
                "each precision apart"
            )
        threshold = row.get("threshold")
        if threshold is None or threshold == "":
            return
        value = _number(threshold)
        self.threshold = value if self.threshold is None else self.threshold
        if not math.isclose(value, self.threshold, rel_tol=1e-9):
            raise SettingError(
                f"{place}: the threshold is {threshold!r:.30}, not {self.threshold:.6g}, so the risk does "
                "not compare; monitor results of each --sensitivity apart, with a --reference of the same"
            )


def read_results(table: Path, measures: Sequence[Measure], origin: Origin) -> Iterator[Chunk]:
    """Read a table of results, in its order.

    Args:
        table: A file named .jsonl, one object a line, .csv or .parquet.
        measures: What to read.
        origin: What every row is compared with.

    Raises:
        SettingError: The file cannot be read or holds something else, or a row is of another origin. The
            message names the file and the row.
    """
    suffix = table.suffix.lower()
    if suffix not in _READERS:
        raise SettingError(f"{table}: choose a table that ends in {', '.join(_READERS)}")
    columns = dict.fromkeys((*_OF_EVERY_ROW, *(measure.column for measure in measures)))
    rows = _READERS[suffix](table, list(columns))
    first = 1
    while some := list(islice(rows, ROWS_AT_ONCE)):
        yield _chunk(some, f"{table}: row", first, measures, origin)
        first += len(some)


def _chunk(rows: list[Row], where: str, first: int, measures: Sequence[Measure], origin: Origin) -> Chunk:
    read = []
    for number, row in enumerate(rows, first):
        if not row.get("status"):
            raise SettingError(f"{where} {number}: no status; give a table of `edgeskin predict` results")
        origin.require(row, f"{where} {number}")
        if row["status"] != "error":
            read.append((number, row))
    try:
        values = values_of((row for _, row in read), measures)
    except ValueError:
        for number, row in read:
            try:
                values_of([row], measures)
            except ValueError as error:
                raise SettingError(f"{where} {number}: {error}; write the table again") from error
        raise
    return Chunk(values, len(rows) - len(read))


def _parquet_rows(table: Path, columns: Sequence[str]) -> Iterator[Row]:
    return iter_parquet(table, optional=columns)


def _csv_rows(table: Path, columns: Sequence[str]) -> Iterator[Row]:
    return iter_table(table)


def _json_rows(table: Path, columns: Sequence[str]) -> Iterator[Row]:
    with _opened(table) as lines:
        for number, line in enumerate(lines, 1):
            try:
                values = json.loads(line)
                if not isinstance(values, dict):
                    raise ValueError("not an object")
                yield _flat(values) if isinstance(values.get("model"), dict) else values
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                raise SettingError(
                    f"{table}: row {number}: not a result in JSON ({error}); write the table again"
                ) from error


def _flat(values: dict[str, Any]) -> Row:
    """The JSON of one assessment under the names of a row's columns."""
    row = dict(values)
    for column, (key, *keys) in _IN_JSON.items():
        part = values.get(key)
        for name in keys:
            part = None if part is None else part.get(name)
        row[column] = part
    return row


@contextlib.contextmanager
def _opened(table: Path) -> Iterator[TextIO]:
    """Open a text file in UTF-8; errors of reading become SettingError."""
    require_regular(table)
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            yield lines
    except UnicodeDecodeError as error:
        raise SettingError(f"{table}: not in UTF-8 ({error.reason}); write the table again") from error
    except OSError as error:
        raise SettingError(f"{table}: cannot be read ({error.strerror}); check its name") from error


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError, OverflowError):
        return math.nan


_READERS: dict[str, Callable[[Path, Sequence[str]], Iterator[Row]]] = {
    ".parquet": _parquet_rows,
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
}
