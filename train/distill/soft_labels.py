"""The file of soft labels: image ids and the logits of their teachers."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeskin.errors import SettingError
from train.data.table import Sample

Logits = npt.NDArray[np.float32]


def write(samples: Sequence[Sample], logits: Logits, classes: Sequence[str], split: str, path: Path) -> None:
    """Write soft labels.

    Args:
        samples: The images, n.
        logits: Their teachers' logits (n, C).
        classes: Codes of the classes (C,).
        split: SHA-256 of the table's split.
        path: The .npz file to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [sample.image_id for sample in samples]
    with path.open("wb") as file:
        np.savez_compressed(file, image_id=ids, logits=logits, classes=list(classes), split_sha256=split)


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
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            ids, logits = stored["image_id"], stored["logits"]
            stored_classes, stored_split = stored["classes"].tolist(), str(stored["split_sha256"])
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise SettingError(f"{path}: cannot be read as a file of `soft-labels`: {error}") from error
    if stored_classes != list(classes) or stored_split != split:
        raise SettingError(
            f"{path}: made for the classes {', '.join(stored_classes)} and the split {stored_split[:12]}, "
            f"but the run has {', '.join(classes)} and {split[:12]}; make it again from runs like this one"
        )
    row_of = {image_id: row for row, image_id in enumerate(ids.tolist())}
    absent = [sample.image_id for sample in samples if sample.image_id not in row_of]
    if absent:
        raise SettingError(f"{path}: {len(absent)} training images are missing ({', '.join(absent[:5])})")
    rows: Logits = logits[[row_of[sample.image_id] for sample in samples]]
    return rows
