"""The file of soft labels between `train teach` and `train fit`: image ids and their teachers' logits."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeskin.errors import SettingError
from train.data import Sample

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SoftLabels:
    """What a file holds: image ids (n), the teachers' logits (n, C), the classes, and the split's SHA-256."""

    image_ids: list[str]
    logits: Logits
    classes: list[str]
    split_sha256: str


def write(samples: Sequence[Sample], logits: Logits, classes: Sequence[str], split: str, path: Path) -> None:
    """Write the teachers' logits (n, C) of samples, with the classes and the split's SHA-256.

    They are kept in half precision, which is off by at most 0.004 up to a logit of 16.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [sample.image_id for sample in samples]
    half = logits.astype(np.float16)
    with path.open("wb") as file:
        np.savez_compressed(file, image_id=ids, logits=half, classes=list(classes), split_sha256=split)


def load(path: Path) -> SoftLabels:
    """What a file holds. Raises SettingError naming the file when it cannot be read."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return SoftLabels(
                stored["image_id"].tolist(),
                stored["logits"].astype(np.float32),
                stored["classes"].tolist(),
                str(stored["split_sha256"]),
            )
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise SettingError(f"{path}: cannot be read as soft labels of `train teach`: {error}") from error


def read(path: Path, samples: Sequence[Sample], classes: Sequence[str], split: str) -> Logits:
    """The teachers' logits of samples, in their order: (n, C).

    Raises SettingError naming the file when it cannot be read, has other classes or another split, or lacks
    an image.
    """
    stored = load(path)
    if stored.classes != list(classes) or stored.split_sha256 != split:
        raise SettingError(
            f"{path}: of the classes {', '.join(stored.classes)} and the split {stored.split_sha256[:12]}, "
            f"the run has {', '.join(classes)} and {split[:12]}; write it anew from runs like this one"
        )
    row_of = {image_id: row for row, image_id in enumerate(stored.image_ids)}
    absent = [sample.image_id for sample in samples if sample.image_id not in row_of]
    if absent:
        raise SettingError(f"{path}: without {len(absent)} of the training images ({', '.join(absent[:5])})")
    rows: Logits = stored.logits[[row_of[sample.image_id] for sample in samples]]
    return rows
