"""Is it the kind of picture that the network knows? Two distances from the training pictures, added up.

One is ViM of the pooled features (Wang et al., CVPR 2022), which here are the mean over the views, of
length 1: alpha times their distance from the training features' principal subspace, less the energy, log
sum exp of the logits (counted from their mean, since a softmax knows no offset). The other is the distance
of the picture itself, at 16 by 16 pixels, from the subspace of training pictures in all eight turns, so
that turning it changes nothing (as eigenfaces: Turk & Pentland, 1991). Each is counted from its median over
training pictures, in units of how far the 90 % quantile is from it. `quantize.fitting.ood` fits it and compares it
with other scores.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Float32s as Floats
from edgeskin.arrays import Image, read_arrays
from edgeskin.bundle.bundle import OOD
from edgeskin.errors import BundleError
from edgeskin.network.engine import Outputs

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
        residual, energy, picture = self.parts(features, logits, pictures)
        both = np.stack([self.alpha * residual - energy, picture], axis=1)
        return np.asarray((both - self.center) / self.spread)

    def parts(self, features: Floats, logits: Floats, pictures: Floats) -> tuple[Floats, Floats, Floats]:
        """What they are made of, each (n,): the features' residual, the energy, the picture's residual."""
        centred = logits - logits.mean(axis=1, keepdims=True)
        most = centred.max(axis=1)
        energy = most + np.log(np.exp(centred - most[:, None]).sum(axis=1))
        residual = _residual(unit(features) - self.feature_mean, self.feature_basis)
        return residual, energy, _residual(pictures - self.picture_mean, self.picture_basis)

    def of_image(self, outputs: Outputs, image: Image) -> npt.NDArray[np.float64]:
        """Both distances of one picture, (2,). image: prepared, uint8 RGB (s, s, 3)."""
        features = outputs.features.mean(axis=0, keepdims=True)
        return np.asarray(self.distances(features, outputs.logits[None], thumbnail(image)[None])[0])


def unit(features: Floats) -> Floats:
    """Scaled to length 1, but for those that are all 0. features: (n, F)."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(length > 0, length, 1))


def thumbnail(image: Image) -> Floats:
    """A prepared picture as `OodStatistics` takes it: (P,), 0 to 1. image: uint8 RGB (s, s, 3)."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32).reshape(-1) / np.float32(255)


def read_statistics(content: bytes) -> OodStatistics:
    """From a bundle's ood.npz. Raises BundleError when it holds something else."""
    statistics = OodStatistics(**read_arrays(content, OOD, _SHAPES))
    if len(statistics.picture_mean) != 3 * SIDE**2:
        raise BundleError(f"{OOD}: of pictures of another size than {SIDE} pixels; pack the bundle anew")
    if not (statistics.alpha > 0 and (statistics.spread > 0).all()):
        raise BundleError(f"{OOD}: alpha and spread must be above 0; pack the bundle anew")
    return statistics


def _residual(vectors: Floats, basis: Floats) -> Floats:
    """How far each vector is from the subspace: (n,). vectors: (n, F). basis: (F, K), orthonormal columns."""
    return np.asarray(np.linalg.norm(vectors - (vectors @ basis) @ basis.T, axis=1))
