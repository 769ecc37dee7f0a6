"""Train, validation and test sets: stratified by class, with no group on two sides."""

import hashlib
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from edgeskin.errors import SettingError
from train.data import SPLITS, DataError, Sample, check_disjoint

_STEPS = 20


def assign_splits(
    samples: Sequence[Sample], fractions: tuple[float, float, float] = (0.7, 0.15, 0.15), seed: int = 0
) -> list[Sample]:
    """Give every sample without a split to train, val or test; keep the order of the samples.

    A table that brings its splits is returned as it is. Otherwise the groups are dealt into folds that
    share the classes evenly (scikit-learn's StratifiedGroupKFold), and the folds to the splits. The result
    depends on the seed and on the image ids, not on the order of the rows. Samples that the table keeps
    apart (external, unknown) stay where they are.

    fractions: of train, val and test; positive multiples of 0.05 that sum to 1.

    Raises SettingError for other fractions; DataError when only some of the samples to be trained on have
    a split, when there are fewer groups, or images of every class, than folds, when a class has no image on
    one of the sides, or when a lesion is on two sides.
    """
    undecided = sorted((s for s in samples if s.split is None), key=lambda s: s.image_id)
    if not undecided:
        return list(samples)
    decided = sum(s.split in SPLITS for s in samples)
    if decided:
        raise DataError(
            f"{decided} images have a split and {len(undecided)} have none "
            f"(such as {undecided[0].image_id}): give every row a split, or none"
        )

    owners = _owners(fractions)
    labels = np.array([s.label for s in undecided])
    groups = np.array([s.group for s in undecided])
    if len(owners) > len(np.unique(groups)):
        raise DataError(
            f"{len(np.unique(groups))} groups cannot be dealt into {len(owners)} folds: add lesions, "
            "or choose coarser fractions such as 0.6, 0.2, 0.2"
        )
    if len(owners) > max(Counter(labels.tolist()).values()):
        raise DataError(
            f"no class has {len(owners)} images, one a fold: add images, or choose coarser fractions such as "
            "0.6, 0.2, 0.2"
        )
    folds = StratifiedGroupKFold(len(owners), shuffle=True, random_state=seed)
    split_of: dict[str, str] = {}
    with warnings.catch_warnings():
        # Fewer images of a class than folds is no harm as long as every split gets some: checked below.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for owner, (_, members) in zip(owners, folds.split(labels, labels, groups), strict=True):
            split_of.update((undecided[i].image_id, owner) for i in members)

    present = {(s.label, split_of[s.image_id]) for s in undecided}
    absent = [
        f"{label} in {split}"
        for label in np.unique(labels)
        for split in SPLITS
        if (label, split) not in present
    ]
    if absent:
        raise DataError(
            f"classes without an image on one side: {', '.join(absent)}; add lesions or change the seed"
        )
    assigned = [replace(s, split=split_of[s.image_id]) if s.split is None else s for s in samples]
    check_disjoint(assigned)
    return assigned


def split_sha256(samples: Sequence[Sample]) -> str:
    """SHA-256, in hex, of the pairs (image id, split), whatever their order: names a split in reports."""
    lines = sorted(f"{sample.image_id}\t{sample.split}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _owners(fractions: tuple[float, float, float]) -> list[str]:
    """The split of each fold, with as few folds as can be: train 3, val 1, test 1 for .6, .2, .2."""
    parts = [round(fraction * _STEPS) for fraction in fractions]
    exact = all(
        math.isclose(part / _STEPS, f, abs_tol=1e-9) for part, f in zip(parts, fractions, strict=True)
    )
    if len(parts) != len(SPLITS) or min(parts) < 1 or sum(parts) != _STEPS or not exact:
        raise SettingError(f"fractions {fractions}: choose three positive multiples of 0.05 that sum to 1")
    unit = math.gcd(*parts)
    return [split for split, part in zip(SPLITS, parts, strict=True) for _ in range(part // unit)]
