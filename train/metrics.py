"""Measures of a classifier, plain and over bootstrap replicates at once.

Every measure takes ``weights``: None (each image counts once), (n,), or (R, n) as `bootstrap_weights` gives
them, and returns a scalar or (R,). What is undefined, such as a recall without positives, is nan.
Scores must be finite.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeskin.errors import SettingError

Bools = npt.NDArray[np.bool_]
Classes = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A measure with its 95 % percentile interval; nan where undefined.

    undefined: how many bootstrap replicates gave no value; the interval is that of the others.
    """

    value: float
    low: float
    high: float
    undefined: int = 0


def bootstrap_weights(groups: Sequence[str], replicates: int = 2000, seed: int = 0) -> Floats:
    """How often each image occurs in each replicate when groups are drawn with replacement: (replicates, n).

    groups: (n,) names, such as lesion ids. As many groups are drawn as there are, each with all its images
    (the cluster bootstrap; Field & Welsh, J. R. Stat. Soc. B 69, 2007). n may vary between replicates.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    even = np.full(len(names), 1 / len(names))
    counts = np.random.default_rng(seed).multinomial(len(names), even, size=replicates)
    return counts[:, group_of].astype(np.float64)


def estimate(measure: Callable[..., Floats], *data: Any, weights: Floats) -> Estimate:
    """``measure(*data)`` with the interval of its values over the replicates ``weights`` (R, n)."""
    values = measure(*data, weights=weights)
    low, high = interval(values)
    return Estimate(float(measure(*data)), low, high, int(np.isnan(values).sum()))


def interval(values: Floats) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of (R,) values, undefined ones left out; (nan, nan) when all are."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)


def recall(truth: Bools, found: Bools, weights: Floats | None = None) -> Floats:
    """TP / (TP + FN), the sensitivity. truth, found: (n,)."""
    return _ratio(_total(truth & found, weights), _total(truth, weights))


def precision(truth: Bools, found: Bools, weights: Floats | None = None) -> Floats:
    """TP / (TP + FP). truth, found: (n,)."""
    return recall(found, truth, weights)


def specificity(truth: Bools, found: Bools, weights: Floats | None = None) -> Floats:
    """TN / (TN + FP). truth, found: (n,)."""
    return recall(~truth, ~found, weights)


def f1(truth: Bools, found: Bools, weights: Floats | None = None) -> Floats:
    """2 TP / (2 TP + FP + FN), undefined where nothing is true or found. truth, found: (n,)."""
    return _ratio(2 * _total(truth & found, weights), _total(truth, weights) + _total(found, weights))


def auroc(truth: Bools, scores: Floats, weights: Floats | None = None) -> Floats:
    """P(score of a positive > score of a negative) + P(equal) / 2, the area under the ROC curve.

    truth, scores: (n,). The Mann-Whitney form, with weights on both sides.
    """
    order = np.argsort(scores, kind="stable")
    weighted = _weights(len(order), weights)[..., order]
    # One column for each distinct score, from the lowest on.
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan))
    positive = np.add.reduceat(weighted * truth[order], starts, axis=-1)
    negative = np.add.reduceat(weighted * ~truth[order], starts, axis=-1)
    below = negative.cumsum(axis=-1) - negative / 2
    return _ratio((positive * below).sum(axis=-1), positive.sum(axis=-1) * negative.sum(axis=-1))


def confusion(targets: Classes, predicted: Classes, n_classes: int, weights: Floats | None = None) -> Floats:
    """Weighted counts (..., C, C): a row a true class, a column a predicted one. targets, predicted: (n,)."""
    cells = np.eye(n_classes**2)[targets * n_classes + predicted]  # (n, C * C)
    counts = _total(cells, weights)
    return counts.reshape(*counts.shape[:-1], n_classes, n_classes)


def accuracy(targets: Classes, predicted: Classes, weights: Floats | None = None) -> Floats:
    """Share of images whose class is right. targets, predicted: (n,)."""
    right = targets == predicted
    return _ratio(_total(right, weights), _total(np.ones_like(right), weights))


def class_recall(
    targets: Classes, predicted: Classes, n_classes: int, weights: Floats | None = None
) -> Floats:
    """The recall of each class, (..., C)."""
    counts = confusion(targets, predicted, n_classes, weights)
    return _ratio(_diagonal(counts), counts.sum(axis=-1))


def balanced_accuracy(
    targets: Classes, predicted: Classes, n_classes: int, weights: Floats | None = None
) -> Floats:
    """Mean recall of the classes that occur, as scikit-learn has it."""
    return _mean_of_defined(class_recall(targets, predicted, n_classes, weights))


def macro_f1(targets: Classes, predicted: Classes, n_classes: int, weights: Floats | None = None) -> Floats:
    """Mean F1 of the classes that occur or are predicted, as scikit-learn has it."""
    counts = confusion(targets, predicted, n_classes, weights)
    f1_of_class = _ratio(2 * _diagonal(counts), counts.sum(axis=-1) + counts.sum(axis=-2))
    return _mean_of_defined(f1_of_class)


def screening_threshold(is_cancer: Bools, p_cancer: Floats, target_recall: float) -> float:
    """The highest t at which the recall of ``p_cancer >= t`` reaches the target: one cancer's own P(cancer).

    is_cancer, p_cancer: (n,). target_recall: above 0, at most 1.
    Raises SettingError for another target, or when there is no cancer.
    """
    if not 0 < target_recall <= 1:
        raise SettingError(f"target recall {target_recall}: choose above 0, at most 1")
    falling = np.sort(p_cancer[is_cancer])[::-1]
    if not falling.size:
        raise SettingError("no cancer among the images, so no threshold reaches a cancer recall; add some")
    reached = np.arange(1, falling.size + 1) / falling.size
    return float(falling[np.argmax(reached >= target_recall)])


def _weights(n: int, weights: Floats | None) -> Floats:
    return np.ones(n) if weights is None else weights


def _total(values: npt.NDArray[Any], weights: Floats | None) -> Floats:
    """Weighted sum over the images. values: (n,) or (n, k)."""
    return np.asarray(_weights(len(values), weights) @ values.astype(np.float64))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)


def _diagonal(counts: Floats) -> Floats:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _mean_of_defined(values: Floats) -> Floats:
    """Mean over the last axis without the nan."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))
