"""Compares OOD scores on images that are known to be out of distribution, which fit nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors

from edgeskin.arrays import Float64s
from edgeskin.decision.ood import unit
from quantize.fitting.labels import Labels, Targets
from quantize.fitting.ood import FEATURE_DIMENSIONS, Activations, fit_statistics, subspace
from train.evaluate.bootstrap import Estimate, bootstrap_weights, estimate
from train.evaluate.metrics import auroc

NEIGHBOURS = 10
COMPARED_AT = 0.05
"""Share of validation that a score rejects where its rejections are compared."""
BUNDLE_SCORE = "ViM and picture"
"""The score that goes into the bundle."""

Score = Callable[[Activations], Float64s]
"""From n images to scores (n,); higher is farther from the training images."""
Fit = Callable[[Activations, Targets], Score]
"""From training images and their class indices to a score."""


@dataclass(frozen=True)
class OodScore:
    """How well a score separates OOD images from validation.

    Attributes:
        auroc: AUROC of OOD images against validation.
        false_positive_rate: Share of validation above the threshold that 95% of OOD images exceed.
        found: Share of OOD images above the threshold that 5% of validation exceeds.
        rejected: Share of each class of validation above the same threshold.
        near: AUROC of each class against the other classes of validation, by a score that was fitted without
            the class. The features come from a network that was trained on all classes.
    """

    auroc: Estimate
    false_positive_rate: float
    found: float
    rejected: Mapping[str, float]
    near: Mapping[str, float]


@dataclass(frozen=True)
class OodReport:
    """The manifest's record of the OOD score; its fields are JSON keys.

    Attributes:
        score: Name of the score in the bundle.
        training_images: Number of training images that it is fitted on.
        others: Number of OOD images that it is compared on.
        precision: The precision whose outputs are compared.
        compared: Figures of each score; empty where there are no OOD images.
    """

    score: str
    training_images: int
    others: int
    precision: str
    compared: Mapping[str, OodScore]


def compare_scores(
    train: Activations, train_targets: Targets, val: Activations, labels: Labels, ood: Activations
) -> dict[str, OodScore]:
    """Fit each score to training images, and compare them on validation and OOD images.

    Args:
        train: Training images.
        train_targets: Their class indices.
        val: Validation images.
        labels: Their labels; the bootstrap draws their lesions, and each OOD image.
        ood: OOD images.

    Returns:
        Figures by the name of the score.
    """
    return {name: _compare(fit, train, train_targets, val, labels, ood) for name, fit in SCORES.items()}


def _compare(
    fit: Fit, train: Activations, train_targets: Targets, val: Activations, labels: Labels, ood: Activations
) -> OodScore:
    score = fit(train, train_targets)
    val_scores, ood_scores = score(val), score(ood)
    is_ood = np.arange(len(val_scores) + len(ood_scores)) >= len(val_scores)
    weights = bootstrap_weights([*labels.lesions, *(f"other {i}" for i in range(len(ood_scores)))])
    threshold = np.quantile(val_scores, 1 - COMPARED_AT)
    rejected, near = {}, {}
    for c, name in enumerate(labels.classes):
        of_class, is_other = labels.targets == c, train_targets != c
        if of_class.any():
            rejected[name] = float((val_scores[of_class] > threshold).mean())
        if of_class.any() and is_other.any() and not is_other.all():
            score_without = fit(train.only(is_other).without_class(c), train_targets[is_other])
            near[name] = float(auroc(of_class, score_without(val.without_class(c))))
    return OodScore(
        estimate(auroc, is_ood, np.concatenate([val_scores, ood_scores]), weights=weights),
        float((val_scores >= np.quantile(ood_scores, COMPARED_AT)).mean()),
        float((ood_scores > threshold).mean()),
        rejected,
        near,
    )


def _energy(train: Activations, targets: Targets) -> Score:
    """Energy (Liu et al., NeurIPS 2020)."""
    return lambda images: np.asarray(-logsumexp(images.logits, axis=1))


def _mahalanobis(train: Activations, targets: Targets) -> Score:
    """Mahalanobis distance to the nearest class mean, with one covariance (Lee et al., NeurIPS 2018).

    It is computed in the principal subspace, since some thousand images cannot fit a covariance of all
    features.
    """
    mean, basis = subspace(unit(train.features), FEATURE_DIMENSIONS)
    projected = (unit(train.features) - mean) @ basis
    class_means = {c: projected[targets == c].mean(axis=0) for c in np.unique(targets)}
    centred = projected - np.stack([class_means[c] for c in targets])
    covariance = EmpiricalCovariance(assume_centered=True).fit(centred)

    def score(images: Activations) -> Float64s:
        positions = (unit(images.features) - mean) @ basis
        distances = [covariance.mahalanobis(positions - class_mean) for class_mean in class_means.values()]
        return np.asarray(np.min(distances, axis=0))

    return score


def _neighbours(train: Activations, targets: Targets) -> Score:
    """Distance of unit-length features to the NEIGHBOURS-th nearest (Sun et al., ICML 2022)."""
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train.features))).fit(unit(train.features))
    return lambda images: np.asarray(search.kneighbors(unit(images.features))[0][:, -1])


def _distances(which: slice) -> Fit:
    """Sum the chosen distances of `edgeskin.decision.ood`: the first is ViM's, the second the picture's."""

    def fit(train: Activations, targets: Targets) -> Score:
        statistics = fit_statistics(train)
        return lambda images: np.asarray(
            statistics.distances(images.features, images.logits, images.pictures)[:, which].sum(axis=1)
        )

    return fit


SCORES: Mapping[str, Fit] = {
    "energy": _energy,
    "Mahalanobis": _mahalanobis,
    f"{NEIGHBOURS} nearest neighbours": _neighbours,
    "ViM": _distances(slice(0, 1)),
    "picture": _distances(slice(1, 2)),
    BUNDLE_SCORE: _distances(slice(0, 2)),
}
