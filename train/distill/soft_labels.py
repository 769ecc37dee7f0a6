"""The file of soft labels between `train teach` and `train fit`: image ids and their teachers' logits."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeskin.errors import SettingError
from train.data.table import Sample

Logits = npt.NDArray[np.float32]


def write(samples: Sequence[Sample], logits: Logits, classes: Sequence[str], split: str, path: Path) -> None:
    """Write the teachers' logits (n, C) of samples, with the classes and the split's SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [sample.image_id for sample in samples]
    with path.open("wb") as file:
        np.savez_compressed(file, image_id=ids, logits=logits, classes=list(classes), split_sha256=split)


def read(path: Path, samples: Sequence[Sample], classes: Sequence[str], split: str) -> Logits:
    """The teachers' logits of samples, in their order: (n, C).

    Raises SettingError naming the file when it cannot be read, has other classes or another split, or lacks
    an image.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            ids, logits, told = stored["image_id"], stored["logits"], stored["classes"].tolist()
            of_split = str(stored["split_sha256"])
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise SettingError(f"{path}: cannot be read as soft labels of `train teach`: {error}") from error
    if told != list(classes) or of_split != split:
        raise SettingError(
            f"{path}: of the classes {', '.join(told)} and the split {of_split[:12]}, the run has "
            f"{', '.join(classes)} and {split[:12]}; write it anew from runs like this one"
        )
    row_of = {image_id: row for row, image_id in enumerate(ids.tolist())}
    absent = [sample.image_id for sample in samples if sample.image_id not in row_of]
    if absent:
        raise SettingError(f"{path}: without {len(absent)} of the training images ({', '.join(absent[:5])})")
    rows: Logits = logits[[row_of[sample.image_id] for sample in samples]]
    return rows
