"""Merge archives into one table: each picture once, and near-duplicates in one group.

Archives share pictures under other names, sizes and compressions. Two pictures count as near-duplicates when
their perceptual hashes are close (Zauner, "Implementation and benchmarking of perceptual image hash
functions", 2010; in any of the eight dihedral transforms) and the features of a trained network are close
too. The hash alone confuses small moles on bare skin. Crops of a picture, and other photos of a lesion, are
not found.
"""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.progress import track
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from edgeskin.bundle.bundle import Bundle
from edgeskin.imaging.dihedral import DIHEDRAL, transform
from edgeskin.imaging.preprocess import center_square, resize
from edgeskin.network.engine import Engine
from edgeskin.photo.decode import load_photo
from train.data.readers import COLUMNS, SPLITS, DataError
from train.data.table import Sample
from train.input.photos import CONSOLE, prepared

HASH_SIDE = 16
MAX_HASH_DISTANCE = 48
"""Of HASH_SIDE ** 2 bits."""
MAX_FEATURE_DISTANCE = 0.12
"""Chosen by eye among the pairs within the hash distance: see docs/data.md."""
EXTERNAL = "external"
_READ_SIZE = 64
_BLOCK = 256

Pixels = npt.NDArray[np.uint8]
Float32s = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two near-duplicates.

    Attributes:
        one: Position of the first.
        other: Position of the second, above ``one``.
        hash_distance: Differing bits.
        feature_distance: 1 - cosine, 0 to 2.
    """

    one: int
    other: int
    hash_distance: int
    feature_distance: float


@dataclass(frozen=True)
class Merged:
    """The samples of several archives as one table.

    Attributes:
        samples: What is in the table.
        pairs: Near-duplicates that were in different groups, the closest first.
        copies: How many samples were dropped because an earlier one has their image id.
        left_out: External images that are near-duplicates of others, which are not in the table.
    """

    samples: list[Sample]
    pairs: list[tuple[Sample, Sample, Pair]]
    copies: int
    left_out: list[Sample]


def merge_archives(
    samples: Sequence[Sample],
    bundle: Bundle,
    first_label_counts: bool = False,
    max_hash_distance: int = MAX_HASH_DISTANCE,
    max_feature_distance: float = MAX_FEATURE_DISTANCE,
) -> Merged:
    """Merge the samples of several archives, in their order.

    Of samples with the same image id the first stays, and their groups become one. Near-duplicates come into
    one group. An ``external`` image in a group with train, val or test images is left out.

    Args:
        samples: The samples of all archives.
        bundle: The bundle whose features are compared.
        first_label_counts: Whether the first label counts where samples of one image id disagree.
        max_hash_distance: Largest distance of near-duplicates, in bits.
        max_feature_distance: Largest distance of near-duplicates, 1 - cosine.

    Raises:
        DataError: An image id names different pictures, labels or splits.
        PhotoError: A picture cannot be read.
    """
    steps = track(samples, "hashing", console=CONSOLE, transient=True)
    hashes = np.stack([_hashes(load_photo(sample.image, _READ_SIZE).image) for sample in steps])
    first_of = _copies(samples, hashes, max_hash_distance, first_label_counts)
    pairs = _near_duplicates(samples, hashes, bundle, max_hash_distance, max_feature_distance)
    one = [pair.one for pair in pairs] + list(first_of)
    other = [pair.other for pair in pairs] + list(first_of.values())
    linked = link_groups(samples, one, other)
    unique = [sample for position, sample in enumerate(linked) if position not in first_of]
    inside = {sample.group for sample in unique if sample.split in (None, *SPLITS)}
    left_out = [sample for sample in unique if sample.split == EXTERNAL and sample.group in inside]
    return Merged(
        [sample for sample in unique if sample.split != EXTERNAL or sample.group not in inside],
        [(samples[pair.one], samples[pair.other], pair) for pair in pairs],
        copies=len(first_of),
        left_out=left_out,
    )


def concatenate_archives(samples: Sequence[Sample]) -> list[Sample]:
    """Join the samples of several archives without a search for near-duplicates; no picture is opened.

    Groups and splits stay as the tables have them. Samples that a table keeps apart (external, unknown, ...)
    are left out: without a search they may show the same pictures as the training images of another archive.

    Args:
        samples: The samples of all archives.

    Returns:
        Those without a split or in train, val or test, in their order.

    Raises:
        DataError: An image id occurs more than once.
    """
    trainable = [sample for sample in samples if sample.split in (None, *SPLITS)]
    counts = Counter(sample.image_id for sample in trainable)
    repeated = [image_id for image_id, count in counts.items() if count > 1]
    if repeated:
        raise DataError(
            f"{len(repeated)} image ids occur more than once, such as {', '.join(repeated[:5])}; merge "
            "without --trust-groups, which drops copies"
        )
    return trainable


def link_groups(samples: Sequence[Sample], one: Sequence[int], other: Sequence[int]) -> list[Sample]:
    """The samples with the groups of each pair joined, under the name that is first in the alphabet.

    Args:
        samples: The samples.
        one: Position of the first of each pair.
        other: Position of the second of each pair.
    """
    names, group = np.unique([sample.group for sample in samples], return_inverse=True)
    links = coo_array((np.ones(len(one)), (group[list(one)], group[list(other)])), shape=(len(names),) * 2)
    _, component = connected_components(links, directed=False)
    # Names are sorted, so the first position of a component is its first name.
    _, first = np.unique(component, return_index=True)
    joined = names[first[component[group]]].tolist()
    return [replace(sample, group=name) for sample, name in zip(samples, joined, strict=True)]


def write_index(samples: Sequence[Sample], folder: Path) -> None:
    """Write ``index.csv``, which `train.data.readers.read_index` reads, with paths relative to the folder."""
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS.split())
        writer.writerows(
            [
                Path(os.path.relpath(s.image, folder.resolve())).as_posix(),
                *(s.image_id, s.source, s.label, s.split or "", s.group, s.lesion_id, s.patient_id or ""),
                *("" if s.age is None else s.age, s.sex or "", s.site or "", s.dx_type or ""),
            ]
            for s in samples
        )


def write_pairs(merged: Merged, folder: Path) -> None:
    """Write ``near_duplicates.csv``, a row for each pair, for people to review."""
    with (folder / "near_duplicates.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        fields = ("image_id", "source", "label", "split")
        sides = [f"{name}_{side}" for side in ("one", "other") for name in fields]
        writer.writerow([*sides, "hash_distance", "feature_distance"])
        for one, other, pair in merged.pairs:
            cells = [getattr(sample, name) for sample in (one, other) for name in fields]
            writer.writerow([*cells, pair.hash_distance, f"{pair.feature_distance:.4f}"])


def _copies(
    samples: Sequence[Sample], hashes: Float32s, max_hash_distance: int, first_label_counts: bool
) -> dict[int, int]:
    """The position of each sample whose image id occurred before, and the position of the first."""
    first: dict[tuple[str, bool], int] = {}
    copies = {
        position: first[sample.key]
        for position, sample in enumerate(samples)
        if first.setdefault(sample.key, position) != position
    }
    for position, original in copies.items():
        one, other = samples[original], samples[position]
        files = f"{one.image} and {other.image} have the image id {one.image_id}"
        if _distances(hashes[[original]], hashes[[position]]).min() > max_hash_distance:
            raise DataError(f"{files} but are different pictures; rename one")
        if one.label != other.label and not first_label_counts:
            raise DataError(
                f"{files} but the labels {one.label} and {other.label}; use the first archive's label with "
                "--first-label-counts, or correct them"
            )
        if None not in (one.split, other.split) and one.split != other.split:
            raise DataError(f"{files} but the splits {one.split} and {other.split}; correct one table")
    return copies


def _near_duplicates(
    samples: Sequence[Sample],
    hashes: Float32s,
    bundle: Bundle,
    max_hash_distance: int,
    max_feature_distance: float,
) -> list[Pair]:
    """Pairs of different groups that are close by both measures, the closest first."""
    _, group = np.unique([sample.group for sample in samples], return_inverse=True)
    candidates = [near for near in _near(hashes, max_hash_distance) if group[near[0]] != group[near[1]]]
    settings = bundle.manifest.preprocessing
    engine = Engine(bundle.ir("int8"))

    def feature(position: int, view: int) -> Float32s:
        image = prepared(samples[position], settings)
        values = engine.infer(np.ascontiguousarray(transform(image, view))).features[0]
        return np.asarray(values / np.linalg.norm(values))

    pairs = [
        Pair(one, other, distance, float(1 - feature(one, 0) @ feature(other, view)))
        for one, other, distance, view in track(candidates, "comparing", console=CONSOLE, transient=True)
    ]
    near = [pair for pair in pairs if pair.feature_distance <= max_feature_distance]
    return sorted(near, key=lambda pair: pair.feature_distance)


def _hashes(photo: Pixels) -> Float32s:
    """-1 and 1, (views, bits): the perceptual hash of the centre square in its eight dihedral transforms."""
    square = resize(center_square(photo), _READ_SIZE)
    views = (Image.fromarray(np.ascontiguousarray(transform(square, view))) for view in range(DIHEDRAL))
    bits = np.stack([imagehash.phash(view, hash_size=HASH_SIDE).hash.ravel() for view in views])
    return 2 * bits.astype(np.float32) - 1


def _distances(upright: Float32s, candidates: Float32s) -> Float32s:
    """Differing bits (n, views, k) between k pictures as they are and each view of n candidates.

    The scalar product of vectors of -1 and 1 counts differing bits.

    Args:
        upright: Hashes (k, views, bits), of which the first view is used.
        candidates: Hashes (n, views, bits).
    """
    return np.asarray((upright.shape[2] - candidates @ upright[:, 0].T) / 2)


def _near(hashes: Float32s, max_distance: int) -> list[tuple[int, int, int, int]]:
    """Positions of every pair within a distance, the distance, and the second one's closest view.

    Args:
        hashes: (n, views, bits).
        max_distance: In bits.
    """
    found = []
    for start in range(0, len(hashes), _BLOCK):
        distances = _distances(hashes[start : start + _BLOCK], hashes[start:])  # (n, views, k)
        smallest = distances.min(axis=1)
        # Below the diagonal, so that each pair counts once.
        other, one = np.nonzero(np.tril(smallest <= max_distance, -1))
        views = distances.argmin(axis=1)[other, one]
        columns = (start + one, start + other, smallest[other, one].astype(int), views)
        found += list(zip(*(column.tolist() for column in columns), strict=True))
    return found
