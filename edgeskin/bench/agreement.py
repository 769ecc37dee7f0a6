"""FP32 and INT8 on labelled images: recall, lost cancers, and how far P(cancer) moves."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import typer

from edgeskin.arrays import Bools
from edgeskin.bundle.bundle import Bundle
from edgeskin.classifier import Classifier
from edgeskin.errors import PhotoError, SettingError
from edgeskin.photo.sources import photos_in
from edgeskin.photo.tables import read_table
from edgeskin.results import Assessment, Precision


@dataclass(frozen=True)
class Agreement:
    """FP32 and INT8 on labelled images, each at its own screening threshold.

    recall, specificity: of cancer, by precision (None without cancers, or without benign images).
    lost: names of the images of cancers that FP32 finds and INT8 does not. p_cancer_difference:
    |dP(cancer)| at the median, 99%, 99.9% and maximum. failed: images that could not be read. left_out:
    number of rows by label, for labels that are not classes of the network.
    """

    images: int
    cancers: int
    recall: dict[str, float | None]
    specificity: dict[str, float | None]
    same_class: float
    p_cancer_difference: dict[str, float]
    lost: tuple[str, ...]
    failed: tuple[str, ...]
    left_out: dict[str, int]


def measure_agreement(
    bundle: Bundle, threads: int | None, labelled: list[tuple[Path, str]], left_out: dict[str, int]
) -> Agreement:
    """Assess labelled images with both precisions; those that cannot be read are named, not counted.

    Raises:
        SettingError: None could be read.
    """
    both = {
        precision: Classifier(bundle, precision, threads, quality_gate=False, scope_gate=False)
        for precision in get_args(Precision)
    }
    read: list[tuple[str, str]] = []
    failed: list[str] = []
    assessed: dict[str, list[Assessment]] = {precision: [] for precision in both}
    for path, label in _with_progress(labelled):
        try:
            results = {precision: classifier.assess(path) for precision, classifier in both.items()}
        except PhotoError as error:
            failed.append(str(error).replace(str(path), path.name))
            continue
        read.append((path.name, label))
        for precision, result in results.items():
            assessed[precision].append(result)
    if not read:
        raise SettingError("none of the labelled images could be read: " + "; ".join(failed[:3]))
    is_cancer = np.array([label in bundle.manifest.cancer_classes for _, label in read])
    flagged = {name: np.array([one.risk != "LOW" for one in results]) for name, results in assessed.items()}
    p_cancer = {
        name: np.array([one.cancer_probability for one in results], dtype=np.float64)
        for name, results in assessed.items()
    }
    same = [a.predicted_class == b.predicted_class for a, b in zip(*assessed.values(), strict=True)]
    difference = np.abs(p_cancer["int8"] - p_cancer["fp32"])
    quantiles = {"median": 0.5, "99%": 0.99, "99.9%": 0.999, "max": 1.0}
    return Agreement(
        len(read),
        int(is_cancer.sum()),
        {name: _share(values[is_cancer]) for name, values in flagged.items()},
        {name: _share(~values[~is_cancer]) for name, values in flagged.items()},
        float(np.mean(same)),
        {name: float(np.quantile(difference, q)) for name, q in quantiles.items()},
        tuple(read[i][0] for i in np.flatnonzero(is_cancer & flagged["fp32"] & ~flagged["int8"])),
        tuple(failed),
        left_out,
    )


def _with_progress(labelled: list[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
    with typer.progressbar(labelled, label="assessing with both precisions", file=sys.stderr) as shown:
        yield from shown


def _share(found: Bools) -> float | None:
    return float(found.mean()) if found.size else None


def read_labels(
    data: Path, split: str | None, classes: tuple[str, ...]
) -> tuple[list[tuple[Path, str]], dict[str, int]]:
    """Labelled images from a folder of class folders, a CSV, or a folder that holds it as index.csv.

    Args:
        data: The folder or CSV. Its columns are path (relative to the CSV) and label.
        split: Only rows with this value in the column split.
        classes: Of the network.

    Returns:
        Pairs of image and class, and the number of rows of each other label.

    Raises:
        SettingError: The table cannot be read, or names no image of these classes.
    """
    if not os.path.exists(data):  # noqa: PTH110  (Path.exists raises OSError for a name that is too long)
        raise SettingError(f"{data}: there is no such file or folder; give class folders or a CSV")
    table = _table_of(data)
    left_out: Counter[str] = Counter()
    if table.is_file():
        rows = read_table(table, ("path", "label") if split is None else ("path", "label", "split"))
        rows = [row for row in rows if split is None or row["split"] == split]
        nameless = [row["label"] for row in rows if not row["path"].strip()]
        if nameless:
            raise SettingError(f"{table}: {len(nameless)} rows name no picture; add the path or remove them")
        left_out.update(row["label"] for row in rows if row["label"] not in classes)
        pairs = [(table.parent / row["path"], row["label"]) for row in rows if row["label"] in classes]
    elif split is not None:
        raise SettingError(f"{data}: class folders have no split {split!r}; leave --split off or give a CSV")
    else:
        folders = [(data / name, name) for name in classes if (data / name).is_dir()]
        # An empty folder is given itself.
        pairs = [(path, name) for folder, name in folders for path in photos_in([folder]) if path != folder]
    if not pairs:
        others = f"; labels there: {', '.join(sorted(left_out))}" if left_out else ""
        raise SettingError(
            f"{data}: no images of the classes {', '.join(classes)} (split: {split or 'any'}){others}"
        )
    return pairs, dict(left_out)


def files_of(data: Path) -> list[Path]:
    """The table of labels and the pictures of all its rows, or every file in the class folders.

    Args:
        data: As `read_labels` takes it.

    Raises:
        SettingError: The table cannot be read.
    """
    table = _table_of(data)
    if os.path.isfile(table):  # noqa: PTH113  (raises nothing for a name that is too long)
        return [table, *(table.parent / row["path"] for row in read_table(table, ("path",)))]
    return list(data.glob("*/*")) if table != data else []


def _table_of(data: Path) -> Path:
    """Where the table of labels would be: in a folder as index.csv."""
    return data / "index.csv" if os.path.isdir(data) else data  # noqa: PTH112
