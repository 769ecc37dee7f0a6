"""Prediction sets: the classes that are plausible for a picture, and the most serious of them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Bools, Float64s
from edgeskin.taxonomy import SEVERITY


def prediction_sets(class_probabilities: Float64s, thresholds: Sequence[float]) -> Bools:
    """Which classes are in each set: those from their threshold on, and the most probable one.

    Args:
        class_probabilities: (..., C).
        thresholds: (C,), fitted by `quantize.fitting.prediction_sets`.

    Returns:
        (..., C).
    """
    most = class_probabilities.max(axis=-1, keepdims=True)
    return np.asarray((class_probabilities >= np.asarray(thresholds)) | (class_probabilities == most))


def most_serious(
    class_probabilities: Float64s, members: Bools, classes: Sequence[str], is_cancer: Bools
) -> npt.NDArray[np.int64]:
    """The most serious class of each set, as a position: cancers by SEVERITY, then the others.

    Among the others, and among cancers that SEVERITY does not list, the more probable class comes first.

    Args:
        class_probabilities: (n, C).
        members: (n, C), at least one True in each row.
        classes: C names.
        is_cancer: (C,).
    """
    known = np.array([SEVERITY.index(name) if name in SEVERITY else len(SEVERITY) for name in classes])
    tier = np.where(is_cancer, 0, len(SEVERITY) + 1) + known  # (C,)
    # lexsort's last key is the first to count; non-members come after all members.
    keys = (-class_probabilities, np.broadcast_to(tier, members.shape), ~members)
    return np.asarray(np.lexsort(keys, axis=-1)[:, 0])
