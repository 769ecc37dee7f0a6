"""Photos as the network sees them: decoded and preprocessed as the runtime does, one or many.

`read_tables` looks at every photo of a table before anything is computed from it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import track

from edgeskin.arrays import Image
from edgeskin.errors import PhotoError
from edgeskin.imaging.preprocess import Preprocessing, preprocess
from edgeskin.photo.decode import MIN_SIDE, load_photo
from edgeskin.taxonomy import ISIC_2019
from train.data.table import DataError, Sample, read_table

CONSOLE = Console(stderr=True)
_SHOWN = 20


def read_tables(folders: Sequence[Path], classes: Sequence[str] = ISIC_2019) -> list[Sample]:
    """Read the tables of folders, whose pictures can all be decoded; see `train.data.table.read_table`.

    Args:
        folders: The folders.
        classes: Codes of the classes that may be trained on.

    Raises:
        DataError: A table cannot be trusted; or pictures cannot be read (code ``unreadable``).
    """
    samples = [sample for folder in folders for sample in read_table(folder, classes, require_files=False)]
    require_readable(samples)
    return samples


def require_readable(samples: Sequence[Sample]) -> None:
    """Require that every picture can be decoded.

    Raises:
        DataError: Some cannot, code ``unreadable``. The message has their number and the first of them.
    """
    problems = unreadable(samples)
    if problems:
        more = len(problems) - _SHOWN
        rest = [f"and {more} more; `python -m train check FOLDER` prints all"] if more > 0 else []
        lines = [f"{len(problems)} of {len(samples)} images cannot be read:", *problems[:_SHOWN], *rest]
        raise DataError("\n".join(lines), "unreadable")


def unreadable(samples: Sequence[Sample]) -> list[str]:
    """Decode every picture at a reduced scale, on all cores; a line for each that cannot be read."""

    def problem(sample: Sample) -> str | None:
        try:
            load_photo(sample.image, MIN_SIDE)
        except PhotoError as error:
            return str(error)
        return None

    pool = ThreadPoolExecutor()
    try:
        steps = track(pool.map(problem, samples), "checking", len(samples), console=CONSOLE, transient=True)
        return [line for line in steps if line is not None]
    finally:
        pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not wait for the rest


def prepared(sample: Sample, settings: Preprocessing) -> Image:
    """The network's input of a sample, uint8 RGB (s, s, 3).

    Raises:
        PhotoError: The picture cannot be read.
    """
    return preprocess(load_photo(sample.image, settings.size).image, settings)


def each_prepared(samples: Sequence[Sample], settings: Preprocessing, task: str) -> Iterator[Image]:
    """The network's input of each sample in order, with a progress bar on stderr.

    Args:
        samples: The samples.
        settings: How photos are preprocessed.
        task: What the progress bar says, such as ``predicting``.

    Yields:
        uint8 RGB (s, s, 3).

    Raises:
        PhotoError: A picture cannot be read.
    """
    for sample in track(samples, task, console=CONSOLE, transient=True):
        yield prepared(sample, settings)
