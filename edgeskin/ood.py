"""Is it the kind of picture that the network knows? Two distances from the training pictures, added up.

One is ViM of the pooled features (Wang et al., CVPR 2022), which here have length 1: alpha times their
distance from the training features' principal subspace, less the energy, log sum exp of the logits. The
other is the distance of the picture itself, at 16 by 16 pixels, from the subspace of training pictures (as
eigenfaces: Turk & Pentland, 1991). Each is counted from its median over training pictures, in units of how
far the 90 % quantile is from it. `quantize.ood` compares it with other scores.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Floats, read_arrays
from edgeskin.preprocess import Image

OOD = "ood.npz"
SIDE = 16
_SHAPES = {
    "feature_mean": "F", "feature_basis": "FK", "alpha": "", "picture_mean": "P", "picture_basis": "PQ",
    "center": "2", "spread": "2",
}  # fmt: skip
"""What ood.npz holds, for features F, pixels P and subspaces of K and Q dimensions."""


@dataclass(frozen=True)
class Ood:
    """score: features + picture, the two distances; 0 is the median of training. Above the threshold the
    picture is out of scope.
    """

    score: float
    threshold: float
    features: float
    picture: float


@dataclass(frozen=True)
class OodStatistics:
    """feature_mean (F,), feature_basis (F, K), alpha (), of ViM; picture_mean (P,), picture_basis (P, Q), of
    pictures with values 0 to 1; center, spread (2,): of the two distances. Bases have orthonormal columns.
    """

    feature_mean: Floats
    feature_basis: Floats
    alpha: Floats
    picture_mean: Floats
    picture_basis: Floats
    center: Floats
    spread: Floats

    def distances(self, features: Floats, logits: Floats, pictures: Floats) -> npt.NDArray[np.float64]:
        """Both distances, (n, 2). features: (n, F), mean over the views. logits: (n, C). pictures: (n, P)."""
        both = raw_distances(self, features, logits, pictures)
        return np.asarray((both - self.center) / self.spread)


def raw_distances(
    statistics: OodStatistics, features: Floats, logits: Floats, pictures: Floats
) -> npt.NDArray[np.float64]:
    """Before they are counted from the center; see `OodStatistics.distances`."""
    most = logits.max(axis=1)
    energy = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    vim = statistics.alpha * _residual(unit - statistics.feature_mean, statistics.feature_basis) - energy
    picture = _residual(pictures - statistics.picture_mean, statistics.picture_basis)
    return np.stack([vim, picture], axis=1)


def thumbnail(image: Image) -> Floats:
    """A prepared picture as `OodStatistics` takes it: (P,), 0 to 1. image: uint8 RGB (s, s, 3)."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32).reshape(-1) / np.float32(255)


def read_statistics(content: bytes) -> OodStatistics:
    """From a bundle's ood.npz. Raises BundleError when it holds something else."""
    return OodStatistics(**read_arrays(content, OOD, _SHAPES))


def _residual(vectors: Floats, basis: Floats) -> Floats:
    """How far each vector is from the subspace: (n,). vectors: (n, F). basis: (F, K), orthonormal columns."""
    return np.asarray(np.linalg.norm(vectors - (vectors @ basis) @ basis.T, axis=1))
