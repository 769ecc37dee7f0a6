"""The file of soft labels between `train teach` and `train fit`: image ids and their teachers' logits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeskin.errors import SettingError
from train.data import Sample

Logits = npt.NDArray[np.float32]


def write(samples: Sequence[Sample], logits: Logits, path: Path) -> None:
    """Write soft labels: image ids and logits (n, C)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(file, image_id=[sample.image_id for sample in samples], logits=logits)


def read(path: Path, samples: Sequence[Sample], classes: int) -> Logits:
    """The soft labels of samples, in their order: logits (n, classes).

    Raises SettingError naming the file when it cannot be read or lacks an image or a class.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            row_of = {image_id: row for row, image_id in enumerate(stored["image_id"].tolist())}
            logits: Logits = stored["logits"]
    except (OSError, ValueError, KeyError) as error:
        raise SettingError(f"{path}: cannot be read as soft labels of `train teach`: {error}") from error
    absent = [sample.image_id for sample in samples if sample.image_id not in row_of]
    if absent or logits.shape != (len(row_of), classes):
        raise SettingError(
            f"{path}: logits {logits.shape}, without {len(absent)} of the training images "
            f"({', '.join(absent[:5])}); write it anew from runs with these images and {classes} classes"
        )
    return logits[[row_of[sample.image_id] for sample in samples]]
