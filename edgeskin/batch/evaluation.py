"""How well labelled pictures were assessed: cancer sensitivity, specificity and AUROC, by image."""

import math
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeskin.arrays import Float64s

Z = 1.959963984540054
"""The 97.5% quantile of the normal distribution: all intervals are of 95%."""
CANCER, BENIGN = "cancer", "benign"
"""Labels that are understood beside the network's classes."""


@dataclass(frozen=True)
class Estimate:
    """A measure of 0 to 1 with its 95% interval, and the number of images that it is of."""

    value: float
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Evaluation:
    """Assessments beside their labels, by image.

    Intervals take images for independent. Where there are several of one lesion, they are too narrow.

    Attributes:
        labelled: Pictures with a label that is a class of the network, ``cancer`` or ``benign``.
        cancers: Of these, cancers that were assessed.
        benign: Of these, benign ones that were assessed.
        missed: Cancers whose risk is LOW.
        referred: Benign ones whose risk is not LOW.
        unassessed_cancers: Labelled cancers without an assessment, which no measure counts.
        unassessed_benign: Labelled benign ones without an assessment.
        sensitivity: Share of cancers whose risk is not LOW; None without cancers.
        specificity: Share of benign ones whose risk is LOW; None without any.
        auroc: Of P(cancer); None without both kinds.
        unknown: Number of pictures by label, for labels that are not understood.
    """

    labelled: int
    cancers: int
    benign: int
    missed: int
    referred: int
    unassessed_cancers: int
    unassessed_benign: int
    sensitivity: Estimate | None
    specificity: Estimate | None
    auroc: Estimate | None
    unknown: Mapping[str, int]


class LabelledScores:
    """P(cancer) of labelled pictures, 8 bytes each."""

    def __init__(self, classes: tuple[str, ...], cancer_classes: tuple[str, ...]) -> None:
        """Start with none. classes, cancer_classes: of the network."""
        self._is_cancer = {BENIGN: False, CANCER: True} | {one: one in cancer_classes for one in classes}
        self._scores = {True: array("d"), False: array("d")}
        self._low = Counter[bool]()
        self._unassessed = Counter[bool]()
        self._unknown = Counter[str]()

    def add(self, label: str, row: Mapping[str, Any]) -> None:
        """Add a picture. row: its JSON or row, with ``cancer_probability`` and ``risk``."""
        is_cancer = self._is_cancer.get(label)
        if is_cancer is None:
            self._unknown[label] += 1
        elif row["risk"] is None:
            self._unassessed[is_cancer] += 1
        else:
            self._scores[is_cancer].append(row["cancer_probability"])
            self._low[is_cancer] += row["risk"] == "LOW"

    def evaluation(self) -> Evaluation | None:
        """The measures of all pictures so far; None if no picture had a label."""
        cancer, benign = (np.frombuffer(self._scores[kind] or b"", np.float64) for kind in (True, False))
        unassessed = self._unassessed
        labelled = len(cancer) + len(benign) + unassessed.total()
        if not labelled and not self._unknown:
            return None
        return Evaluation(
            labelled,
            len(cancer),
            len(benign),
            self._low[True],
            len(benign) - self._low[False],
            unassessed[True],
            unassessed[False],
            wilson(len(cancer) - self._low[True], len(cancer)),
            wilson(self._low[False], len(benign)),
            auroc(cancer, benign),
            dict(self._unknown),
        )


def wilson(found: int, images: int) -> Estimate | None:
    """A share and its score interval (Wilson, J. Am. Stat. Assoc. 22, 1927); None of no images."""
    if not images:
        return None
    share, spread = found / images, Z**2 / images
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / images + spread / (4 * images)) / (1 + spread)
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half), images)


def auroc(cancer: Float64s, benign: Float64s) -> Estimate | None:
    """The area under the ROC curve with its interval.

    The variance is that of DeLong et al. (Biometrics 44, 1988) by midranks (Sun & Xu, IEEE Signal Process.
    Lett. 21, 2014).

    Args:
        cancer: Scores of the cancers, (n,).
        benign: Scores of the others, (m,).

    Returns:
        The estimate; its interval is 0 to 1 where the variance cannot be estimated (a single image of a kind,
        or perfect separation). None without both kinds.
    """
    n, m = len(cancer), len(benign)
    if not n or not m:
        return None
    ranks = _midranks(np.concatenate([cancer, benign]))
    of_cancer = (ranks[:n] - _midranks(cancer)) / m  # share of benign ones below each cancer
    of_benign = 1 - (ranks[n:] - _midranks(benign)) / n  # share of cancers above each benign one
    area = float(of_cancer.mean())
    variance = of_cancer.var(ddof=1) / n + of_benign.var(ddof=1) / m if min(n, m) > 1 else 0.0
    if not variance:
        return Estimate(area, 0.0, 1.0, n + m)
    half = Z * math.sqrt(variance)
    return Estimate(area, max(0.0, area - half), min(1.0, area + half), n + m)


def _midranks(scores: Float64s) -> Float64s:
    """Ranks from 1 on, (n,); equal scores share the mean of theirs."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])
