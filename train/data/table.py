"""Labelled images in five layouts, read into one typed table. No image is opened here.

Layouts, in the order they are looked for in a folder:

- ``index.csv``, with the columns of `read_index`;
- HAM10000: ``HAM10000_metadata.csv`` (or without extension, as Dataverse serves it);
- ISIC 2019: ``ISIC_2019_Training_GroundTruth.csv`` and/or ``ISIC_2019_Test_GroundTruth.csv``, with metadata;
- PAD-UFES-20: ``metadata.csv``;
- one folder a class (``MEL/``, ``NV/``, …), or the same under ``train/``, ``val/`` and ``test/``.

In the three archives the images may lie in any subfolder.
"""

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeskin.errors import EdgeskinError
from edgeskin.taxonomy import ISIC_2019

SPLITS = ("train", "val", "test")
COLUMNS = "path image_id dataset label split group_id lesion_id patient_id age sex site dx_type"
"""Of ``index.csv``, separated by spaces."""
UNKNOWN = "UNK"
"""ISIC 2019's "none of the others". It is never a class: its rows have the split ``unknown``."""

HAM_CODES = {"akiec": "AK", "bcc": "BCC", "bkl": "BKL", "df": "DF", "mel": "MEL", "nv": "NV", "vasc": "VASC"}
PAD_CODES = {"ACK": "AK", "BCC": "BCC", "MEL": "MEL", "NEV": "NV", "SCC": "SCC", "SEK": "BKL"}

_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
_SHOWN = 20


class DataError(EdgeskinError):
    """A table of labelled images that cannot be trusted."""


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    image: absolute path of a file that exists.
    label: a code of the class list; a code outside it only in splits that are never trained on.
    lesion_id: never empty, an image without one is a lesion of its own.
    group: what may never be on two sides of a split: the table's own group, else patient, else lesion.
    age: years. sex, site, dx_type: lower case, None when not known.
    split: train, val, test; external, unknown, ood_*, original:* are kept apart; None when the table
        brings none.
    source: the archive, e.g. ``HAM10000``.
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


def read_table(folder: Path, classes: Sequence[str] = ISIC_2019) -> list[Sample]:
    """Detect the layout of a folder and read it.

    Raises DataError when no layout is recognised or the table is empty, names a file that is not there,
    a label outside ``classes`` among what may be trained on, an image id twice, or has a group or lesion
    on two sides of its split.
    """
    readers: list[tuple[str, Callable[[Path, Sequence[str]], list[Sample]]]] = [
        ("index.csv", read_index),
        ("HAM10000_metadata.csv", read_ham10000),
        ("HAM10000_metadata", read_ham10000),
        ("ISIC_2019_*_GroundTruth.csv", read_isic_2019),
        ("metadata.csv", read_pad_ufes_20),
    ]
    for pattern, reader in readers:
        if any(folder.glob(pattern)):
            return reader(folder, classes)
    if any((folder / parent / code).is_dir() for parent in ("", *SPLITS) for code in classes):
        return read_class_folders(folder, classes)
    looked_for = ", ".join(pattern for pattern, _ in readers)
    raise DataError(
        f"{folder}: no known layout of labelled images; looked for {looked_for} "
        f"and folders named after the classes {', '.join(classes)}"
    )


def read_index(folder: Path, classes: Sequence[str] = ISIC_2019) -> list[Sample]:
    """Read ``index.csv``, with the columns COLUMNS, path relative to the folder. Errors as `read_table`.

    Full-size copies (split ``original:*``) share the image id of the picture they were made from.
    """
    table = folder / "index.csv"
    samples = [
        _sample(
            image=folder / row["path"],
            image_id=row["image_id"],
            label=row["label"],
            lesion_id=row["lesion_id"],
            patient_id=row["patient_id"],
            group=row["group_id"],
            age=row["age"],
            sex=row["sex"],
            site=row["site"],
            dx_type=row["dx_type"],
            split=row["split"],
            source=row["dataset"],
        )
        for row in _rows(table, COLUMNS)
    ]
    return _checked(samples, table, classes)


def read_ham10000(folder: Path, classes: Sequence[str] = ISIC_2019) -> list[Sample]:
    """Read HAM10000 (Tschandl et al. 2018). Errors as `read_table`.

    Its ``akiec`` holds AK and intraepithelial carcinoma and becomes AK; there are no patient ids.
    """
    table = folder / "HAM10000_metadata.csv"
    table = table if table.exists() else table.with_suffix("")
    files = _files(folder)
    samples = [
        _sample(
            image=files.get(f"{row['image_id']}.jpg", folder / f"{row['image_id']}.jpg"),
            image_id=row["image_id"],
            label=HAM_CODES.get(row["dx"], row["dx"]),
            lesion_id=row["lesion_id"],
            age=row["age"],
            sex=row["sex"],
            site=row["localization"],
            dx_type=row["dx_type"],
            source="HAM10000",
        )
        for row in _rows(table, "lesion_id image_id dx dx_type age sex localization")
    ]
    return _checked(samples, table, classes)


def read_isic_2019(folder: Path, classes: Sequence[str] = ISIC_2019) -> list[Sample]:
    """Read the ISIC 2019 challenge: training files, test files, or both. Errors as `read_table`.

    Training rows bring no split; test rows are ``external``, since no lesion ids are published for
    them; rows marked UNK are ``unknown``. A row that is not one-hot is a DataError.
    """
    samples = []
    files = _files(folder)
    for table in sorted(folder.glob("ISIC_2019_*_GroundTruth.csv")):
        truth = _rows(table, " ".join(("image", *ISIC_2019, UNKNOWN)))
        metadata_file = table.with_name(table.name.replace("GroundTruth", "Metadata"))
        metadata = {
            row["image"]: row for row in _rows(metadata_file, "image age_approx anatom_site_general sex")
        }
        _refuse(
            f"{metadata_file}: no metadata for images",
            [r["image"] for r in truth if r["image"] not in metadata],
        )
        marked = [[code for code in (*ISIC_2019, UNKNOWN) if row[code] not in ("0", "0.0")] for row in truth]
        not_one_hot = [
            row["image"]
            for row, codes in zip(truth, marked, strict=True)
            if [row[code] for code in codes] not in (["1"], ["1.0"])
        ]
        _refuse(f"{table}: rows that do not mark exactly one class", not_one_hot)
        default = "external" if "_Test_" in table.name else ""
        for row, (label,) in zip(truth, marked, strict=True):
            about = metadata[row["image"]]
            samples.append(
                _sample(
                    image=files.get(f"{row['image']}.jpg", folder / f"{row['image']}.jpg"),
                    image_id=row["image"],
                    label=label,
                    lesion_id=about.get("lesion_id", ""),
                    age=about["age_approx"],
                    sex=about["sex"],
                    site=about["anatom_site_general"],
                    split="unknown" if label == UNKNOWN else default,
                    source="ISIC2019",
                )
            )
    return _checked(samples, folder, classes)


def read_pad_ufes_20(folder: Path, classes: Sequence[str] = ISIC_2019) -> list[Sample]:
    """Read PAD-UFES-20 (Pacheco et al. 2020), smartphone photos, grouped by patient.

    Errors as `read_table`.
    """
    table = folder / "metadata.csv"
    files = _files(folder)
    samples = [
        _sample(
            image=files.get(row["img_id"], folder / row["img_id"]),
            image_id=Path(row["img_id"]).stem,
            label=PAD_CODES.get(row["diagnostic"], row["diagnostic"]),
            lesion_id=f"{row['patient_id']}_L{row['lesion_id']}" if row["lesion_id"] else "",
            patient_id=row["patient_id"],
            age=row["age"],
            sex=row["gender"],
            site=row["region"],
            source="PAD-UFES-20",
        )
        for row in _rows(table, "patient_id lesion_id img_id diagnostic age gender region")
    ]
    return _checked(samples, table, classes)


def read_class_folders(folder: Path, classes: Sequence[str] = ISIC_2019) -> list[Sample]:
    """Read one folder a class, directly or under ``train/``, ``val/``, ``test/``. Errors as `read_table`.

    Such a folder tells no lesions, so every image counts as a lesion of its own: several images of one
    lesion can then come to lie on two sides of a split. Prefer a table where there is one.
    """
    split_folders = [folder / split for split in SPLITS if (folder / split).is_dir()]
    if split_folders:
        others = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in SPLITS)
        _refuse(f"{folder}: folders beside {', '.join(SPLITS)}", others, "move them away")
    samples = [
        _sample(
            image=image,
            image_id=image.stem,
            label=image.relative_to(parent).parts[0],
            split=parent.name if split_folders else "",
            source=folder.resolve().name,
        )
        for parent in split_folders or [folder]
        for image in sorted(parent.glob("*/**/*"))
        if image.suffix.lower() in _IMAGE_SUFFIXES
    ]
    return _checked(samples, folder, classes)


def select(samples: Sequence[Sample], split: str) -> list[Sample]:
    """The samples of one split, in order. Raises DataError, naming the splits there are, when it is empty."""
    selected = [sample for sample in samples if sample.split == split]
    if not selected:
        available = sorted({str(sample.split) for sample in samples})
        raise DataError(f"no image in split {split!r}; there are: {', '.join(available) or 'no images'}")
    return selected


def picture(sample: Sample) -> tuple[str, bool]:
    """What a table may name once: an image id, and that of a full-size copy apart from it."""
    return sample.image_id, (sample.split or "").startswith("original:")


def known(samples: Sequence[Sample], classes: Sequence[str]) -> list[Sample]:
    """The samples whose label is in the class list: leaves out UNK, BENIGN, OOD."""
    return [sample for sample in samples if sample.label in classes]


def targets(samples: Sequence[Sample], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Class indices, int64 (n,). Raises DataError when a label is not in the class list."""
    outside = Counter(sample.label for sample in samples if sample.label not in classes)
    _refuse(
        f"labels outside the classes {', '.join(classes)}",
        [f"{label} ({count} images)" for label, count in sorted(outside.items())],
        "leave them out with known()",
    )
    index = {code: i for i, code in enumerate(classes)}
    return np.array([index[sample.label] for sample in samples], dtype=np.int64)


def class_counts(samples: Sequence[Sample], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Images a class, int64 (len(classes),). Raises DataError when a label is not in the class list."""
    return np.bincount(targets(samples, classes), minlength=len(classes))


def require_every_class(samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Raise DataError when a class has no image: a network cannot learn what it never sees."""
    counts = class_counts(samples, classes)
    _refuse(
        "classes without a single image",
        [code for code, count in zip(classes, counts, strict=True) if count == 0],
        "add images of them or take them out of the class list",
    )


def check_disjoint(samples: Iterable[Sample]) -> None:
    """Raise DataError when a group, a lesion or a patient is in two of train, val and test.

    A full-size copy counts for the split of its lesion: ``original:test`` is on the side of ``test``.
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
    _refuse("groups on more than one side of the split", crossing, "put each on one side")


def _sample(
    *,
    image: Path,
    image_id: str,
    label: str,
    source: str,
    lesion_id: str = "",
    patient_id: str = "",
    group: str = "",
    age: str = "",
    sex: str = "",
    site: str = "",
    dx_type: str = "",
    split: str = "",
) -> Sample:
    """A Sample from the text of a table's cells, where the empty string means not told."""
    lesion_id = lesion_id or image_id
    return Sample(
        image=image.absolute(),
        image_id=image_id,
        label=label,
        lesion_id=lesion_id,
        patient_id=patient_id or None,
        group=group or patient_id or lesion_id,
        age=_age(age, image_id),
        sex=_told(sex),
        site=_told(site),
        dx_type=_told(dx_type),
        split=split or None,
        source=source,
    )


def _told(text: str) -> str | None:
    return None if text.lower() in ("", "unknown", "nan") else text.lower()


def _age(text: str, image_id: str) -> float | None:
    if _told(text) is None:
        return None
    try:
        age = float(text)
    except ValueError:
        age = math.nan
    if not 0 <= age <= 120:
        raise DataError(f"age {text!r} of image {image_id}: give years from 0 to 120, or leave it empty")
    return age


def _rows(table: Path, columns: str) -> list[dict[str, str]]:
    """The rows of a csv file whose header has at least ``columns`` (separated by spaces)."""
    if not table.is_file():
        raise DataError(f"{table}: this file is missing")
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front of the first column's name.
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not a csv file in UTF-8 ({error}); save it as one") from error
    _refuse(f"{table}: columns missing", sorted(set(columns.split()) - set(reader.fieldnames or [])))
    too_long = [f"row {number}" for number, row in enumerate(rows, 1) if None in row]
    _refuse(f"{table}: more cells than columns", too_long, "quote cells that hold a comma")
    return rows


def _files(folder: Path) -> dict[str, Path]:
    """Every picture below a folder by its file name; of copies, the first in alphabetical order."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in _IMAGE_SUFFIXES]
    return {path.name: path for path in sorted(found, reverse=True)}


def _checked(samples: list[Sample], table: Path, classes: Sequence[str]) -> list[Sample]:
    """The samples, once they can be trusted; see `read_table` for what is refused."""
    if not samples:
        raise DataError(f"{table}: no images in this table")
    trainable = [s for s in samples if s.split in (None, *SPLITS)]
    outside = [f"{s.label!r} of {s.image_id}" for s in trainable if s.label not in classes]
    _refuse(f"{table}: labels outside the classes {', '.join(classes)}", outside, "correct them")
    _refuse(f"{table}: unknown splits", sorted({str(s.split) for s in samples if not _is_split(s.split)}))
    _refuse(f"{table}: rows without an image id", [str(s.image) for s in samples if not s.image_id])
    copies = Counter(picture(s) for s in samples)
    repeated = [image_id for (image_id, _), count in copies.items() if count > 1]
    _refuse(f"{table}: image ids that occur more than once", repeated, "name every image once")
    missing = [str(s.image) for s in samples if not s.image.is_file()]
    _refuse(f"{table}: image files missing", missing, "restore them or take their rows out")
    check_disjoint(samples)
    return samples


def _is_split(split: str | None) -> bool:
    apart = ("external", "unknown")
    return split in (None, *SPLITS, *apart) or str(split).startswith(("ood_", "original:"))


def _refuse(problem: str, offenders: Sequence[str], way_out: str = "correct the table") -> None:
    """Raise DataError when there are offenders, with the first of them and their number."""
    if offenders:
        more = ", …" if len(offenders) > _SHOWN else ""
        raise DataError(f"{problem} ({len(offenders)}): {', '.join(offenders[:_SHOWN])}{more}; {way_out}")
