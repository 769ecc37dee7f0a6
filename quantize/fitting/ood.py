"""Fits the OOD score of `edgeskin.decision.ood`.

The score is fitted on training images alone, as evenly over the classes as they allow. Validation images fix
its threshold.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from edgeskin.arrays import Bools, Float32s
from edgeskin.decision.ood import SIDE, OodStatistics, thumbnail, unit
from edgeskin.errors import SettingError
from edgeskin.imaging.dihedral import DIHEDRAL, transform
from train.evaluate.outputs import Outputs

FEATURE_DIMENSIONS, PICTURE_DIMENSIONS = 128, 20
REJECTED = 0.01
"""Share of validation that the threshold rejects."""
ROUNDING = 1e-4
"""A mean distance of unit-length features from their subspace that may be rounding alone, which differs
between CPUs. Images that differ are far above it."""


@dataclass(frozen=True)
class Activations:
    """What the OOD scores read of n images.

    Attributes:
        features: Pooled features, mean over the views, (n, F).
        logits: Logits, mean over the views, (n, C).
        pictures: Thumbnails of the prepared images, 0 to 1, (n, P).
    """

    features: Float32s
    logits: Float32s
    pictures: Float32s

    @classmethod
    def of(cls, outputs: Outputs, images: npt.NDArray[np.uint8]) -> "Activations":
        """Collect them from a network's outputs, which have features, on prepared images (n, s, s, 3)."""
        assert outputs.features is not None
        return cls(outputs.features, outputs.logits, np.stack([thumbnail(image) for image in images]))

    def only(self, chosen: Bools) -> "Activations":
        """Select images by a mask (n,)."""
        return Activations(self.features[chosen], self.logits[chosen], self.pictures[chosen])

    def without_class(self, c: int) -> "Activations":
        """Drop the logit of a class, as if the network did not know it."""
        return dataclasses.replace(self, logits=np.delete(self.logits, c, axis=1))


def fit_statistics(train: Activations) -> OodStatistics:
    """Fit the subspaces of training images, and the median and spread of both distances.

    The distance of the features is that of ViM (Wang et al., CVPR 2022). Its alpha makes the virtual logit on
    average as large as the largest of the others.

    Raises:
        SettingError: The images are too much alike.
    """
    feature_mean, feature_basis = subspace(unit(train.features), FEATURE_DIMENSIONS)
    picture_mean, picture_basis = subspace(_dihedral(train.pictures), PICTURE_DIMENSIONS)
    raw = OodStatistics(
        feature_mean,
        feature_basis,
        np.ones((), np.float32),
        picture_mean,
        picture_basis,
        center=np.zeros(2, np.float32),
        spread=np.ones(2, np.float32),
    )
    residual, energy, picture = raw.parts(train.features, train.logits, train.pictures)
    centred = train.logits - train.logits.mean(axis=1, keepdims=True)
    alpha = centred.max(axis=1).mean() / max(residual.mean(), ROUNDING)
    distances = np.stack([alpha * residual - energy, picture], axis=1)
    center, upper = np.quantile(distances, (0.5, 0.9), axis=0).astype(np.float32)
    if not (residual.mean() > ROUNDING and alpha > 0 and (upper > center).all()):
        raise SettingError("the training images are all alike, so no OOD score fits them; use other images")
    return dataclasses.replace(raw, alpha=np.asarray(alpha, np.float32), center=center, spread=upper - center)


def fit_threshold(statistics: OodStatistics, val: Activations) -> float:
    """Choose the threshold on the score that REJECTED of validation exceeds."""
    distances = statistics.distances(val.features, val.logits, val.pictures)
    return float(np.quantile(distances.sum(axis=1), 1 - REJECTED))


def write_statistics(statistics: OodStatistics, path: Path) -> None:
    """Write ood.npz, which `edgeskin.decision.ood.read_statistics` reads."""
    np.savez(
        path,
        feature_mean=np.asarray(statistics.feature_mean, np.float32),
        feature_basis=np.asarray(statistics.feature_basis, np.float32),
        alpha=np.asarray(statistics.alpha, np.float32),
        picture_mean=np.asarray(statistics.picture_mean, np.float32),
        picture_basis=np.asarray(statistics.picture_basis, np.float32),
        center=np.asarray(statistics.center, np.float32),
        spread=np.asarray(statistics.spread, np.float32),
    )


def subspace(vectors: Float32s, dimensions: int) -> tuple[Float32s, Float32s]:
    """Fit the principal subspace of vectors by a randomized PCA.

    Args:
        vectors: Vectors, (n, F).
        dimensions: Wanted number of directions; at most half of n and half of F are fitted.

    Returns:
        The mean, (F,), and K orthonormal directions, (F, K).
    """
    count = max(1, min(dimensions, *(side // 2 for side in vectors.shape)))
    fitted = PCA(count, svd_solver="randomized", random_state=0).fit(vectors)
    return fitted.mean_.astype(np.float32), np.ascontiguousarray(fitted.components_.T, np.float32)


def _dihedral(pictures: Float32s) -> Float32s:
    """Add all rotations and reflections, so that the subspace does not depend on them: (n, P) to (8 n, P)."""
    square = pictures.reshape(len(pictures), SIDE, SIDE, 3)
    views = [transform(square, view, (1, 2)) for view in range(DIHEDRAL)]
    return np.concatenate([view.reshape(pictures.shape) for view in views])
