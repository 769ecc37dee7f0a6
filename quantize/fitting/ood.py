"""Fits the out-of-distribution score of `edgeskin.decision.ood` to training pictures, and compares it with others.

All are fitted on training pictures alone, of every class alike; validation fixes the threshold, and
pictures that are known to be out of distribution only compare.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from edgeskin.decision.ood import SIDE, OodStatistics, thumbnail, unit
from edgeskin.errors import SettingError
from edgeskin.imaging.dihedral import DIHEDRAL, transform
from train.evaluate.metrics import Estimate, auroc, bootstrap_weights, estimate
from train.evaluate.outputs import Floats as Float32s
from train.evaluate.outputs import Outputs

Floats = npt.NDArray[np.float64]
Targets = npt.NDArray[np.int64]

FEATURE_DIMENSIONS, PICTURE_DIMENSIONS = 128, 20
NEIGHBOURS = 10
REJECTED = 0.01
"""Share of validation that is above the threshold."""
COMPARED_AT = 0.05
FINAL = "ViM and picture"
ROUNDING = 1e-4
"""A mean distance of features of length 1 from their subspace that may be rounding alone, which differs
between CPUs; of pictures that differ it is far above."""


@dataclass(frozen=True)
class Seen:
    """What is known of n pictures: features (n, F), mean over the views, logits (n, C), pictures (n, P)."""

    features: Float32s
    logits: Float32s
    pictures: Float32s

    @classmethod
    def of(cls, outputs: Outputs, images: npt.NDArray[np.uint8]) -> "Seen":
        """From what the network says of prepared images, uint8 (n, s, s, 3)."""
        assert outputs.features is not None
        return cls(outputs.features, outputs.logits, np.stack([thumbnail(image) for image in images]))

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Seen":
        """Of some of them. chosen: (n,)."""
        return Seen(self.features[chosen], self.logits[chosen], self.pictures[chosen])

    def without_class(self, c: int) -> "Seen":
        """As if the network had no logit of a class."""
        return dataclasses.replace(self, logits=np.delete(self.logits, c, axis=1))


@dataclass(frozen=True)
class OodScore:
    """How well a score parts the other pictures from validation's; near: AUROC of each class, by a score that
    was fitted without it, against the others of validation (the network itself knows all classes).

    false_positive_rate: validation above the threshold that 95 % of the others are above. found: others
    above the threshold that 5 % of validation are above; rejected: the share of each class that is.
    """

    auroc: Estimate
    false_positive_rate: float
    found: float
    rejected: Mapping[str, float]
    near: Mapping[str, float]


def fit_statistics(train: Seen) -> OodStatistics:
    """The subspaces of training pictures, and the median and spread of both distances on them.

    Raises SettingError when the pictures are too much alike to tell a spread.
    """
    feature_mean, feature_basis = _subspace(unit(train.features), FEATURE_DIMENSIONS)
    picture_mean, picture_basis = _subspace(_in_all_turns(train.pictures), PICTURE_DIMENSIONS)
    fitted = (feature_mean, feature_basis, np.float32(1), picture_mean, picture_basis)
    plain = OodStatistics(*fitted, center=np.zeros(2, np.float32), spread=np.ones(2, np.float32))
    residual, energy, picture = plain.parts(train.features, train.logits, train.pictures)
    # As in ViM: the virtual logit is on average as large as the largest of the others.
    centred = train.logits - train.logits.mean(axis=1, keepdims=True)
    alpha = centred.max(axis=1).mean() / max(residual.mean(), ROUNDING)
    both = np.stack([alpha * residual - energy, picture], axis=1)
    center, upper = np.quantile(both, (0.5, 0.9), axis=0).astype(np.float32)
    if not (residual.mean() > ROUNDING and alpha > 0 and (upper > center).all()):
        raise SettingError(
            "training pictures that are all alike: no score for what is out of scope fits them"
        )
    return dataclasses.replace(plain, alpha=np.float32(alpha), center=center, spread=upper - center)


def write_statistics(statistics: OodStatistics, path: Path) -> None:
    """As `edgeskin.decision.ood.read_statistics` reads it."""
    np.savez(path, **{name: np.asarray(value, np.float32) for name, value in vars(statistics).items()})


def compare_scores(
    train: tuple[Seen, Targets],
    val: tuple[Seen, Targets],
    others: Seen,
    lesions: Sequence[str],
    classes: Sequence[str],
) -> dict[str, OodScore]:
    """Each score's figures. train, val: pictures and their class indices. others: out of distribution.

    lesions: of val, what the bootstrap draws, beside each of the others.
    """
    return {name: _figures(fit, train, val, others, lesions, classes) for name, fit in SCORES.items()}


def threshold(statistics: OodStatistics, val: Seen) -> float:
    """Of the score, which REJECTED of validation are above."""
    distances = statistics.distances(val.features, val.logits, val.pictures)
    return float(np.quantile(distances.sum(axis=1), 1 - REJECTED))


Score = Callable[[Seen], Floats]
Fit = Callable[[Seen, Targets], Score]


def _figures(
    fit: Fit,
    train: tuple[Seen, Targets],
    val: tuple[Seen, Targets],
    others: Seen,
    lesions: Sequence[str],
    classes: Sequence[str],
) -> OodScore:
    (seen, targets), (val_seen, val_targets) = train, val
    score = fit(seen, targets)
    inside, outside = score(val_seen), score(others)
    strange = np.arange(len(inside) + len(outside)) >= len(inside)
    weights = bootstrap_weights([*lesions, *(f"other {i}" for i in range(len(outside)))])
    limit = np.quantile(inside, 1 - COMPARED_AT)
    rejected, near = {}, {}
    for c, name in enumerate(classes):
        of_class, known = val_targets == c, targets != c
        if of_class.any():
            rejected[name] = float((inside[of_class] > limit).mean())
        if of_class.any() and known.any() and not known.all():
            others_alone = fit(seen.only(known).without_class(c), targets[known])
            near[name] = float(auroc(of_class, others_alone(val_seen.without_class(c))))
    return OodScore(
        estimate(auroc, strange, np.concatenate([inside, outside]), weights=weights),
        float((inside >= np.quantile(outside, COMPARED_AT)).mean()),
        float((outside > limit).mean()),
        rejected,
        near,
    )


def _energy(train: Seen, targets: Targets) -> Score:
    """Liu et al., NeurIPS 2020."""
    return lambda seen: -logsumexp(seen.logits, axis=1)


def _mahalanobis(train: Seen, targets: Targets) -> Score:
    """Lee et al., NeurIPS 2018: to the nearest class mean, one covariance; within the principal subspace,
    since 1,536 dimensions are too many for a covariance of some thousand pictures.
    """
    mean, basis = _subspace(unit(train.features), FEATURE_DIMENSIONS)
    inside = (unit(train.features) - mean) @ basis
    means = {c: inside[targets == c].mean(axis=0) for c in np.unique(targets)}
    centred = inside - np.stack([means[c] for c in targets])
    covariance = EmpiricalCovariance(assume_centered=True).fit(centred)

    def score(seen: Seen) -> Floats:
        projected = (unit(seen.features) - mean) @ basis
        return np.min([covariance.mahalanobis(projected - of_class) for of_class in means.values()], axis=0)

    return score


def _neighbours(train: Seen, targets: Targets) -> Score:
    """Sun et al., ICML 2022: distance to the NEIGHBOURS-th nearest of the features of length 1."""
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train.features))).fit(unit(train.features))
    return lambda seen: np.asarray(search.kneighbors(unit(seen.features))[0][:, -1])


def _vim(train: Seen, targets: Targets) -> Score:
    """The first distance of `edgeskin.decision.ood`."""
    return _distances(train, slice(0, 1))


def _picture(train: Seen, targets: Targets) -> Score:
    """The second."""
    return _distances(train, slice(1, 2))


def _both(train: Seen, targets: Targets) -> Score:
    return _distances(train, slice(0, 2))


def _distances(train: Seen, which: slice) -> Score:
    statistics = fit_statistics(train)
    return lambda seen: np.asarray(
        statistics.distances(seen.features, seen.logits, seen.pictures)[:, which].sum(axis=1)
    )


SCORES: Mapping[str, Fit] = {
    "energy": _energy,
    "Mahalanobis": _mahalanobis,
    f"{NEIGHBOURS} nearest neighbours": _neighbours,
    "ViM": _vim,
    "picture": _picture,
    FINAL: _both,
}


def _in_all_turns(pictures: Float32s) -> Float32s:
    """So that the subspace, and with it the distance, is the same however a picture is turned. (8 n, P)."""
    square = pictures.reshape(len(pictures), SIDE, SIDE, 3)
    turns = [transform(square, view, (1, 2)) for view in range(DIHEDRAL)]
    return np.concatenate([one.reshape(pictures.shape) for one in turns])


def _subspace(vectors: Float32s, dimensions: int) -> tuple[Float32s, Float32s]:
    """Mean (F,) and first principal directions (F, K) of vectors (n, F); at most half of what there is."""
    kept = max(1, min(dimensions, *(side // 2 for side in vectors.shape)))
    fitted = PCA(kept, svd_solver="randomized", random_state=0).fit(vectors)
    return fitted.mean_.astype(np.float32), np.ascontiguousarray(fitted.components_.T, np.float32)
