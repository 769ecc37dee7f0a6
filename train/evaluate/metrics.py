"""Measures of a classifier, plain or over all bootstrap replicates at once.

Every measure takes ``weights``: None (each image counts once), (n,), or (R, n) as
`train.evaluate.bootstrap.bootstrap_weights` returns them, and returns a scalar or (R,). What is undefined,
such as a recall without positives, is nan. Scores must be finite.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeskin.errors import SettingError

Bools = npt.NDArray[np.bool_]
Classes = npt.NDArray[np.integer[Any]]
Float64s = npt.NDArray[np.float64]

CALIBRATION_BINS = 15


def recall(truth: Bools, found: Bools, weights: Float64s | None = None) -> Float64s:
    """TP / (TP + FN), the sensitivity. truth, found: (n,)."""
    return _ratio(_total(truth & found, weights), _total(truth, weights))


def precision(truth: Bools, found: Bools, weights: Float64s | None = None) -> Float64s:
    """TP / (TP + FP). truth, found: (n,)."""
    return recall(found, truth, weights)


def specificity(truth: Bools, found: Bools, weights: Float64s | None = None) -> Float64s:
    """TN / (TN + FP). truth, found: (n,)."""
    return recall(~truth, ~found, weights)


def f1(truth: Bools, found: Bools, weights: Float64s | None = None) -> Float64s:
    """2 TP / (2 TP + FP + FN), undefined where nothing is true or found. truth, found: (n,)."""
    return _ratio(2 * _total(truth & found, weights), _total(truth, weights) + _total(found, weights))


def auroc(truth: Bools, scores: Float64s, weights: Float64s | None = None) -> Float64s:
    """P(score of a positive > score of a negative) + P(equal) / 2, the area under the ROC curve.

    This is the Mann-Whitney form, with weights on both sides. truth, scores: (n,).
    """
    positives, order = scores[truth], np.argsort(scores[~truth])
    negatives = scores[~truth][order]
    weighted = _weights(len(truth), weights)
    positive, negative = weighted[..., truth], weighted[..., ~truth][..., order]
    # The weight of the k lowest negatives, for each k from 0.
    lowest = np.concatenate([np.zeros_like(weighted[..., :1]), negative.cumsum(axis=-1)], axis=-1)
    below = lowest[..., np.searchsorted(negatives, positives, "left")]
    not_above = lowest[..., np.searchsorted(negatives, positives, "right")]
    pairs = (positive * (below + not_above)).sum(axis=-1) / 2
    return _ratio(pairs, positive.sum(axis=-1) * lowest[..., -1])


def roc(truth: Bools, scores: Float64s, weights: Float64s | None = None) -> tuple[Float64s, Float64s]:
    """The ROC curve: false and true positive rate, both (..., k + 1).

    It starts at (0, 0) and has a point for each of k distinct scores, from the highest. A rate is nan where
    there is no negative, or no positive. truth, scores: (n,).
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


def partial_auroc(
    truth: Bools, scores: Float64s, weights: Float64s | None = None, above: float = 0.8
) -> Float64s:
    """Area between the ROC curve and the line of true positive rate ``above``, 0 to 1 - above.

    This is the measure of the ISIC 2024 challenge. truth, scores: (n,).
    """
    fpr, tpr = roc(truth, scores, weights)
    over = np.clip(tpr - above, 0, None)
    rise, run = np.diff(tpr, axis=-1), np.diff(fpr, axis=-1)
    # The mean height above the line of a straight piece, which may cross it.
    crossing = np.divide(np.diff(over**2, axis=-1), 2 * rise, out=over[..., 1:].copy(), where=rise > 0)
    return np.asarray((run * crossing).sum(axis=-1))


def sensitivity_at_specificity(
    truth: Bools, scores: Float64s, least: float, weights: Float64s | None = None
) -> Float64s:
    """The highest sensitivity of a threshold with specificity >= ``least``. truth, scores: (n,)."""
    fpr, tpr = roc(truth, scores, weights)
    undefined = np.isnan(fpr[..., -1] + tpr[..., -1])
    # A tolerance of a billionth for rounding.
    best = np.where(1 - fpr >= least - 1e-9, tpr, 0).max(axis=-1)
    return np.where(undefined, np.nan, best)


def specificity_at_sensitivity(
    truth: Bools, scores: Float64s, least: float, weights: Float64s | None = None
) -> Float64s:
    """The highest specificity of a threshold with sensitivity >= ``least``. truth, scores: (n,)."""
    return sensitivity_at_specificity(~truth, -scores, least, weights)


def negative_log_likelihood(targets: Classes, p: Float64s, weights: Float64s | None = None) -> Float64s:
    """Mean of -log p of the true class. targets: (n,), p: (n, C)."""
    own = p[np.arange(len(targets)), targets]
    return _mean(-np.log(np.clip(own, np.finfo(np.float64).tiny, None)), weights)


def brier(truth: Bools, p: Float64s, weights: Float64s | None = None) -> Float64s:
    """Mean squared difference of a probability and the truth, 0 to 1. truth, p: (n,)."""
    return _mean((p - truth) ** 2, weights)


def calibration_error(truth: Bools, p: Float64s, weights: Float64s | None = None) -> Float64s:
    """Expected calibration error (Naeini et al., AAAI 2015), with bins of equal mass.

    The weighted mean of |mean p - share of truth| over CALIBRATION_BINS bins by rank of p. truth, p: (n,).
    """
    gaps = np.abs(_total(_bins(p) * (p - truth)[:, None], weights))
    return _ratio(gaps.sum(axis=-1), _total(np.ones(len(p)), weights))


def reliability(truth: Bools, p: Float64s) -> tuple[Float64s, Float64s]:
    """Mean p and share of truth in each non-empty bin of `calibration_error`. truth, p: (n,)."""
    bins = _bins(p)
    filled = bins[:, bins.any(axis=0)]
    count = filled.sum(axis=0)
    return p @ filled / count, truth @ filled / count


def confusion(
    targets: Classes, predicted: Classes, n_classes: int, weights: Float64s | None = None
) -> Float64s:
    """Weighted counts (..., C, C): true classes in rows, predicted in columns. targets, predicted: (n,)."""
    cells = np.eye(n_classes**2)[targets * n_classes + predicted]  # (n, C * C)
    counts = _total(cells, weights)
    return counts.reshape(*counts.shape[:-1], n_classes, n_classes)


def accuracy(targets: Classes, predicted: Classes, weights: Float64s | None = None) -> Float64s:
    """Share of correct classes. targets, predicted: (n,)."""
    correct = targets == predicted
    return _ratio(_total(correct, weights), _total(np.ones_like(correct), weights))


def class_recall(
    targets: Classes, predicted: Classes, n_classes: int, weights: Float64s | None = None
) -> Float64s:
    """The recall of each class, (..., C). targets, predicted: (n,)."""
    counts = confusion(targets, predicted, n_classes, weights)
    return _ratio(_diagonal(counts), counts.sum(axis=-1))


def balanced_accuracy(
    targets: Classes, predicted: Classes, n_classes: int, weights: Float64s | None = None
) -> Float64s:
    """Mean recall of the classes that occur, as in scikit-learn. targets, predicted: (n,)."""
    return _mean_of_defined(class_recall(targets, predicted, n_classes, weights))


def macro_f1(
    targets: Classes, predicted: Classes, n_classes: int, weights: Float64s | None = None
) -> Float64s:
    """Mean F1 of the classes that occur or are predicted, as in scikit-learn. targets, predicted: (n,)."""
    counts = confusion(targets, predicted, n_classes, weights)
    f1_of_class = _ratio(2 * _diagonal(counts), counts.sum(axis=-1) + counts.sum(axis=-2))
    return _mean_of_defined(f1_of_class)


def screening_threshold(is_cancer: Bools, p_cancer: Float64s, target_recall: float) -> float:
    """The highest threshold t at which the recall of ``p_cancer >= t`` reaches the target.

    Args:
        is_cancer: (n,).
        p_cancer: P(cancer), (n,).
        target_recall: Above 0, at most 1.

    Returns:
        The P(cancer) of one of the cancers.

    Raises:
        SettingError: The target is out of range, or there is no cancer.
    """
    if not 0 < target_recall <= 1:
        raise SettingError(f"target recall {target_recall}: choose above 0, at most 1")
    falling = np.sort(p_cancer[is_cancer])[::-1]
    if not falling.size:
        raise SettingError("no cancer among the images, so no threshold can be chosen by recall; add some")
    reached = np.arange(1, falling.size + 1) / falling.size
    return float(falling[np.argmax(reached >= target_recall)])


def risk_coverage(wrong: Bools, confidence: Float64s) -> tuple[Float64s, Float64s]:
    """Coverage k / n, and the share of errors among the k most confident, for k = 1 ... n; both (n,).

    Ties are ordered as given. wrong, confidence: (n,).
    """
    count = np.arange(1, len(wrong) + 1)
    errors = wrong[np.argsort(-confidence, kind="stable")].cumsum()
    return count / len(wrong), errors / count


def aurc(wrong: Bools, confidence: Float64s) -> float:
    """Mean of the risk over all coverages, 0 to 1 (Geifman & El-Yaniv, NeurIPS 2017).

    wrong, confidence: (n,).
    """
    return float(risk_coverage(wrong, confidence)[1].mean())


def augrc(wrong: Bools, confidence: Float64s) -> float:
    """Mean over all coverages of the share that is accepted and wrong, 0 to 1 (Traub et al., NeurIPS 2024).

    wrong, confidence: (n,).
    """
    coverage, risk = risk_coverage(wrong, confidence)
    return float((coverage * risk).mean())


def predictive_values(recall: float, specificity: float, prevalence: float) -> tuple[float, float]:
    """Positive and negative predictive value at a prevalence of cancer (Bayes); all from 0 to 1."""
    true_positive, false_positive = prevalence * recall, (1 - prevalence) * (1 - specificity)
    false_negative, true_negative = prevalence * (1 - recall), (1 - prevalence) * specificity
    return (
        true_positive / (true_positive + false_positive),
        true_negative / (true_negative + false_negative),
    )


def net_benefit(truth: Bools, p: Float64s, threshold: float) -> float:
    """Net benefit TP / n - FP / n * t / (1 - t) of referring where p >= t.

    Vickers & Elkin, Med. Decis. Making 26, 2006. truth, p: (n,). threshold: t, below 1.
    """
    found = p >= threshold
    true, false = (truth & found).mean(), (~truth & found).mean()
    return float(true - false * threshold / (1 - threshold))


def _bins(p: Float64s) -> Float64s:
    """Membership in CALIBRATION_BINS bins of equal size by rank, (n, bins) of 0 and 1."""
    rank = np.empty(len(p), dtype=np.int64)
    rank[np.argsort(p, kind="stable")] = np.arange(len(p))
    return np.asarray(np.eye(CALIBRATION_BINS)[rank * CALIBRATION_BINS // len(p)])


def _weights(n: int, weights: Float64s | None) -> Float64s:
    return np.ones(n) if weights is None else weights


def _total(values: npt.NDArray[Any], weights: Float64s | None) -> Float64s:
    """Weighted sum over the images. values: (n,) or (n, k)."""
    return np.asarray(_weights(len(values), weights) @ values.astype(np.float64))


def _mean(values: Float64s, weights: Float64s | None) -> Float64s:
    return _ratio(_total(values, weights), _total(np.ones(len(values)), weights))


def _ratio(numerator: Float64s, denominator: Float64s) -> Float64s:
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)


def _diagonal(counts: Float64s) -> Float64s:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _mean_of_defined(values: Float64s) -> Float64s:
    """Mean over the last axis without the nan."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))
