"""Measures of a classifier, plain and over bootstrap replicates at once.

Every measure takes ``weights``: None (each image counts once), (n,), or (R, n) as `bootstrap_weights` gives
them, and returns a scalar or (R,). What is undefined, such as a recall without positives, is nan.
Scores must be finite.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from edgeskin.errors import SettingError

Bools = npt.NDArray[np.bool_]
Classes = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]

SMALL_COUNT = 30
"""Below it, of what is counted or of the rest, a share's interval is exact."""
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Estimate:
    """A measure with its 95 % interval; nan where undefined.

    undefined: how many bootstrap replicates gave no value; the interval is that of the others.
    exact: whether the interval is that of Clopper and Pearson and not of the bootstrap.
    """

    value: float
    low: float
    high: float
    undefined: int = 0
    exact: bool = False


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


def mirrored(estimate: Estimate) -> Estimate:
    """The basic bootstrap interval, 2 value - high to 2 value - low, at least 0 (Davison & Hinkley, 1997).

    For a measure that noise can only raise, such as a calibration error: its replicates lie too high.
    """
    low, high = 2 * estimate.value - estimate.high, 2 * estimate.value - estimate.low
    return replace(estimate, low=max(0.0, low), high=max(0.0, high))


def estimate_share(of: Bools, found: Bools, weights: Floats) -> Estimate:
    """The share of ``of`` (n,) that is ``found`` (n,): a recall. weights: (R, n).

    Where fewer than SMALL_COUNT are found, or are not, the bootstrap's interval is too narrow (none, at 0 and
    1), and the exact one is given (Clopper & Pearson, Biometrika 26, 1934).
    """
    total, hits = int(of.sum()), int((of & found).sum())
    if not total or min(hits, total - hits) >= SMALL_COUNT:
        return estimate(recall, of, found, weights=weights)
    low = beta.ppf(0.025, hits, total - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, total - hits) if hits < total else 1.0
    return Estimate(hits / total, float(low), float(high), exact=True)


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


def roc(truth: Bools, scores: Floats, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """False and true positive rate at each distinct score, from the highest on, after (0, 0): (..., k + 1).

    truth, scores: (n,). nan where there is no negative, or no positive.
    """
    order = np.argsort(-scores, kind="stable")
    weighted = _weights(len(order), weights)[..., order]
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan))
    rates = []
    for members in (~truth[order], truth[order]):
        counts = np.add.reduceat(weighted * members, starts, axis=-1).cumsum(axis=-1)
        counts = np.concatenate([np.zeros_like(counts[..., :1]), counts], axis=-1)
        rates.append(_ratio(counts, np.broadcast_to(counts[..., -1:], counts.shape)))
    return rates[0], rates[1]


def partial_auroc(truth: Bools, scores: Floats, weights: Floats | None = None, above: float = 0.8) -> Floats:
    """Area between the ROC curve and the line of true positive rate ``above``: 0 to 1 - above.

    The measure of the ISIC 2024 challenge. truth, scores: (n,).
    """
    fpr, tpr = roc(truth, scores, weights)
    over = np.clip(tpr - above, 0, None)
    rise, run = np.diff(tpr, axis=-1), np.diff(fpr, axis=-1)
    # The mean height over a straight piece, which may cross the line on its way.
    crossing = np.divide(np.diff(over**2, axis=-1), 2 * rise, out=over[..., 1:].copy(), where=rise > 0)
    return np.asarray((run * crossing).sum(axis=-1))


def sensitivity_at_specificity(
    truth: Bools, scores: Floats, least: float, weights: Floats | None = None
) -> Floats:
    """The highest sensitivity of a threshold with specificity >= ``least``. truth, scores: (n,)."""
    fpr, tpr = roc(truth, scores, weights)
    undefined = np.isnan(fpr[..., -1] + tpr[..., -1])
    # A billionth is left for the rounding of differences.
    best = np.where(1 - fpr >= least - 1e-9, tpr, 0).max(axis=-1)
    return np.where(undefined, np.nan, best)


def specificity_at_sensitivity(
    truth: Bools, scores: Floats, least: float, weights: Floats | None = None
) -> Floats:
    """The highest specificity of a threshold with sensitivity >= ``least``. truth, scores: (n,)."""
    return sensitivity_at_specificity(~truth, -scores, least, weights)


def negative_log_likelihood(targets: Classes, p: Floats, weights: Floats | None = None) -> Floats:
    """Mean of -log of the true class's probability. targets: (n,), p: (n, C)."""
    own = p[np.arange(len(targets)), targets]
    return _mean(-np.log(np.clip(own, np.finfo(np.float64).tiny, None)), weights)


def brier(truth: Bools, p: Floats, weights: Floats | None = None) -> Floats:
    """Mean squared difference of a probability and what came true, 0 to 1. truth, p: (n,)."""
    return _mean((p - truth) ** 2, weights)


def calibration_error(truth: Bools, p: Floats, weights: Floats | None = None) -> Floats:
    """Expected calibration error: mean |mean p - share of truth| over CALIBRATION_BINS bins of equally many
    images by rank of p, each by its weight (Naeini et al., AAAI 2015; equal-mass bins). truth, p: (n,).
    """
    gaps = np.abs(_total(_bins(p) * (p - truth)[:, None], weights))
    return _ratio(gaps.sum(axis=-1), _total(np.ones(len(p)), weights))


def reliability(truth: Bools, p: Floats) -> tuple[Floats, Floats]:
    """Mean p and share of truth in each bin of `calibration_error` that is not empty. truth, p: (n,)."""
    bins = _bins(p)
    filled = bins[:, bins.any(axis=0)]
    count = filled.sum(axis=0)
    return p @ filled / count, truth @ filled / count


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


def risk_coverage(wrong: Bools, certainty: Floats) -> tuple[Floats, Floats]:
    """Coverage k / n, and the share of the k most certain that is wrong, for k = 1 ... n. Both (n,).

    wrong, certainty: (n,). Equally certain ones are taken in the order given.
    """
    count = np.arange(1, len(wrong) + 1)
    errors = wrong[np.argsort(-certainty, kind="stable")].cumsum()
    return count / len(wrong), errors / count


def aurc(wrong: Bools, certainty: Floats) -> float:
    """Mean of the risk over all coverages, 0 to 1 (Geifman & El-Yaniv, NeurIPS 2017); both (n,)."""
    return float(risk_coverage(wrong, certainty)[1].mean())


def augrc(wrong: Bools, certainty: Floats) -> float:
    """Mean over all coverages of the share of all that is accepted and wrong, 0 to 1 (Traub et al., NeurIPS
    2024). wrong, certainty: (n,).
    """
    coverage, risk = risk_coverage(wrong, certainty)
    return float((coverage * risk).mean())


def predictive_values(recall: float, specificity: float, prevalence: float) -> tuple[float, float]:
    """Share of cancers among the referred, and of others among the rest, at a share of cancers (Bayes)."""
    found, needless = prevalence * recall, (1 - prevalence) * (1 - specificity)
    missed, left_alone = prevalence * (1 - recall), (1 - prevalence) * specificity
    return found / (found + needless), left_alone / (left_alone + missed)


def net_benefit(truth: Bools, p: Floats, threshold: float) -> float:
    """TP / n - FP / n * t / (1 - t) of referring from p >= t on (Vickers & Elkin, Med. Decis. Making 26,
    2006).

    truth, p: (n,).
    """
    found = p >= threshold
    true, false = (truth & found).mean(), (~truth & found).mean()
    return float(true - false * threshold / (1 - threshold))


def _bins(p: Floats) -> Floats:
    """Of CALIBRATION_BINS bins of equally many, by rank, the one that each is in: (n, bins) of 0 and 1."""
    rank = np.empty(len(p), dtype=np.int64)
    rank[np.argsort(p, kind="stable")] = np.arange(len(p))
    return np.asarray(np.eye(CALIBRATION_BINS)[rank * CALIBRATION_BINS // len(p)])


def _weights(n: int, weights: Floats | None) -> Floats:
    return np.ones(n) if weights is None else weights


def _total(values: npt.NDArray[Any], weights: Floats | None) -> Floats:
    """Weighted sum over the images. values: (n,) or (n, k)."""
    return np.asarray(_weights(len(values), weights) @ values.astype(np.float64))


def _mean(values: Floats, weights: Floats | None) -> Floats:
    return _ratio(_total(values, weights), _total(np.ones(len(values)), weights))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)


def _diagonal(counts: Floats) -> Floats:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _mean_of_defined(values: Floats) -> Floats:
    """Mean over the last axis without the nan."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))
