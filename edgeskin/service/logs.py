"""The log of the service: JSON, one line a request and one an event, on stderr.

No line holds a picture, a name of a file, EXIF, an address, a query string or a token.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

LOGGER = "edgeskin.service"
_log = logging.getLogger(LOGGER)
_KNOWN_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class JsonHandler(logging.Handler):
    """Writes each record as a JSON object to the current ``sys.stderr``."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; fields are in its attribute ``fields``."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            # Further lines of other packages' messages may hold the message of an exception.
            "event": record.getMessage().partition("\n")[0],
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line |= {"error": type(record.exc_info[1]).__name__, "where": where(record.exc_info[1])}
        print(json.dumps(line), file=sys.stderr, flush=True)


def request_line(method: str, **fields: object) -> None:
    """Log an answered request: its id, route, status, milliseconds, bytes and outcome."""
    shown = method if method in _KNOWN_METHODS else "other"
    _log.info("request", extra={"fields": {"method": shown, **fields}})


def event(name: str, level: int = logging.INFO, **fields: object) -> None:
    """Log something else."""
    _log.log(level, name, extra={"fields": fields})


def unforeseen(error: BaseException, request_id: str) -> None:
    """Log an unforeseen exception by its class and place, without its message, which may name a photo."""
    event("unforeseen", logging.ERROR, request_id=request_id, error=type(error).__name__, where=where(error))


def where(error: BaseException) -> list[str]:
    """The place where an exception was raised, outermost frame first: file, line and function."""
    trace: TracebackType | None = error.__traceback__
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
