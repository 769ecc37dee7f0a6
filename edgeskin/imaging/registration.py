"""Registration: the affine transform that aligns a second photo of a lesion with the first."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Float32s, Image, Mask
from edgeskin.errors import RegistrationError
from edgeskin.imaging.preprocess import resize
from edgeskin.imaging.segmentation import segment
from edgeskin.results import EqualByValue

SIDE = 256
"""Side at which photos are aligned, pixels."""
LEAST_CORRELATION = 0.6
"""Smallest correlation of fine structure between photos of one lesion; chosen on training pairs."""
LEAST_OVERLAP = 0.3
"""Smallest share of the first photo that the second must cover."""
SCALES = (0.4, 2.5)
"""Smallest and largest size of the second photo's lesion relative to the first's."""
STRETCH = 1.35
"""Largest ratio between the scales of two directions."""

Affine = Float32s
"""An affine transform (2, 3) of points (x, y), in pixels of a square at SIDE."""


@dataclass(frozen=True, eq=False)
class Registration(EqualByValue):
    """How the second photo aligns with the first.

    Attributes:
        transform: (2, 3), from a point (x, y) of the first square at SIDE pixels to the second's.
        correlation: Correlation of their fine structure where they overlap, -1 to 1.
        overlap: Share of the first square that the second covers, 0 to 1.
    """

    transform: Affine
    correlation: float
    overlap: float


def register(first: Image, second: Image) -> Registration:
    """Find the transform that aligns the second square with the first.

    Candidates are the identity, a match of local features (SIFT, Lowe 2004, with RANSAC) and a match of the
    lesions' masks, each as it is and refined by maximising the enhanced correlation coefficient (Evangelidis
    & Psarakis, TPAMI 2008). The candidate with the highest correlation of fine structure wins.

    Args:
        first: uint8 RGB (s, s, 3).
        second: uint8 RGB of any size, square.

    Raises:
        RegistrationError: The highest correlation is below LEAST_CORRELATION.
    """
    gray, other = (
        np.asarray(cv2.cvtColor(resize(square, SIDE), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        for square in (first, second)
    )
    identity = np.eye(2, 3, dtype=np.float32)
    starts = [identity, *_match_features(gray, other), *_match_masks(segment(first), segment(second))]
    candidates = [one for start in starts for one in (start, *_refine(gray, other, start))]
    scored = [_score_alignment(gray, other, one) for one in candidates if is_plausible(one)]
    best = max(scored, key=lambda registration: registration.correlation)
    if best.correlation < LEAST_CORRELATION:
        raise RegistrationError(
            f"the photos cannot be aligned: their correlation is {best.correlation:.2f}, and "
            f"{LEAST_CORRELATION} is needed. They show different lesions, were taken too differently, or the "
            "lesion has changed much. This does not mean that nothing has changed: have the lesion examined"
        )
    return best


def warp_to_first(second: Image, registration: Registration) -> tuple[Image, Mask]:
    """Warp the second square into the frame of the first.

    Returns:
        The warped picture, uint8 RGB (SIDE, SIDE, 3), and the mask (SIDE, SIDE) of the pixels it covers.
        Outside the mask, the picture repeats its edge.
    """
    image = _warp(resize(second, SIDE), registration.transform, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    return np.asarray(image, dtype=np.uint8), _covered(registration.transform)


def is_plausible(transform: Affine) -> bool:
    """Return whether a hand-held camera could cause a transform: no reflection, limited scale and stretch."""
    large, small = np.linalg.svd(transform[:, :2])[1]
    within = SCALES[0] <= small and large <= SCALES[1] and large <= STRETCH * small
    return bool(within and np.linalg.det(transform[:, :2]) > 0)


def _match_features(first: Image, second: Image) -> list[Affine]:
    """Return the similarity transform that most SIFT matches of two grey pictures agree on, if any."""
    sift = cv2.SIFT.create(nfeatures=800, contrastThreshold=0.015)
    equalizer = cv2.createCLAHE(3, (8, 8))
    (points, descriptors), (other_points, other_descriptors) = (
        sift.detectAndCompute(equalizer.apply(gray), None) for gray in (first, second)
    )
    if min(len(points), len(other_points)) < 4:
        return []
    pairs = cv2.BFMatcher().knnMatch(descriptors, other_descriptors, k=2)
    # Lowe's ratio test.
    matches = [pair[0] for pair in pairs if pair[0].distance < 0.85 * pair[1].distance]
    if len(matches) < 4:
        return []
    matched = (
        np.array([points[match.queryIdx].pt for match in matches], np.float32),
        np.array([other_points[match.trainIdx].pt for match in matches], np.float32),
    )
    transform, _ = cv2.estimateAffinePartial2D(
        *matched, method=cv2.RANSAC, ransacReprojThreshold=4, maxIters=3000
    )
    return [] if transform is None else [np.asarray(transform, dtype=np.float32)]


def _match_masks(first: Mask, second: Mask) -> list[Affine]:
    """Return the scale and shift that match the masks' areas and centres, if both have a lesion."""
    if not (first.any() and second.any()):
        return []
    scale = float(np.sqrt(second.sum() / first.sum()))
    center, other = (
        (np.array(np.nonzero(mask))[::-1].mean(axis=1) + 0.5) * (SIDE / len(mask)) - 0.5
        for mask in (first, second)
    )
    shift = other - scale * center
    return [np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)]


def _refine(gray: Image, other: Image, start: Affine) -> list[Affine]:
    """Return the transform near ``start`` that maximises the enhanced correlation, if it converges."""
    first, second = (cv2.GaussianBlur(one.astype(np.float32), (0, 0), 2) for one in (gray, other))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
    try:
        _, transform = cv2.findTransformECC(first, second, start.copy(), cv2.MOTION_AFFINE, stop)
    except cv2.error:  # no convergence from this start
        return []
    return [np.asarray(transform, dtype=np.float32)]


def _score_alignment(gray: Image, other: Image, transform: Affine) -> Registration:
    """Measure overlap and correlation under a transform; the correlation is -1 if they overlap too little."""
    # Every lesion is dark in the middle, so only finer structure tells lesions apart: a band-pass filter.
    first, second = (
        cv2.GaussianBlur(one, (0, 0), 1.5) - cv2.GaussianBlur(one, (0, 0), 12)
        for one in (gray.astype(np.float32), other.astype(np.float32))
    )
    covered = _covered(transform)
    overlap = float(covered.mean())
    if overlap < LEAST_OVERLAP:
        return Registration(transform, -1.0, overlap)
    both = np.stack([first[covered], _warp(second, transform, cv2.INTER_LINEAR)[covered]])
    both -= both.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(both, axis=1)
    correlation = float(both[0] @ both[1] / norms.prod()) if norms.all() else 0.0
    return Registration(transform, correlation, overlap)


def _covered(transform: Affine) -> Mask:
    """Return the pixels of the first square that the second covers: (SIDE, SIDE)."""
    return _warp(np.ones((SIDE, SIDE), np.uint8), transform, cv2.INTER_NEAREST) > 0


def _warp(
    image: npt.NDArray[Any], transform: Affine, method: int, border: int = cv2.BORDER_CONSTANT
) -> npt.NDArray[Any]:
    """Warp the second square (SIDE, SIDE, ...) by a transform from the first to the second."""
    flags = method | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, transform, (SIDE, SIDE), flags=flags, borderMode=border))
