"""The file of soft labels: image ids and the logits of their teachers."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeskin.errors import SettingError
from train.data.table import Sample

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SoftLabels:
    """The content of a file.

    Attributes:
        image_ids: The images, n.
        logits: Their teachers' logits (n, C).
        classes: Codes of the classes (C,).
        split_sha256: SHA-256 of the table's split, in hex.
    """

    image_ids: list[str]
    logits: Logits
    classes: list[str]
    split_sha256: str


def write(samples: Sequence[Sample], logits: Logits, classes: Sequence[str], split: str, path: Path) -> None:
    """Write soft labels in half precision, whose rounding error is at most 0.004 for logits within +-16.

    Args:
        samples: The images, n.
        logits: Their teachers' logits (n, C).
        classes: Codes of the classes (C,).
        split: SHA-256 of the table's split.
        path: The .npz file to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [sample.image_id for sample in samples]
    half = logits.astype(np.float16)
    with path.open("wb") as file:
        np.savez_compressed(file, image_id=ids, logits=half, classes=list(classes), split_sha256=split)


def load(path: Path) -> SoftLabels:
    """Load a whole file.

    Raises:
        SettingError: The file cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return SoftLabels(
                stored["image_id"].tolist(),
                stored["logits"].astype(np.float32),
                stored["classes"].tolist(),
                str(stored["split_sha256"]),
            )
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise SettingError(f"{path}: cannot be read as a file of `soft-labels`: {error}") from error


def read(path: Path, samples: Sequence[Sample], classes: Sequence[str], split: str) -> Logits:
    """Read the soft labels of some samples.

    Args:
        path: The .npz file.
        samples: The images, n.
        classes: The expected classes, in order (C,).
        split: The expected SHA-256 of the table's split.

    Returns:
        The teachers' logits (n, C), in the order of the samples.

    Raises:
        SettingError: The file cannot be read, has other classes or another split, or lacks an image.
    """
    stored = load(path)
    if stored.classes != list(classes) or stored.split_sha256 != split:
        raise SettingError(
            f"{path}: made for the classes {', '.join(stored.classes)} and the split "
            f"{stored.split_sha256[:12]}, but the run has {', '.join(classes)} and {split[:12]}; make it "
            "again from runs like this one"
        )
    row_of = {image_id: row for row, image_id in enumerate(stored.image_ids)}
    absent = [sample.image_id for sample in samples if sample.image_id not in row_of]
    if absent:
        raise SettingError(f"{path}: {len(absent)} training images are missing ({', '.join(absent[:5])})")
    rows: Logits = stored.logits[[row_of[sample.image_id] for sample in samples]]
    return rows
