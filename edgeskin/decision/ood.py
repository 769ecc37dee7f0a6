"""Out-of-distribution detection: the distance of a picture from the training pictures, in two parts.

The first is ViM of the pooled features (Wang et al., CVPR 2022), which here are averaged over the views and
of length 1: alpha times their distance from the principal subspace of the training features, minus the
energy, log sum exp of the logits (centred, since a softmax ignores an offset). The second is the distance of
the picture itself, at 16 by 16 pixels, from the subspace of training pictures in all eight dihedral views, so
turning it changes nothing (as eigenfaces: Turk & Pentland, 1991). Each is measured from its median over
training pictures, in units of the distance between that median and the 90% quantile. `quantize.fitting.ood`
fits both and compares them with other scores.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from edgeskin.arrays import Float32s, Float64s, Image, read_arrays
from edgeskin.bundle.manifest import OOD
from edgeskin.errors import BundleError
from edgeskin.network.engine import NetworkOutputs
from edgeskin.results import Ood

SIDE = 16
_SHAPES = {
    "feature_mean": "F", "feature_basis": "FK", "alpha": "", "picture_mean": "P", "picture_basis": "PQ",
    "center": "2", "spread": "2",
}  # fmt: skip
"""Arrays of ood.npz, for F features, P pixels and subspaces of K and Q dimensions."""


@dataclass(frozen=True)
class OodStatistics:
    """What both distances are measured from. Bases have orthonormal columns.

    Attributes:
        feature_mean: (F,), of unit features.
        feature_basis: (F, K), of their principal subspace.
        alpha: Scale of the ViM residual, above 0.
        picture_mean: (P,), of pictures with values 0 to 1.
        picture_basis: (P, Q), of their principal subspace.
        center: (2,), the median of each distance on training pictures.
        spread: (2,), the distance from there to the 90% quantile.
    """

    feature_mean: Float32s
    feature_basis: Float32s
    alpha: Float32s
    picture_mean: Float32s
    picture_basis: Float32s
    center: Float32s
    spread: Float32s

    def distances(self, features: Float32s, logits: Float32s, pictures: Float32s) -> Float64s:
        """Both distances, (n, 2), of features (n, F) and logits (n, C), view means, and pictures (n, P)."""
        residual, energy, picture = self.parts(features, logits, pictures)
        both = np.stack([self.alpha * residual - energy, picture], axis=1)
        return np.asarray((both - self.center) / self.spread)

    def parts(
        self, features: Float32s, logits: Float32s, pictures: Float32s
    ) -> tuple[Float32s, Float32s, Float32s]:
        """Their parts, each (n,): the residual of the features, the energy, the residual of the picture."""
        centred = logits - logits.mean(axis=1, keepdims=True)
        most = centred.max(axis=1)
        energy = most + np.log(np.exp(centred - most[:, None]).sum(axis=1))
        residual = _residual(unit(features) - self.feature_mean, self.feature_basis)
        return residual, energy, _residual(pictures - self.picture_mean, self.picture_basis)

    def of_image(self, outputs: NetworkOutputs, image: Image) -> Float64s:
        """Both distances of one picture, (2,). image: as the network saw it, uint8 RGB (s, s, 3)."""
        return np.asarray(self.distances(outputs.features, outputs.logits, thumbnail(image)[None])[0])

    def score(self, outputs: NetworkOutputs, image: Image, threshold: float) -> Ood:
        """The distances of one picture beside the threshold above which it is out of scope."""
        of_features, of_picture = self.of_image(outputs, image).tolist()
        return Ood(of_features + of_picture, threshold, of_features, of_picture)


def unit(features: Float32s) -> Float32s:
    """Features (n, F) scaled to length 1; those all 0 stay, those of infinite length are NaN."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    length = np.where(np.isfinite(length), length, np.float32(np.nan))
    return np.asarray(features / np.where(length == 0, 1, length))


def thumbnail(image: Image) -> Float32s:
    """The network's input, uint8 RGB (s, s, 3), as `OodStatistics` takes it: (P,), 0 to 1."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32).reshape(-1) / np.float32(255)


def read_statistics(content: bytes) -> OodStatistics:
    """Statistics from the bytes of a bundle's ood.npz. Raises BundleError when it holds something else."""
    statistics = OodStatistics(**read_arrays(content, OOD, _SHAPES))
    if len(statistics.picture_mean) != 3 * SIDE**2:
        raise BundleError(f"{OOD}: its pictures are not {SIDE} pixels a side; pack the bundle anew")
    if not (statistics.alpha > 0 and (statistics.spread > 0).all()):
        raise BundleError(f"{OOD}: alpha and spread must be above 0; pack the bundle anew")
    return statistics


def _residual(vectors: Float32s, basis: Float32s) -> Float32s:
    """Distance of vectors (n, F) from the subspace of a basis (F, K) with orthonormal columns: (n,)."""
    return np.asarray(np.linalg.norm(vectors - (vectors @ basis) @ basis.T, axis=1))
