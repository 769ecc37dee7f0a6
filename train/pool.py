"""Several archives as one table: the same picture once, and near-duplicates in one group.

Archives share pictures under other names, sizes and compressions. Two are taken for one when their perceptual
hashes are near (Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010; in any of
the eight dihedral views) and the features of a trained network are too. The hash alone takes small moles on
bare skin for one another. Crops of a picture, and photos of a lesion taken anew, are not looked for.
"""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from train.data import COLUMNS, DataError, Sample, picture

HASH_SIDE = 16
MAX_HASH_DISTANCE = 48
"""Of HASH_SIDE ** 2 bits."""
MAX_FEATURE_DISTANCE = 0.12
"""Chosen by eye among the pairs within the hash distance: see docs/data.md."""
_READ_SIZE = 64
_BLOCK = 512
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


def without_copies(samples: Sequence[Sample]) -> list[Sample]:
    """The samples without those whose image id came before, as when two archives hold the same picture.

    Raises DataError when the two have different labels.
    """
    first: dict[tuple[str, bool], Sample] = {}
    for sample in samples:
        first.setdefault(picture(sample), sample)
    contrary = {s.image_id for s in samples if s.label != first[picture(s)].label}
    if contrary:
        raise DataError(f"images with other labels in another archive: {', '.join(sorted(contrary)[:20])}")
    return list(first.values())


def near_duplicates(
    samples: Sequence[Sample],
    bundle: Bundle,
    max_hash_distance: int = MAX_HASH_DISTANCE,
    max_feature_distance: float = MAX_FEATURE_DISTANCE,
) -> list[Pair]:
    """Pairs of different groups that are near by both measures, the nearest first.

    bundle: whose network's features are compared. Raises PhotoError for a picture that cannot be read.
    """
    _, group = np.unique([sample.group for sample in samples], return_inverse=True)
    steps = track(samples, "hashing", console=_CONSOLE, transient=True)
    hashes = np.stack([_hashes(load_photo(sample.image, _READ_SIZE).image) for sample in steps])
    candidates = [
        (one, other, distance)
        for one, other, distance in _near(hashes, max_hash_distance)
        if group[one] != group[other]
    ]
    involved = sorted({position for pair in candidates for position in pair[:2]})
    settings = bundle.manifest.preprocessing
    engine = Engine(bundle.read("int8.xml"), bundle.read("int8.bin"), views=settings.views)
    features: dict[int, Floats] = {}
    for position in track(involved, "comparing", console=_CONSOLE, transient=True):
        image = preprocess(load_photo(samples[position].image, settings.size).image, settings)
        mean = engine.infer(image).features.mean(axis=0)
        features[position] = mean / np.linalg.norm(mean)
    pairs = [
        Pair(one, other, distance, float(1 - features[one] @ features[other]))
        for one, other, distance in candidates
    ]
    near = [pair for pair in pairs if pair.feature_distance <= max_feature_distance]
    return sorted(near, key=lambda pair: pair.feature_distance)


def merged(samples: Sequence[Sample], pairs: Sequence[Pair]) -> list[Sample]:
    """The samples with the groups of each pair made one, named after its first in alphabetical order."""
    names, group = np.unique([sample.group for sample in samples], return_inverse=True)
    one, other = ([group[getattr(pair, side)] for pair in pairs] for side in ("one", "other"))
    links = coo_array((np.ones(len(pairs)), (one, other)), shape=(len(names), len(names)))
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


def write_pairs(samples: Sequence[Sample], pairs: Sequence[Pair], folder: Path) -> None:
    """Write ``near_duplicates.csv``, a row a pair, for a person to look through."""
    with (folder / "near_duplicates.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        sides = [f"{name}_{side}" for side in ("one", "other") for name in ("image_id", "source", "label")]
        writer.writerow([*sides, "hash_distance", "feature_distance"])
        for pair in pairs:
            told = [(s.image_id, s.source, s.label) for s in (samples[pair.one], samples[pair.other])]
            writer.writerow([*told[0], *told[1], pair.hash_distance, f"{pair.feature_distance:.4f}"])


def _hashes(photo: Pixels) -> Floats:
    """-1 and 1, (views, bits): the perceptual hash of the centre square in its eight dihedral views."""
    square = resize(center_square(photo), _READ_SIZE)
    views = (Image.fromarray(np.ascontiguousarray(turned(square, view))) for view in range(DIHEDRAL))
    bits = np.stack([imagehash.phash(view, hash_size=HASH_SIDE).hash.ravel() for view in views])
    return 2 * bits.astype(np.float32) - 1


def _near(hashes: Floats, max_distance: int) -> list[tuple[int, int, int]]:
    """Positions and distance of every pair, the first upright and the other in its nearest view.

    hashes: (n, views, bits), -1 and 1, of which the scalar product counts the differing ones.
    """
    n, views, bits = hashes.shape
    found = []
    for start in range(0, n, _BLOCK):
        upright = hashes[start : start + _BLOCK, 0]
        nearest = np.max([upright @ hashes[start:, view].T for view in range(views)], axis=0)
        distance = ((bits - nearest) / 2).round().astype(int)
        for one, other in zip(*np.nonzero(np.triu(distance <= max_distance, k=1)), strict=True):
            found.append((start + int(one), start + int(other), int(distance[one, other])))
    return found
