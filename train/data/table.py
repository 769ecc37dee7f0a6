"""Labelled images as one typed, checked table, whatever the layout of their folder."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeskin.taxonomy import ISIC_2019
from train.data.readers import SPLITS as SPLITS
from train.data.readers import DataError as DataError
from train.data.readers import Row, read_rows, refuse

_KEPT_APART = ("external", "unknown")
_KEPT_APART_PREFIXES = ("ood_", "original:")


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        image: Absolute path of its file.
        image_id: Unique, but for full-size copies.
        label: A code of the class list; another code only in splits that are never trained on.
        lesion_id: Never empty; an image without one is a lesion of its own.
        patient_id: None where it is not known.
        group: What must not be on two sides of a split: the table's own group, else patient, else lesion.
        age: In years; None where it is not known.
        sex: Lower case; None where it is not known.
        site: Of the body, lower case; None where it is not known.
        dx_type: How the diagnosis was made, lower case; None where it is not known.
        split: train, val or test; external, unknown, ood_* and original:* are kept apart; None where the
            table has no split.
        source: The archive, e.g. ``HAM10000``.
    """

    image: Path
    image_id: str
    label: str
    lesion_id: str
    patient_id: str | None
    group: str
    age: float | None
    sex: str | None
    site: str | None
    dx_type: str | None
    split: str | None
    source: str

    @property
    def key(self) -> tuple[str, bool]:
        """Identifies a picture: its image id, and whether it is a full-size copy."""
        return self.image_id, (self.split or "").startswith("original:")


def read_table(folder: Path, classes: Sequence[str] = ISIC_2019, require_files: bool = True) -> list[Sample]:
    """Detect the layout of a folder, read it, and check it. `train.data.readers` lists the layouts.

    Args:
        folder: The folder.
        classes: Codes of the classes that may be trained on.
        require_files: Whether every image must be a file. `train.input.photos.read_tables` looks into them.

    Raises:
        DataError: No layout is recognized; the table is empty or malformed; a file is missing; a label of
            what may be trained on is not in ``classes``; an image id occurs twice; or a group, lesion or
            patient is on two sides of the split.
    """
    table, rows = read_rows(folder, classes)
    samples = [_sample(row) for row in rows]
    _check(samples, table, classes)
    if require_files:
        missing = [str(sample.image) for sample in samples if not sample.image.is_file()]
        refuse(f"{table}: image files missing", missing, "restore them or remove their rows")
    check_disjoint(samples)
    return samples


def select(samples: Sequence[Sample], split: str) -> list[Sample]:
    """The samples of one split, in order.

    Raises:
        DataError: The split is empty. The message names the splits that exist.
    """
    selected = [sample for sample in samples if sample.split == split]
    if not selected:
        available = sorted({str(sample.split) for sample in samples})
        raise DataError(f"no image in split {split!r}; there are: {', '.join(available) or 'no images'}")
    return selected


def known(samples: Sequence[Sample], classes: Sequence[str]) -> list[Sample]:
    """The samples whose label is in the class list: leaves out UNK, BENIGN, OOD."""
    return [sample for sample in samples if sample.label in classes]


def targets(samples: Sequence[Sample], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Class indices, int64 (n,).

    Raises:
        DataError: A label is not in the class list.
    """
    outside = Counter(sample.label for sample in samples if sample.label not in classes)
    refuse(
        f"labels outside the classes {', '.join(classes)}",
        [f"{label} ({count} images)" for label, count in sorted(outside.items())],
        "leave them out with known()",
    )
    index = {code: i for i, code in enumerate(classes)}
    return np.array([index[sample.label] for sample in samples], dtype=np.int64)


def class_counts(samples: Sequence[Sample], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Images of each class, int64 (C,).

    Raises:
        DataError: A label is not in the class list.
    """
    return np.bincount(targets(samples, classes), minlength=len(classes))


def require_every_class(samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Require an image of every class, since a network cannot learn a class without images.

    Raises:
        DataError: A class has no image, or a label is not in the class list.
    """
    counts = class_counts(samples, classes)
    refuse(
        "classes without a single image",
        [code for code, count in zip(classes, counts, strict=True) if count == 0],
        "add images of them or remove them from the class list",
    )


def check_disjoint(samples: Iterable[Sample]) -> None:
    """Require that no group, lesion or patient is in two of train, val and test.

    A full-size copy counts for the split of its lesion: ``original:test`` is on the side of ``test``.

    Raises:
        DataError: One is in two of them.
    """
    sides: dict[tuple[str, str], set[str]] = defaultdict(set)
    for sample in samples:
        side = (sample.split or "").removeprefix("original:")
        if side in SPLITS:
            sides["group", sample.group].add(side)
            sides["lesion", sample.lesion_id].add(side)
            if sample.patient_id:
                sides["patient", sample.patient_id].add(side)
    crossing = [
        f"{kind} {name} ({', '.join(sorted(on))})" for (kind, name), on in sides.items() if len(on) > 1
    ]
    refuse("groups on more than one side of the split", crossing, "put each on one side")


def _sample(row: Row) -> Sample:
    lesion_id = row.lesion_id or row.image_id
    return Sample(
        image=row.image.absolute(),
        image_id=row.image_id,
        label=row.label,
        lesion_id=lesion_id,
        patient_id=row.patient_id or None,
        group=row.group or row.patient_id or lesion_id,
        age=_age(row.age, row.image_id),
        sex=_text(row.sex),
        site=_text(row.site),
        dx_type=_text(row.dx_type),
        split=row.split or None,
        source=row.source,
    )


def _text(cell: str) -> str | None:
    return None if cell.lower() in ("", "unknown", "nan") else cell.lower()


def _age(cell: str, image_id: str) -> float | None:
    if _text(cell) is None:
        return None
    try:
        age = float(cell)
    except ValueError:
        age = math.nan
    if not 0 <= age <= 120:
        raise DataError(f"age {cell!r} of image {image_id}: give years from 0 to 120, or leave it empty")
    return age


def _check(samples: Sequence[Sample], table: Path, classes: Sequence[str]) -> None:
    """Raise DataError if a row is malformed, as `read_table` describes."""
    if not samples:
        raise DataError(f"{table}: no images in this table")
    trainable = [sample for sample in samples if sample.split in (None, *SPLITS)]
    outside = [f"{s.label!r} of {s.image_id}" for s in trainable if s.label not in classes]
    refuse(f"{table}: labels outside the classes {', '.join(classes)}", outside, "correct them")
    refuse(f"{table}: unknown splits", sorted({str(s.split) for s in samples if not _is_split(s.split)}))
    refuse(f"{table}: rows without an image id", [str(s.image) for s in samples if not s.image_id])
    copies = Counter(sample.key for sample in samples)
    repeated = [image_id for (image_id, _), count in copies.items() if count > 1]
    refuse(f"{table}: image ids that occur more than once", repeated, "give every image its own id")


def _is_split(split: str | None) -> bool:
    return split in (None, *SPLITS, *_KEPT_APART) or str(split).startswith(_KEPT_APART_PREFIXES)
