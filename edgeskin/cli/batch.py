"""edgeskin predict --out: many pictures into one table."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

from edgeskin import NOTICE
from edgeskin.batch.ledger import JOB, Output, ledger_folder
from edgeskin.batch.messages import evaluation_text, progress_text, summary_text
from edgeskin.batch.runner import Engine, PartSettings, assess_here, count_photos, run
from edgeskin.batch.sinks import form_of
from edgeskin.classifier import Classifier
from edgeskin.cli.outputs import is_folder, refuse_overwriting_inputs
from edgeskin.cli.streams import notice
from edgeskin.errors import SettingError
from edgeskin.photo.listing import LISTS, STANDARD_INPUT, list_photos, matches
from edgeskin.photo.remote import is_url

LINE_EVERY_S = 30.0
"""Seconds between two lines of progress where stderr is no terminal."""
SHOW_CURSOR = b"\x1b[?25h\r\n"
"""A bar hides the cursor; this shows it, on a line of its own."""
Show = Callable[[int, int], None]


Engines = Callable[[PartSettings], AbstractContextManager[Engine]]


def predict_into(
    out: Output,
    sources: Sequence[str],
    recursive: bool,
    open_classifier: Callable[[], Classifier],
    sampling: Mapping[str, Any],
    retry_errors: bool,
    engines: Engines | None = None,
) -> int:
    """Assess all pictures of sources into a table.

    Args:
        out: The table.
        sources: As `list_photos` takes them.
        recursive: As `list_photos`.
        open_classifier: Called once the sources and the table are known to be valid.
        sampling: ``mc_samples``, ``seed`` and ``context`` of `PartSettings`.
        retry_errors: As `run`.
        engines: Starts what assesses; None for this process.

    Returns:
        The exit code.

    Raises:
        SettingError: The table or a source is not usable.
        ResourceError: The table cannot be written, or the engine finds no workers.
    """
    form = form_of(out)
    own = [out, ledger_folder(out)]
    if isinstance(out, Path):
        _require_usable(out, sources, retry_errors)
    total = _count(sources, recursive, own)
    settings = PartSettings(open_classifier(), form, **sampling)
    engines = engines or (lambda settings: contextlib.nullcontext(assess_here(settings)))
    quiet = STANDARD_INPUT not in sources
    listed = list_photos(sources, recursive=recursive, quiet=quiet, leave_out=own)
    words = "ending after the parts in progress"
    # The engine first: Ray has a handler of signals of its own.
    with (
        contextlib.closing(listed) as photos,
        engines(settings) as engine,
        Signals(words, f"ended at once; {ledger_folder(out)} has the parts before") as signals,
        _progress(total) as show,
    ):
        summary = run(
            photos,
            settings,
            out,
            engine=engine,
            retry_errors=retry_errors,
            progress=show,
            should_stop=lambda: signals.received is not None,
        )
    for line in summary_text(summary).splitlines():
        notice(line)
    if not summary.is_finished:
        notice(f"ended before its end; {ledger_folder(out)} has what is done, and the same command goes on")
        return 128 + (signals.received or 0)
    if summary.evaluation is not None:
        print(evaluation_text(summary.evaluation))
    if summary.statuses["error"]:
        notice(
            "the same command with --retry-errors assesses the failed pictures again; delete "
            f"{ledger_folder(out)} if you do not need that"
        )
    notice(f"written: {out}")
    notice(NOTICE)
    return int(summary.statuses.keys() != {"assessed"})


def cluster(
    address: str | None, workers: int | None, threads: int | None, settings: PartSettings
) -> AbstractContextManager[Engine]:
    """Start the engine on a Ray cluster; arguments and errors as `edgeskin.batch.ray.RayEngine`."""
    from edgeskin.batch.ray import RayEngine

    notice(f"connecting to the Ray cluster at {address}" if address else "starting Ray")
    engine = RayEngine(settings, address=address, workers=workers, threads=threads or 1)
    notice(f"Ray: asked for {engine.workers} workers")
    return engine


def _require_usable(out: Path, sources: Sequence[str], retry_errors: bool) -> None:
    """Raise SettingError unless a table can go there."""
    if is_folder(out) or not out.absolute().parent.is_dir():
        raise SettingError(f"{out}: name a file in a folder that exists")
    # A pattern may match the table of a run that goes on, and then leaves it out.
    own = [out] if (ledger_folder(out) / JOB).exists() else []
    lists = (
        path
        for source in sources
        if out.suffix.lower() in LISTS and not is_url(source)
        for path in matches(source, own)
        if path.suffix.lower() == out.suffix.lower()
    )
    refuse_overwriting_inputs([out], lists)
    if retry_errors and out.exists() and not ledger_folder(out).exists():
        raise SettingError(f"{out}: no picture failed; leave --retry-errors out to assess all of them again")


def _count(sources: Sequence[str], recursive: bool, own: Sequence[Output]) -> int | None:
    """The number of pictures, whose lists are checked on the way; None where names come on standard input."""
    is_whole = STANDARD_INPUT not in sources
    others = [source for source in sources if source != STANDARD_INPUT]
    listed = list_photos(others, recursive=recursive, quiet=not is_whole, leave_out=own)
    with contextlib.closing(listed) as photos:
        number = count_photos(photos) if others else None
    return number if is_whole else None


class Signals:
    """Lets a first SIGINT or SIGTERM end a run between whole pieces of work, and a second one at once.

    Attributes:
        received: The number of the first signal; None so far.
    """

    def __init__(self, words: str, at_once: str = "ended at once") -> None:
        """Handle signals once it is entered. words: what a first signal does; at_once: what a second did."""
        self._words, self._at_once = words, at_once
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), SHOW_CURSOR)
            notice(self._at_once)
            os._exit(128 + number)
        self.received = number
        notice(f"{self._words}; once more to end at once, which loses it")


@contextlib.contextmanager
def _progress(total: int | None) -> Iterator[Show]:
    """Show progress on stderr while a run lasts: a bar on a terminal, else a line now and then."""
    started = time.monotonic()

    def text(done: int, computed: int) -> str:
        return progress_text(done, total, computed, time.monotonic() - started)

    if sys.stderr.isatty():
        with _bar(total, text) as show:
            yield show
        return
    last = started

    def line(done: int, computed: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            notice(text(done, computed))

    yield line


@contextlib.contextmanager
def _bar(total: int | None, text: Callable[[int, int], str]) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(file=sys.stderr, highlight=False)
    columns = (BarColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(text(0, 0), total=total)
        yield lambda done, computed: progress.update(task, completed=done, description=text(done, computed))
