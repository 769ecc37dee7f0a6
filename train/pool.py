"""Several archives as one table: the same picture once, and near-duplicates in one group.

Archives share pictures under other names, sizes and compressions. Two are taken for one when their perceptual
hashes are near (Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010; in any of
the eight dihedral views) and the features of a trained network are too. The hash alone takes small moles on
bare skin for one another. Crops of a picture, and photos of a lesion taken anew, are not looked for.
"""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.progress import track
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from edgeskin.bundle import Bundle
from edgeskin.engine import Engine
from edgeskin.photo import load_photo
from edgeskin.preprocess import DIHEDRAL, center_square, preprocess, resize, turned
from train.data import COLUMNS, SPLITS, DataError, Sample, picture

HASH_SIDE = 16
MAX_HASH_DISTANCE = 48
"""Of HASH_SIDE ** 2 bits."""
MAX_FEATURE_DISTANCE = 0.12
"""Chosen by eye among the pairs within the hash distance: see docs/data.md."""
EXTERNAL = "external"
_READ_SIZE = 64
_BLOCK = 256
_CONSOLE = Console(stderr=True)

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two pictures taken for one, by position. hash_distance: bits. feature_distance: 1 - cosine, 0 to 2."""

    one: int
    other: int
    hash_distance: int
    feature_distance: float


@dataclass(frozen=True)
class Pool:
    """What became of the samples. pairs: near-duplicates of different groups, the nearest first. copies: how
    many had the image id of another. left_out: external images that others are near-duplicates of.
    """

    samples: list[Sample]
    pairs: list[tuple[Sample, Sample, Pair]]
    copies: int
    left_out: list[Sample]


def pooled(
    samples: Sequence[Sample],
    bundle: Bundle,
    first_label_counts: bool = False,
    max_hash_distance: int = MAX_HASH_DISTANCE,
    max_feature_distance: float = MAX_FEATURE_DISTANCE,
) -> Pool:
    """One table of the samples of several archives, in their order.

    Of samples with the same image id the first stays, in the groups of all of them; near-duplicates come into
    one group; what is ``external`` and in a group with other images is taken out.

    bundle: whose network's features are compared. first_label_counts: where such samples have other labels.
    Raises DataError when an image id names different pictures, labels or splits, and PhotoError for a picture
    that cannot be read.
    """
    steps = track(samples, "hashing", console=_CONSOLE, transient=True)
    hashes = np.stack([_hashes(load_photo(sample.image, _READ_SIZE).image) for sample in steps])
    first_of = _copies(samples, hashes, max_hash_distance, first_label_counts)
    pairs = _near_duplicates(samples, hashes, bundle, max_hash_distance, max_feature_distance)
    one = [pair.one for pair in pairs] + list(first_of)
    other = [pair.other for pair in pairs] + list(first_of.values())
    grouped = merged(samples, one, other)
    kept = [sample for position, sample in enumerate(grouped) if position not in first_of]
    inside = {sample.group for sample in kept if sample.split in (None, *SPLITS)}
    leaks = [sample.split == EXTERNAL and sample.group in inside for sample in kept]
    left_out = list(compress(kept, leaks))
    return Pool(
        [sample for sample, leak in zip(kept, leaks, strict=True) if not leak],
        [(samples[pair.one], samples[pair.other], pair) for pair in pairs],
        copies=len(first_of),
        left_out=left_out,
    )


def joined(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of several tables in their order, in the tables' own groups; no picture is opened.

    What a table keeps apart (external, ...) is left out: without a search nobody knows whether it is among
    the training images of others. Raises DataError for an image id that occurs more than once.
    """
    kept = [sample for sample in samples if sample.split in (None, *SPLITS)]
    repeated = [image_id for image_id, count in Counter(s.image_id for s in kept).items() if count > 1]
    if repeated:
        raise DataError(
            f"{len(repeated)} image ids occur more than once, such as {', '.join(repeated[:5])}; search for "
            "near-duplicates instead of trusting the groups"
        )
    return kept


def merged(samples: Sequence[Sample], one: Sequence[int], other: Sequence[int]) -> list[Sample]:
    """The samples with the groups at each pair of positions made one, by the name first in the alphabet."""
    names, group = np.unique([sample.group for sample in samples], return_inverse=True)
    links = coo_array((np.ones(len(one)), (group[list(one)], group[list(other)])), shape=(len(names),) * 2)
    _, component = connected_components(links, directed=False)
    # Names are sorted, so the first position of a component is its first name.
    _, first = np.unique(component, return_index=True)
    return [
        replace(sample, group=str(names[first[component[own]]]))
        for sample, own in zip(samples, group, strict=True)
    ]


def write_index(samples: Sequence[Sample], folder: Path) -> None:
    """Write ``index.csv``, which `train.data.read_index` reads, with paths relative to the folder."""
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


def write_pairs(pool: Pool, folder: Path) -> None:
    """Write ``near_duplicates.csv``, a row a pair, for a person to look through."""
    with (folder / "near_duplicates.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        told = ("image_id", "source", "label", "split")
        sides = [f"{name}_{side}" for side in ("one", "other") for name in told]
        writer.writerow([*sides, "hash_distance", "feature_distance"])
        for one, other, pair in pool.pairs:
            cells = [getattr(sample, name) for sample in (one, other) for name in told]
            writer.writerow([*cells, pair.hash_distance, f"{pair.feature_distance:.4f}"])


def _copies(
    samples: Sequence[Sample], hashes: Floats, max_hash_distance: int, first_label_counts: bool
) -> dict[int, int]:
    """The position of each sample whose image id came before, and that of the first."""
    first: dict[tuple[str, bool], int] = {}
    copies = {
        position: first[picture(sample)]
        for position, sample in enumerate(samples)
        if first.setdefault(picture(sample), position) != position
    }
    for position, original in copies.items():
        one, other = samples[original], samples[position]
        between = f"{one.image} and {other.image} have the image id {one.image_id}"
        if _distances(hashes[[original]], hashes[[position]]).min() > max_hash_distance:
            raise DataError(f"{between} but are different pictures; rename one")
        if one.label != other.label and not first_label_counts:
            raise DataError(
                f"{between} but the labels {one.label} and {other.label}; let the label of the archive named "
                "first count, or correct them"
            )
        if None not in (one.split, other.split) and one.split != other.split:
            raise DataError(f"{between} but the splits {one.split} and {other.split}; correct one table")
    return copies


def _near_duplicates(
    samples: Sequence[Sample],
    hashes: Floats,
    bundle: Bundle,
    max_hash_distance: int,
    max_feature_distance: float,
) -> list[Pair]:
    """Pairs of different groups that are near by both measures, the nearest first."""
    _, group = np.unique([sample.group for sample in samples], return_inverse=True)
    candidates = [near for near in _near(hashes, max_hash_distance) if group[near[0]] != group[near[1]]]
    settings = bundle.manifest.preprocessing
    engine = Engine(bundle.ir("int8"))

    def feature(position: int, view: int) -> Floats:
        image = preprocess(load_photo(samples[position].image, settings.size).image, settings)
        values = engine.infer(np.ascontiguousarray(turned(image, view))).features[0]
        return np.asarray(values / np.linalg.norm(values))

    pairs = [
        Pair(one, other, distance, float(1 - feature(one, 0) @ feature(other, view)))
        for one, other, distance, view in track(candidates, "comparing", console=_CONSOLE, transient=True)
    ]
    near = [pair for pair in pairs if pair.feature_distance <= max_feature_distance]
    return sorted(near, key=lambda pair: pair.feature_distance)


def _hashes(photo: Pixels) -> Floats:
    """-1 and 1, (views, bits): the perceptual hash of the centre square in its eight dihedral views."""
    square = resize(center_square(photo), _READ_SIZE)
    views = (Image.fromarray(np.ascontiguousarray(turned(square, view))) for view in range(DIHEDRAL))
    bits = np.stack([imagehash.phash(view, hash_size=HASH_SIDE).hash.ravel() for view in views])
    return 2 * bits.astype(np.float32) - 1


def _distances(some: Floats, others: Floats) -> Floats:
    """Differing bits, (n, views, k), of k pictures as they are and each view of the others.

    some: (k, views, bits). others: (n, views, bits). Of -1 and 1 the scalar product counts differing bits.
    """
    return np.asarray((some.shape[2] - others @ some[:, 0].T) / 2)


def _near(hashes: Floats, max_distance: int) -> list[tuple[int, int, int, int]]:
    """Positions, distance and the other's nearest view of every pair within it. hashes: (n, views, bits)."""
    found = []
    for start in range(0, len(hashes), _BLOCK):
        distances = _distances(hashes[start : start + _BLOCK], hashes[start:])
        for other, one in zip(*np.nonzero(distances.min(axis=1) <= max_distance), strict=True):
            if other > one:
                view = int(distances[other, :, one].argmin())
                found.append((start + one, start + other, int(distances[other, view, one]), view))
    return found
