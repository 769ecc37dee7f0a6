"""Splits into train, val and test: stratified by class, with no group on two sides."""

import hashlib
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from edgeskin.errors import SettingError
from train.config import FoldConfig
from train.data.readers import SPLITS, DataError
from train.data.table import Sample, check_disjoint

Positions = npt.NDArray[np.int64]
_STEPS = 20


def assign_splits(
    samples: Sequence[Sample], fractions: tuple[float, float, float] = (0.7, 0.15, 0.15), seed: int = 0
) -> list[Sample]:
    """Assign every sample without a split to train, val or test.

    A table that has splits is returned as it is. Otherwise the groups are assigned to folds with an even
    share of the classes (scikit-learn's StratifiedGroupKFold), and the folds to the splits. The result
    depends on the seed and on the image ids, not on the order of the rows. Samples that the table keeps apart
    (external, unknown) stay there.

    Args:
        samples: The samples.
        fractions: Of train, val and test; positive multiples of 0.05 that sum to 1.
        seed: Seed of the folds.

    Returns:
        The samples, in the same order.

    Raises:
        SettingError: The fractions are not such multiples.
        DataError: Only some of the samples to be trained on have a split; there are fewer groups, or images
            of every class, than folds; a class has no image on one side; or a lesion is on two sides.
    """
    unassigned = sorted((s for s in samples if s.split is None), key=lambda s: s.image_id)
    if not unassigned:
        return list(samples)
    assigned_count = sum(s.split in SPLITS for s in samples)
    if assigned_count:
        raise DataError(
            f"{assigned_count} images have a split and {len(unassigned)} have none "
            f"(such as {unassigned[0].image_id}): give every row a split, or none"
        )

    owners = _owners(fractions)
    split_of: dict[str, str] = {}
    for owner, (_, members) in zip(owners, _folds(unassigned, len(owners), seed), strict=True):
        split_of.update((unassigned[i].image_id, owner) for i in members)

    present = {(s.label, split_of[s.image_id]) for s in unassigned}
    absent = [
        f"{label} in {split}"
        for label in sorted({s.label for s in unassigned})
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


def left_out(samples: Sequence[Sample], folds: FoldConfig) -> npt.NDArray[np.bool_]:
    """Which of n samples are in the fold left out, (n,). Folds are stratified and keep groups whole.

    Raises:
        DataError: There are fewer groups, or images of every class, than folds.
    """
    if not folds.count:
        return np.zeros(len(samples), dtype=bool)
    _, members = _folds(samples, folds.count, seed=0)[folds.left_out]
    out = np.zeros(len(samples), dtype=bool)
    out[members] = True
    return out


def split_sha256(samples: Sequence[Sample]) -> str:
    """SHA-256, in hex, of the pairs (image id, split) in any order; identifies a split in reports."""
    lines = sorted(f"{sample.image_id}\t{sample.split}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _folds(samples: Sequence[Sample], count: int, seed: int) -> list[tuple[Positions, Positions]]:
    """scikit-learn's StratifiedGroupKFold over classes and groups: for each fold the rest and the members."""
    labels = np.array([sample.label for sample in samples])
    groups = np.array([sample.group for sample in samples])
    if count > len(np.unique(groups)):
        raise DataError(
            f"{len(np.unique(groups))} groups are too few for {count} folds: add lesions, or choose "
            "fewer folds (coarser fractions, such as 0.6, 0.2, 0.2)"
        )
    if count > max(Counter(labels.tolist()).values()):
        raise DataError(
            f"no class has {count} images, one for each fold: add images, or choose fewer folds (coarser "
            "fractions, such as 0.6, 0.2, 0.2)"
        )
    with warnings.catch_warnings():
        # A class with fewer images than folds is fine as long as each side gets some, which callers check.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        return list(folds.split(labels, labels, groups))


def _owners(fractions: tuple[float, float, float]) -> list[str]:
    """The split of each fold, for the smallest number of folds: train 3, val 1, test 1 for .6, .2, .2."""
    parts = [round(fraction * _STEPS) for fraction in fractions]
    exact = all(
        math.isclose(part / _STEPS, f, abs_tol=1e-9) for part, f in zip(parts, fractions, strict=True)
    )
    if len(parts) != len(SPLITS) or min(parts) < 1 or sum(parts) != _STEPS or not exact:
        raise SettingError(f"fractions {fractions}: choose three positive multiples of 0.05 that sum to 1")
    unit = math.gcd(*parts)
    return [split for split, part in zip(SPLITS, parts, strict=True) for _ in range(part // unit)]
