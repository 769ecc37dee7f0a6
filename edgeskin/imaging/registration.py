"""Laying one photo of a lesion on another, and refusing where they do not fit."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Float32s, Image, Mask
from edgeskin.errors import RegistrationError
from edgeskin.imaging.preprocess import resize
from edgeskin.imaging.segmentation import segment

SIDE = 256
"""Pixels a side at which photos are laid on each other."""
LEAST_CORRELATION = 0.6
"""Of two photos' fine structure, from which on they are taken for one lesion; chosen on training pairs."""
LEAST_OVERLAP = 0.3
SCALES = (0.4, 2.5)
"""How much larger or smaller the lesion may be in the second photo, and how much wider than high."""
STRETCH = 1.35

Transform = Float32s


@dataclass(frozen=True)
class Registration:
    """transform: (2, 3), from a point (x, y) of the first square at SIDE pixels to the second's.

    correlation: of their structure where both are, -1 to 1. overlap: share of the first square that the
    second covers, 0 to 1.
    """

    transform: Transform
    correlation: float
    overlap: float


def register(first: Image, second: Image) -> Registration:
    """Lay the second square, uint8 RGB (s, s, 3), on the first.

    Starts as they lie, from matching features (SIFT, Lowe 2004, by RANSAC) and from the lesions' masks, each
    as it is and refined by the enhanced correlation coefficient (Evangelidis & Psarakis, TPAMI 2008); the one
    under which their fine structure correlates most is taken. Raises RegistrationError when that is less than
    LEAST_CORRELATION.
    """
    gray, other = (
        np.asarray(cv2.cvtColor(resize(square, SIDE), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        for square in (first, second)
    )
    as_they_lie = np.eye(2, 3, dtype=np.float32)
    starts = [as_they_lie, *_by_features(gray, other), *_by_masks(segment(first), segment(second))]
    transforms = [one for start in starts for one in (start, *_refined(gray, other, start))]
    tried = [_judge(gray, other, transform) for transform in transforms if _plausible(transform)]
    best = max(tried, key=lambda one: one.correlation)
    if best.correlation < LEAST_CORRELATION:
        raise RegistrationError(
            f"these cannot be laid on each other (correlation {best.correlation:.2f}, {LEAST_CORRELATION} "
            "needed): not one lesion, taken too differently, or the lesion has changed much. A refusal says "
            "nothing about change; have it examined"
        )
    return best


def laid_on(second: Image, registration: Registration) -> tuple[Image, Mask]:
    """The second square as the first lies, uint8 RGB (SIDE, SIDE, 3), and where it is, (SIDE, SIDE)."""
    image = _warped(resize(second, SIDE), registration.transform, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    return np.asarray(image, dtype=np.uint8), _covered(registration.transform)


def _by_features(first: Image, second: Image) -> list[Transform]:
    """The similarity that most matching features agree on, or none."""
    sift = cv2.SIFT.create(nfeatures=800, contrastThreshold=0.015)
    even = cv2.createCLAHE(3, (8, 8))
    (points, descriptors), (others, other_descriptors) = (
        sift.detectAndCompute(even.apply(gray), None) for gray in (first, second)
    )
    if min(len(points), len(others)) < 4:
        return []
    pairs = cv2.BFMatcher().knnMatch(descriptors, other_descriptors, k=2)
    # Lowe's ratio test.
    matches = [pair[0] for pair in pairs if pair[0].distance < 0.85 * pair[1].distance]
    if len(matches) < 4:
        return []
    sides = (
        np.array([points[match.queryIdx].pt for match in matches], np.float32),
        np.array([others[match.trainIdx].pt for match in matches], np.float32),
    )
    transform, _ = cv2.estimateAffinePartial2D(
        *sides, method=cv2.RANSAC, ransacReprojThreshold=4, maxIters=3000
    )
    return [] if transform is None else [np.asarray(transform, dtype=np.float32)]


def _by_masks(first: Mask, second: Mask) -> list[Transform]:
    """The scale and shift that bring the lesions' areas and centres together, or none without lesions."""
    if not (first.any() and second.any()):
        return []
    scale = float(np.sqrt(second.sum() / first.sum()))
    center, other = (
        (np.array(np.nonzero(mask))[::-1].mean(axis=1) + 0.5) * (SIDE / len(mask)) - 0.5
        for mask in (first, second)
    )
    shift = other - scale * center
    return [np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)]


def _refined(gray: Image, other: Image, start: Transform) -> list[Transform]:
    first, second = (cv2.GaussianBlur(one.astype(np.float32), (0, 0), 2) for one in (gray, other))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
    try:
        _, transform = cv2.findTransformECC(first, second, start.copy(), cv2.MOTION_AFFINE, stop)
    except cv2.error:  # it does not converge from here
        return []
    return [np.asarray(transform, dtype=np.float32)]


def _plausible(transform: Transform) -> bool:
    """Not mirrored, and neither scaled nor stretched more than a camera held by hand does."""
    large, small = np.linalg.svd(transform[:, :2])[1]
    within = SCALES[0] <= small and large <= SCALES[1] and large <= STRETCH * small
    return bool(within and np.linalg.det(transform[:, :2]) > 0)


def _judge(gray: Image, other: Image, transform: Transform) -> Registration:
    # Any two lesions are dark in the middle; only what is finer tells one from another.
    first, second = (
        cv2.GaussianBlur(one, (0, 0), 1.5) - cv2.GaussianBlur(one, (0, 0), 12)
        for one in (gray.astype(np.float32), other.astype(np.float32))
    )
    covered = _covered(transform)
    overlap = float(covered.mean())
    if overlap < LEAST_OVERLAP:
        return Registration(transform, -1.0, overlap)
    both = np.stack([first[covered], _warped(second, transform, cv2.INTER_LINEAR)[covered]])
    both -= both.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(both, axis=1)
    correlation = float(both[0] @ both[1] / norms.prod()) if norms.all() else 0.0
    return Registration(transform, correlation, overlap)


def _covered(transform: Transform) -> Mask:
    return _warped(np.ones((SIDE, SIDE), np.uint8), transform, cv2.INTER_NEAREST) > 0


def _warped(
    image: npt.NDArray[Any], transform: Transform, method: int, border: int = cv2.BORDER_CONSTANT
) -> npt.NDArray[Any]:
    flags = method | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, transform, (SIDE, SIDE), flags=flags, borderMode=border))
