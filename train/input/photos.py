"""Photos as the network sees them: decoded and preprocessed as the runtime does, one or many."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import track

from edgeskin.arrays import Image
from edgeskin.imaging.preprocess import Preprocessing, preprocess
from edgeskin.photo.decode import load_photo
from train.data.table import Sample

CONSOLE = Console(stderr=True)


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
