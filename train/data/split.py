"""Train, validation and test sets: stratified by class, with no group on two sides."""

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
from train.data.table import SPLITS, DataError, Sample, check_disjoint

Positions = npt.NDArray[np.int64]
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
    split_of: dict[str, str] = {}
    for owner, (_, members) in zip(owners, _folds(undecided, len(owners), seed), strict=True):
        split_of.update((undecided[i].image_id, owner) for i in members)

    present = {(s.label, split_of[s.image_id]) for s in undecided}
    absent = [
        f"{label} in {split}"
        for label in sorted({s.label for s in undecided})
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
    """Which of n samples are in the fold left out, (n,), whatever their order: by class, groups whole.

    Raises DataError when there are fewer groups, or images of every class, than folds.
    """
    if not folds.count:
        return np.zeros(len(samples), dtype=bool)
    _, members = _folds(samples, folds.count, seed=0)[folds.left_out]
    out = np.zeros(len(samples), dtype=bool)
    out[members] = True
    return out


def split_sha256(samples: Sequence[Sample]) -> str:
    """SHA-256, in hex, of the pairs (image id, split), whatever their order: names a split in reports."""
    lines = sorted(f"{sample.image_id}\t{sample.split}\n" for sample in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _folds(samples: Sequence[Sample], count: int, seed: int) -> list[tuple[Positions, Positions]]:
    """scikit-learn's StratifiedGroupKFold over classes and groups: of each fold the rest and the members."""
    labels = np.array([sample.label for sample in samples])
    groups = np.array([sample.group for sample in samples])
    if count > len(np.unique(groups)):
        raise DataError(
            f"{len(np.unique(groups))} groups cannot be dealt into {count} folds: add lesions, or choose "
            "fewer folds (coarser fractions, such as 0.6, 0.2, 0.2)"
        )
    if count > max(Counter(labels.tolist()).values()):
        raise DataError(
            f"no class has {count} images, one a fold: add images, or choose fewer folds (coarser "
            "fractions, such as 0.6, 0.2, 0.2)"
        )
    with warnings.catch_warnings():
        # Fewer images of a class than folds is no harm as long as each side gets some, which callers check.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        dealer = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        return list(dealer.split(labels, labels, groups))


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
