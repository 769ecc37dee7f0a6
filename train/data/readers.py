"""Five layouts of labelled images, read as rows of text. No image is opened here.

Layouts, in the order in which a folder is checked for them:

- ``index.csv`` with the columns COLUMNS;
- HAM10000: ``HAM10000_metadata.csv`` (or without extension, as on Dataverse);
- ISIC 2019: ``ISIC_2019_Training_GroundTruth.csv`` and/or ``ISIC_2019_Test_GroundTruth.csv``, with metadata;
- PAD-UFES-20: ``metadata.csv``;
- one folder for each class (``MEL/``, ``NV/``, …), directly or under ``train/``, ``val/`` and ``test/``.

In the three archives the images may be in any subfolder.
"""

import csv
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeskin.errors import EdgeskinError
from edgeskin.photo.sources import SUFFIXES, is_system_file
from edgeskin.taxonomy import ISIC_2019

SPLITS = ("train", "val", "test")
COLUMNS = "path image_id dataset label split group_id lesion_id patient_id age sex site dx_type"
"""The columns of ``index.csv``, separated by spaces; paths are relative to its folder."""
UNKNOWN = "UNK"
"""ISIC 2019's "none of the others". It is never a class: its rows have the split ``unknown``."""

HAM_CODES = {"akiec": "AK", "bcc": "BCC", "bkl": "BKL", "df": "DF", "mel": "MEL", "nv": "NV", "vasc": "VASC"}
PAD_CODES = {"ACK": "AK", "BCC": "BCC", "MEL": "MEL", "NEV": "NV", "SCC": "SCC", "SEK": "BKL"}

_SHOWN = 20

_log = logging.getLogger(__name__)


class DataError(EdgeskinError):
    """A table of labelled images that cannot be trusted."""

    code = "data"


@dataclass(frozen=True)
class Row:
    """One labelled image as a table has it: text, empty where the table says nothing."""

    image: Path
    image_id: str
    label: str
    source: str
    lesion_id: str = ""
    patient_id: str = ""
    group: str = ""
    age: str = ""
    sex: str = ""
    site: str = ""
    dx_type: str = ""
    split: str = ""


def read_rows(folder: Path, classes: Sequence[str]) -> tuple[Path, list[Row]]:
    """Detect the layout of a folder and read it.

    Returns:
        The table (or the folder, where there are several tables or none), for messages, and its rows.

    Raises:
        DataError: No layout is recognized, or a table is malformed.
    """
    layouts: list[tuple[str, Callable[[Path], tuple[Path, list[Row]]]]] = [
        ("index.csv", read_index),
        ("HAM10000_metadata.csv", read_ham10000),
        ("HAM10000_metadata", read_ham10000),
        ("ISIC_2019_*_GroundTruth.csv", read_isic_2019),
        ("metadata.csv", read_pad_ufes_20),
    ]
    for pattern, reader in layouts:
        if any(folder.glob(pattern)):
            return reader(folder)
    if any((folder / parent / code).is_dir() for parent in ("", *SPLITS) for code in classes):
        return read_class_folders(folder)
    expected = ", ".join(pattern for pattern, _ in layouts)
    raise DataError(
        f"{folder}: no known layout of labelled images; expected {expected}, or folders named after the "
        f"classes {', '.join(classes)}"
    )


def read_index(folder: Path) -> tuple[Path, list[Row]]:
    """Read ``index.csv``.

    Full-size copies (split ``original:*``) have the image id of the picture that was made from them.
    """
    table = folder / "index.csv"
    return table, [
        Row(
            image=folder / cells["path"],
            image_id=cells["image_id"],
            label=cells["label"],
            source=cells["dataset"],
            lesion_id=cells["lesion_id"],
            patient_id=cells["patient_id"],
            group=cells["group_id"],
            age=cells["age"],
            sex=cells["sex"],
            site=cells["site"],
            dx_type=cells["dx_type"],
            split=cells["split"],
        )
        for cells in _cells(table, COLUMNS)
    ]


def read_ham10000(folder: Path) -> tuple[Path, list[Row]]:
    """Read HAM10000 (Tschandl et al. 2018).

    Its ``akiec`` holds AK and intraepithelial carcinoma and becomes AK. It has no patient ids.
    """
    table = folder / "HAM10000_metadata.csv"
    table = table if table.exists() else table.with_suffix("")
    files = _files(folder)
    return table, [
        Row(
            image=files.get(f"{cells['image_id']}.jpg", folder / f"{cells['image_id']}.jpg"),
            image_id=cells["image_id"],
            label=HAM_CODES.get(cells["dx"], cells["dx"]),
            source="HAM10000",
            lesion_id=cells["lesion_id"],
            age=cells["age"],
            sex=cells["sex"],
            site=cells["localization"],
            dx_type=cells["dx_type"],
        )
        for cells in _cells(table, "lesion_id image_id dx dx_type age sex localization")
    ]


def read_isic_2019(folder: Path) -> tuple[Path, list[Row]]:
    """Read the ISIC 2019 challenge: training files, test files, or both.

    Training rows have no split. Test rows are ``external``, since no lesion ids are published for them. Rows
    marked UNK are ``unknown``.

    Raises:
        DataError: A row does not mark exactly one class, or an image has no metadata.
    """
    files = _files(folder)
    rows = []
    for table in sorted(folder.glob("ISIC_2019_*_GroundTruth.csv")):
        truth = _cells(table, " ".join(("image", *ISIC_2019, UNKNOWN)))
        metadata_file = table.with_name(table.name.replace("GroundTruth", "Metadata"))
        metadata = {
            cells["image"]: cells
            for cells in _cells(metadata_file, "image age_approx anatom_site_general sex")
        }
        without = [cells["image"] for cells in truth if cells["image"] not in metadata]
        refuse(f"{metadata_file}: no metadata for images", without)
        marked = [[code for code in (*ISIC_2019, UNKNOWN) if row[code] not in ("0", "0.0")] for row in truth]
        not_one_hot = [
            cells["image"]
            for cells, codes in zip(truth, marked, strict=True)
            if [cells[code] for code in codes] not in (["1"], ["1.0"])
        ]
        refuse(f"{table}: rows that do not mark exactly one class", not_one_hot)
        default = "external" if "_Test_" in table.name else ""
        for name, (label,) in zip((cells["image"] for cells in truth), marked, strict=True):
            rows.append(
                Row(
                    image=files.get(f"{name}.jpg", folder / f"{name}.jpg"),
                    image_id=name,
                    label=label,
                    source="ISIC2019",
                    lesion_id=metadata[name].get("lesion_id", ""),
                    age=metadata[name]["age_approx"],
                    sex=metadata[name]["sex"],
                    site=metadata[name]["anatom_site_general"],
                    split="unknown" if label == UNKNOWN else default,
                )
            )
    return folder, rows


def read_pad_ufes_20(folder: Path) -> tuple[Path, list[Row]]:
    """Read PAD-UFES-20 (Pacheco et al. 2020), smartphone photos, which have patient ids."""
    table = folder / "metadata.csv"
    files = _files(folder)
    return table, [
        Row(
            image=files.get(cells["img_id"], folder / cells["img_id"]),
            image_id=Path(cells["img_id"]).stem,
            label=PAD_CODES.get(cells["diagnostic"], cells["diagnostic"]),
            source="PAD-UFES-20",
            lesion_id=f"{cells['patient_id']}_L{cells['lesion_id']}" if cells["lesion_id"] else "",
            patient_id=cells["patient_id"],
            age=cells["age"],
            sex=cells["gender"],
            site=cells["region"],
        )
        for cells in _cells(table, "patient_id lesion_id img_id diagnostic age gender region")
    ]


def read_class_folders(folder: Path) -> tuple[Path, list[Row]]:
    """Read one folder for each class, directly or under ``train/``, ``val/`` and ``test/``.

    There are no lesion ids, so every image counts as a lesion of its own, and images of one lesion may end up
    on two sides of a split. Prefer a table where there is one. What is named like a photo is a row, whatever
    it is. Other files, and those that operating systems leave, are passed over; a warning has their number.

    Raises:
        DataError: There are other folders beside ``train/``, ``val/`` and ``test/``.
    """
    split_folders = [folder / split for split in SPLITS if (folder / split).is_dir()]
    if split_folders:
        names = (path.name for path in folder.iterdir() if path.is_dir() and not is_system_file(path.name))
        strays = sorted(name for name in names if name not in SPLITS)
        refuse(f"{folder}: folders beside {', '.join(SPLITS)}", strays, "move them elsewhere")
    rows, skipped = [], 0
    for parent in split_folders or [folder]:
        for path in sorted(parent.glob("*/**/*")):
            parts = path.relative_to(parent).parts
            if path.suffix.lower() not in SUFFIXES or any(is_system_file(part) for part in parts):
                skipped += path.is_file()
                continue
            row = Row(image=path, image_id=path.stem, label=parts[0], source=folder.resolve().name)
            rows.append(replace(row, split=parent.name) if split_folders else row)
    if skipped:
        _log.warning("%s: skipped %d file(s) not named as pictures", folder, skipped)
    return folder, rows


def refuse(problem: str, offenders: Sequence[str], way_out: str = "correct the table") -> None:
    """Raise DataError if there are offenders, with their number and the first of them."""
    if offenders:
        more = ", …" if len(offenders) > _SHOWN else ""
        raise DataError(f"{problem} ({len(offenders)}): {', '.join(offenders[:_SHOWN])}{more}; {way_out}")


def _cells(table: Path, columns: str) -> list[dict[str, str]]:
    """The rows of a csv file whose header has at least ``columns`` (separated by spaces)."""
    if not table.is_file():
        raise DataError(f"{table}: this file is missing")
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front of the first column's name.
        with table.open(newline="", encoding="utf-8-sig") as file:
            # Not strict, a quote that is not closed would take all rows after it into its cell.
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
    except csv.Error as error:
        raise DataError(f"{table}: up to row {reader.line_num}: {error}; correct the row") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{table}: not a csv file in UTF-8 ({error}); save it as one") from error
    refuse(f"{table}: columns missing", sorted(set(columns.split()) - set(reader.fieldnames or [])))
    too_short = [f"row {number}" for number, row in enumerate(rows, 1) if None in row.values()]
    refuse(f"{table}: fewer cells than columns", too_short, "add the missing cells")
    too_long = [f"row {number}" for number, row in enumerate(rows, 1) if None in row]
    refuse(f"{table}: more cells than columns", too_long, "quote cells that hold a comma")
    return rows


def _files(folder: Path) -> dict[str, Path]:
    """Every picture below a folder by its file name; of copies, the first in alphabetical order."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    return {path.name: path for path in sorted(found, reverse=True)}
