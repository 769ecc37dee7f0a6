"""What becomes of whole, damaged, hostile and odd files: answers, errors, time, memory; crashes and hangs.

    python -m benchmarks.robustness.corpus [DIR] [--out FILE] [--drawn 2] [--real 6] [--bundle NAME]

DIR is a folder of files, searched in depth: all are tried, whatever their names. Without DIR, the corpus is
generated (see `benchmarks.robustness.corpus_files`): the example, drawn lesions and, where EDGESKIN_DATA is
set, pictures of the validation split, in every format that is read and with every kind of damage; hostile
files; files of other formats.

A child process assesses one input after another, with a limit of time and memory each; where it crashes or
hangs, that is counted and a new child goes on. An input is damaged if at least 0.5% of its pixels differ by
more than 16 levels from those of the whole file. Writes FILE, by default
benchmarks/robustness/results/corpus.json without DIR and corpus.json with it; the exit code is 1 if an input
crashed or hung.
"""

import contextlib
import multiprocessing
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import (
    argument_parser,
    hardware,
    read_result,
    result,
    result_path,
    write_result,
)
from benchmarks.robustness.corpus_files import generate
from benchmarks.robustness.corpus_pictures import WHOLE, Case
from benchmarks.tables import Table
from edgeskin.arrays import Image
from edgeskin.bundle.bundle import open_bundle
from edgeskin.classifier import Classifier
from edgeskin.errors import EdgeskinError, PhotoError
from edgeskin.photo.decode import load_photo
from edgeskin.photo.headers import read_header
from edgeskin.results import Assessment

RESULT = result_path(__file__)
SECONDS = 30.0
"""Longest time for one input; beyond it, it hangs."""
MEMORY = 2**31
"""Bytes of address space that a child may take besides its network and libraries."""
LEVELS, SHARE = 16, 0.005
"""A picture is damaged if so large a share of its pixels differs by more levels from the whole one."""
DEFINITION = (
    f"An input is damaged if at least {SHARE:.1%} of its pixels differ by more than {LEVELS} levels from "
    "those of the whole file; less counts as undamaged."
)
ANSWERS = ("assessed", "retake", "out_of_scope")
FAILURES = ("crashed", "hung")
Serve = Callable[[Connection, str | Path], None]
"""What a child runs: it says that it is ready, and sends an `Outcome` for each `Case`."""


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        status: Of the assessment; ``error`` for a typed error, ``crashed`` or ``hung``.
        code: Of the error.
        format: Found in the bytes; empty for none.
        level: Of confidence; empty unless it was assessed.
        damaged: Whether it was answered although pixels are damaged; None where there is nothing to compare.
        change: Of P(cancer) against the whole file; None unless both were assessed.
        lost: Whether the risk is LOW and that of the whole file is not.
        seconds: Of the assessment.
        peak_mb: Largest resident memory of the child during the assessment; 0 where it is not known.
    """

    status: str
    code: str = ""
    format: str = ""
    level: str = ""
    damaged: bool | None = None
    change: float | None = None
    lost: bool = False
    seconds: float = 0.0
    peak_mb: float = 0.0

    @property
    def passes(self) -> bool:
        """Whether a damaged picture was assessed with a confidence above LOW."""
        return bool(self.damaged) and self.level in ("MEDIUM", "HIGH")


def main() -> None:
    """Try all inputs, print the tables, write the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("folder", metavar="DIR", nargs="?", type=Path)
    parser.add_argument("--out", metavar="FILE", type=Path)
    parser.add_argument("--drawn", type=int, default=2, help="drawn lesions of the generated corpus")
    parser.add_argument("--real", type=int, default=6, help="pictures of EDGESKIN_DATA in it")
    parser.add_argument("--bundle", default="default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if options.folder is None:
            cases: Iterable[Case] = generate(Path(scratch), options.drawn, options.real)
        elif options.folder.is_dir():
            cases = of_folder(options.folder)
        else:
            parser.error(f"{options.folder}: there is no such folder")
        tried = []
        for case, outcome in outcomes(cases, options.bundle):
            tried.append((replace(case, source=b"", whole=case.whole and b""), outcome))
            if outcome.status in FAILURES:
                print(f"{outcome.status}: {case.kind}, {case.form}", flush=True)
    packages = ("openvino", "numpy", "opencv-python-headless", "pillow")
    arguments = options.folder or f"--drawn {options.drawn} --real {options.real}"
    command = f"python -m benchmarks.robustness.corpus {arguments}"
    content = result(command, *packages, **tallies(tried))
    for table in (kinds_of(content), forms_of(content), found_of(content)):
        print(table.grid(), end="\n\n")
    write_result(options.out or (RESULT if options.folder is None else Path("corpus.json")), content)
    sys.exit(any(outcome.status in FAILURES for _, outcome in tried))


def of_folder(folder: Path) -> Iterator[Case]:
    """List everything in a folder that is not a folder itself."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield Case("files of the folder", path.suffix.lower() or "no suffix", path)


def outcomes(
    cases: Iterable[Case], bundle: str | Path, seconds: float = SECONDS, serve: Serve | None = None
) -> Iterator[tuple[Case, Outcome]]:
    """Assess each input in a child process, which is started again where it crashes or hangs.

    Args:
        cases: The inputs.
        bundle: Name or folder of a bundle.
        seconds: Longest time for one input.
        serve: What the child runs; None for `assess_all`.
    """
    child = _Child(bundle, serve or assess_all)
    try:
        for case in cases:
            outcome = child.outcome(case, seconds)
            yield case, outcome
            if outcome.status in FAILURES:
                child.end()
                child = _Child(bundle, serve or assess_all)
    finally:
        child.end()


class _Child:
    """A process that answers inputs."""

    def __init__(self, bundle: str | Path, serve: Serve) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(theirs, bundle), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()

    def outcome(self, case: Case, seconds: float) -> Outcome:
        started = time.perf_counter()
        try:
            self._connection.send(case)
            if self._connection.poll(seconds):
                answer: Outcome = self._connection.recv()
                return answer
            status = "hung"
        except (EOFError, OSError):
            status = "crashed"
        return Outcome(status, seconds=time.perf_counter() - started)

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()


def assess_all(connection: Connection, bundle: str | Path) -> None:
    """Answer inputs until the connection ends. An error that is none of edgeskin's ends the process."""
    import resource  # not on every system that renders the tables

    opened = open_bundle(bundle)
    size = opened.manifest.preprocessing.size
    classifier = Classifier(opened, threads=1)
    used = int(re.findall(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    whole, pixels, answer = b"", np.empty((0, 0, 3), np.uint8), None
    connection.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            case: Case = connection.recv()
            outcome, found = _assessed(case, classifier)
            if case.whole is not None and found is not None:
                if case.whole != whole:
                    whole, pixels = case.whole, load_photo(case.whole, size).image
                    answer = classifier.assess(whole)
                outcome = compared(
                    outcome, found, answer, differs(load_photo(case.source, size).image, pixels)
                )
            connection.send(outcome)


def _assessed(case: Case, classifier: Classifier) -> tuple[Outcome, Assessment | None]:
    # The system's figure for a process is of its whole life, unless it is set back (proc(5), clear_refs).
    Path("/proc/self/clear_refs").write_text("5")
    found = None
    started = time.perf_counter()
    try:
        found = classifier.assess(case.source)
        outcome = Outcome(found.status, level=found.confidence.level if found.confidence else "")
    except EdgeskinError as error:
        outcome = Outcome("error", error.code)
    seconds = time.perf_counter() - started
    peak = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024 / 1e6
    return replace(outcome, format=_format(case.source), seconds=seconds, peak_mb=peak), found


def _format(source: bytes | Path) -> str:
    try:
        if isinstance(source, Path):
            source = source.read_bytes() if source.is_file() else b""
        return read_header(source).format
    except (PhotoError, OSError, ValueError):
        return ""


def compared(outcome: Outcome, found: Assessment, whole: Assessment | None, damaged: bool) -> Outcome:
    """Add to an outcome how the answer differs from that on the whole file."""
    change, lost = None, False
    if whole is not None and whole.cancer_probability is not None and found.cancer_probability is not None:
        change = abs(found.cancer_probability - whole.cancer_probability)
        lost = found.risk == "LOW" != whole.risk
    return replace(outcome, damaged=damaged, change=change, lost=lost)


def differs(image: Image, whole: Image) -> bool:
    """Whether a picture is damaged: SHARE of its pixels differ by more than LEVELS, or are only in one.

    Args:
        image: uint8 RGB (h, w, 3).
        whole: uint8 RGB, the picture as it was.
    """
    height, width = np.minimum(image.shape, whole.shape)[:2]
    difference = np.abs(image[:height, :width].astype(np.int16) - whole[:height, :width]).max(-1)
    area = image[..., 0].size + whole[..., 0].size - difference.size
    changed = np.count_nonzero(difference > LEVELS) + area - difference.size
    return bool(changed >= SHARE * area)


def tallies(tried: Iterable[tuple[Case, Outcome]]) -> dict[str, list[dict[str, Any]]]:
    """Count by kind of input; by form, where there is a whole file; and by format found and what came out."""
    groups: dict[str, dict[str, list[Outcome]]] = {"kinds": {}, "forms": {}, "found": {}}
    for case, outcome in tried:
        groups["kinds"].setdefault(case.kind, []).append(outcome)
        if case.whole is not None and case.kind != WHOLE:
            groups["forms"].setdefault(case.form, []).append(outcome)
        found = f"{outcome.format or 'none'}, {outcome.code or outcome.status}"
        groups["found"].setdefault(found, []).append(outcome)
    return {
        group: [{"name": name, **tally(outcomes)} for name, outcomes in named.items()]
        for group, named in groups.items()
    }


def tally(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Count outcomes.

    Returns:
        ``tried``; one count for each status; ``damaged``: answered although damaged; ``passing``: of these,
        assessed with confidence above LOW; the mean and largest change of P(cancer) of these, 0 to 1, None
        without any, and how many of them ``lost`` a referral; the longest time and the largest memory.
    """
    passing = [outcome for outcome in outcomes if outcome.passes]
    changes = [outcome.change for outcome in passing if outcome.change is not None]
    statuses = Counter(outcome.status for outcome in outcomes)
    return {
        "tried": len(outcomes),
        **{status: statuses[status] for status in (*ANSWERS, "error", *FAILURES)},
        "damaged": sum(bool(outcome.damaged) for outcome in outcomes),
        "passing": len(passing),
        "mean_change": round(float(np.mean(changes)), 4) if changes else None,
        "largest_change": round(max(changes), 4) if changes else None,
        "lost": sum(outcome.lost for outcome in passing),
        "seconds": round(max(outcome.seconds for outcome in outcomes), 2),
        "peak_mb": round(max(outcome.peak_mb for outcome in outcomes)),
    }


def kinds_of(content: Mapping[str, Any]) -> Table:
    """Render a result by kind of input."""
    return Table(
        "Inputs by kind",
        "What became of each kind of input. Answered is assessed, retake or out of scope; refused is a typed "
        f"error. {DEFINITION} The last columns count damaged inputs that were assessed with a confidence "
        "above LOW, and how much P(cancer) changed in them.",
        content["command"],
        ("input", *_HEAD),
        [_row(row) for row in (*content["kinds"], total(content["kinds"]))],
    )


def forms_of(content: Mapping[str, Any]) -> Table:
    """Render a result by the form of the whole file."""
    return Table(
        "Damaged inputs by format",
        "The inputs above that are made from a whole file, by its format, and the answers among them that "
        "are of damaged pixels. Lost: above LOW in confidence, LOW in risk, and the whole file is not.",
        content["command"],
        ("format", *_HEAD, "damaged, answered", "lost"),
        [(*_row(row), str(row["damaged"]), str(row["lost"])) for row in content["forms"]],
    )


def found_of(content: Mapping[str, Any]) -> Table:
    """Render a result by format found and what came out."""
    return Table(
        "Outcomes by format found",
        "The format found in the bytes, and the answer or the code of the error; the longest time of one "
        "input, without the start of the process, and the largest memory of the process, network included. "
        f"Other programs ran on the machine. {hardware(content)}.",
        content["command"],
        ("format, outcome", "inputs", "longest s", "peak MB"),
        [
            (row["name"], f"{row['tried']:,}", f"{row['seconds']:.2f}", str(row["peak_mb"]))
            for row in sorted(content["found"], key=lambda row: str(row["name"]))
        ],
    )


_HEAD = (
    *("tried", "answered", "refused", "crashed", "hung"),
    *("damaged, confidence above LOW", "mean change", "largest change"),
)


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    answered = sum(row[status] for status in ANSWERS)
    counts = (row["tried"], answered, row["error"], row["crashed"], row["hung"], row["passing"])
    changes = ("" if row[key] is None else f"{row[key]:.3f}" for key in ("mean_change", "largest_change"))
    return (row["name"], *(f"{count:,}" for count in counts), *changes)


def total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum counts; the mean change is of all inputs that passed."""
    counts = ("tried", *ANSWERS, "error", *FAILURES, "damaged", "passing", "lost")
    changed = [row for row in rows if row["mean_change"] is not None]
    passing = sum(row["passing"] for row in changed)
    return {
        "name": "**all**",
        **{key: sum(row[key] for row in rows) for key in counts},
        "mean_change": sum(row["mean_change"] * row["passing"] for row in changed) / passing
        if passing
        else None,
        "largest_change": max((row["largest_change"] for row in changed), default=None),
    }


def kinds_table() -> Table:
    """Render the committed result by kind of input."""
    return kinds_of(read_result(RESULT))


def forms_table() -> Table:
    """Render the committed result by the form of the whole file."""
    return forms_of(read_result(RESULT))


def found_table() -> Table:
    """Render the committed result by format found and what came out."""
    return found_of(read_result(RESULT))


if __name__ == "__main__":
    main()
