"""stdout and stderr of a command: results are written whole or the command fails, notices never fail.

Commands print results as usual, and `notice` writes everything else. `standard_streams` replaces Python's own
streams: unbuffered, they drop what a full non-blocking pipe does not take, and they are None where the
descriptor is closed; ``print(file=None)`` then writes to stdout.
"""

import contextlib
import errno
import io
import logging
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from edgeskin.errors import ResourceError
from edgeskin.report.text import printable

STDERR = 2
PATIENCE_S = 30.0
"""Seconds to wait for the reader of a full non-blocking pipe."""


class ResultStream(io.TextIOBase):
    """A text stream that writes whole lines, or raises ResourceError."""

    def __init__(self, raw: Any, encoding: str) -> None:
        """Write to an unbuffered binary stream; to None, nothing can be written."""
        self._raw, self._encoding = raw, encoding
        self._line = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream that this one replaces."""
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        """A file name that the terminal cannot show must not stop the pictures after it."""
        return "backslashreplace"

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._raw is not None and self._raw.isatty()

    def fileno(self) -> int:
        """Its descriptor. Raises OSError without one."""
        if self._raw is None:
            raise io.UnsupportedOperation("fileno")
        return int(self._raw.fileno())

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Write a text. Raises ResourceError unless all of it was taken.

        The start of a line waits for its end, since a signal may come between the two.
        """
        if not isinstance(text, str):
            raise TypeError(f"a text stream takes str, not {type(text).__name__}")
        self._line += text
        if text.endswith("\n"):
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Write what waits. Raises as `write`."""
        text, self._line = self._line, ""
        if text:
            self._write(text)

    def _write(self, text: str) -> None:
        rest = memoryview(text.replace("\n", os.linesep).encode(self.encoding, self.errors))
        try:
            if self._raw is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            while rest:
                taken = self._raw.write(rest)
                if taken is None:
                    self._wait()
                else:
                    rest = rest[taken:]
        except OSError as error:
            raise ResourceError(
                f"stdout: a result cannot be written ({error.strerror}); some results are lost", "not_written"
            ) from error

    def _wait(self) -> None:
        if not select.select([], [self._raw], [], PATIENCE_S)[1]:
            raise OSError(errno.EAGAIN, f"its reader took nothing for {PATIENCE_S:.0f} s")


class NoticeStream(ResultStream):
    """A text stream that drops what it cannot write, from the first failure on."""

    def is_stderr(self) -> bool:
        """Whether it writes to descriptor 2."""
        try:
            return self.fileno() == STDERR
        except OSError:
            return False

    def _write(self, text: str) -> None:
        try:
            super()._write(text)
        except ResourceError:
            self._raw = None


def notice(text: str) -> None:
    """Write one line to stderr, whatever characters the text holds."""
    print(printable(text), file=sys.stderr)


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Replace ``sys.stdout`` and ``sys.stderr`` while a command runs; the package's warnings are notices."""
    _reserve_descriptors()
    before = sys.stdout, sys.stderr
    logger, handler = logging.getLogger("edgeskin"), _NoticeHandler()
    logger.addHandler(handler)
    with _apart_from_libraries(_replaced(sys.stderr, NoticeStream)) as stderr:
        sys.stdout, sys.stderr = _replaced(sys.stdout, ResultStream), stderr
        try:
            yield
        finally:
            logger.removeHandler(handler)
            sys.stdout, sys.stderr = before


@contextlib.contextmanager
def _apart_from_libraries(stream: TextIO) -> Iterator[TextIO]:
    """Let a stream alone write to stderr while a command runs.

    Libraries write lines of their own to descriptor 2. Those of libjpeg are about the filler that
    `edgeskin.photo.jpeg_integrity` puts behind a progressive picture, and would call a whole one corrupt.
    """
    if not isinstance(stream, NoticeStream) or not stream.is_stderr():
        yield stream
        return
    own, null = os.dup(STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, STDERR)
    os.close(null)
    with io.FileIO(own, "wb") as raw:
        try:
            yield NoticeStream(raw, stream.encoding)  # type: ignore[misc]
        finally:
            os.dup2(own, STDERR)


def _reserve_descriptors() -> None:
    """Open the null device where a standard descriptor is closed.

    The next file to be opened would get that descriptor, and libraries would write their messages into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _replaced(stream: TextIO | None, kind: type[ResultStream]) -> TextIO:
    """A stream of this kind over the same file; a StringIO, which a caller may put there, stays."""
    if stream is None or stream.closed:
        return kind(None, "utf-8")  # type: ignore[return-value]
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        return stream
    with contextlib.suppress(OSError):
        stream.flush()
    return kind(getattr(buffer, "raw", buffer), stream.encoding)  # type: ignore[return-value]


class _NoticeHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        notice(record.getMessage())
