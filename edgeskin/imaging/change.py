"""Two photos of one lesion: aligned, compared in numbers, and what has changed.

A difference means something only if it is larger than those between two photos of an unchanged lesion. A
smaller one does not mean that nothing has changed; ``python -m benchmarks.robustness.repeatability`` measures
how many painted-in changes are found. A photo has no scale, and alignment removes size, so growth is not
measured.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edgeskin.arrays import Float32s, Image, Mask
from edgeskin.errors import EdgeskinError, RegistrationError, SettingError
from edgeskin.imaging.preprocess import resize
from edgeskin.imaging.registration import SIDE, Registration, register, warp_to_first
from edgeskin.imaging.segmentation import segment
from edgeskin.results import Assessment, EqualByValue, to_plain


@dataclass(frozen=True)
class Change:
    """A measure in both photos.

    limit: 95% of pairs of photos of one lesion differ by no more; None where that was not measured, as for
    P(cancer) by another network than that of LIMITS_OF. beyond: whether the difference exceeds it.
    """

    name: str
    before: float
    after: float
    limit: float | None
    beyond: bool | None


@dataclass(frozen=True, eq=False)
class Comparison(EqualByValue):
    """Two photos of one lesion. It says nothing of either photo's risk: act on the higher one.

    changes: of each measure. difference: of colour, with the second photo aligned to the first and the skin's
    own difference removed, in levels of YCrCb, smoothed, float32 (SIDE, SIDE); nan where only one photo is.
    """

    before: Assessment
    after: Assessment
    registration: Registration
    changes: tuple[Change, ...]
    difference: Float32s

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for ``json.dumps``; without pixels."""
        registration = to_plain(self.registration) | {"transform": self.registration.transform.tolist()}
        return {
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "registration": registration,
            "changes": to_plain(self.changes),
            "limits_of": to_plain(LIMITS_OF),
        }


@dataclass(frozen=True)
class LimitsOf:
    """What the limits were measured on: pairs of photos, and the network whose P(cancer) was compared."""

    pairs: int
    sha256: str
    precision: str


LIMITS = {
    "cancer_log_odds": 1.996,
    "asymmetry": 0.1211,
    "border_irregularity": 0.8327,
    "colors": 2.0,
    "largest_color_difference": 42.38,
}
"""95% of pairs of photos of one lesion differ by no more (`benchmarks.robustness.repeatability`)."""
LIMITS_OF = LimitsOf(244, "40eebb15e7d064ab9152ebe75e05f642a0e62ea84ffcae01ec91c9995c491b92", "int8")


def compare_photos(before: Assessment, after: Assessment) -> Comparison:
    """Compare two photos of one lesion, both assessed with ``explain=``, which keeps their pixels.

    Raises:
        RegistrationError: The photos cannot be aligned.
        SettingError: One was assessed without ``explain=``.
        EdgeskinError: One was not assessed (its status says why), or they were assessed by different
        networks.
    """
    for one in (before, after):
        if one.status != "assessed":
            reason = one.error.message if one.error else one.action
            raise EdgeskinError(
                f"{one.image}: not assessed ({one.status}), so not compared: {reason}", "not_assessed"
            )
    if before.model != after.model:
        raise EdgeskinError(
            f"{before.image}, {after.image}: assessed by different networks, so their differences would be "
            "the networks': assess both with one classifier",
            "different_models",
        )
    if before.pixels is None or after.pixels is None:
        raise SettingError(
            f"{before.image}, {after.image}: assess both with explain='grad-cam' to compare them"
        )
    try:
        registration = register(before.pixels.square, after.pixels.square)
    except RegistrationError as error:
        raise RegistrationError(f"{before.image}, {after.image}: {error}") from None
    difference = color_difference(before.pixels.square, after.pixels.square, registration)
    return Comparison(before, after, registration, _changes(before, after, difference), difference)


def color_difference(first: Image, second: Image, registration: Registration) -> Float32s:
    """The colour difference of two squares, uint8 RGB (s, s, 3); see `Comparison`."""
    one = resize(first, SIDE).astype(np.float32)
    warped, covered = warp_to_first(second, registration)
    skin = covered & ~_enlarged(segment(first))
    skin = skin if skin.any() else covered
    # Another lamp or white balance multiplies each channel.
    gain = np.median(one[skin], axis=0) / np.maximum(np.median(warped[skin], axis=0), 1)
    other = np.clip(warped * gain, 0, 255).astype(np.float32)
    distance = cv2.cvtColor(other, cv2.COLOR_RGB2YCrCb) - cv2.cvtColor(one, cv2.COLOR_RGB2YCrCb)
    smooth = cv2.GaussianBlur(np.linalg.norm(distance, axis=2) * covered, (0, 0), SIDE / 64)
    weight = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), SIDE / 64)
    return np.where(covered, smooth / np.maximum(weight, 1e-6), np.nan).astype(np.float32)


def largest_difference(difference: Float32s) -> float:
    """The 99.5 % quantile: focal changes count, a hair or a reflection of a few pixels does not."""
    return float(np.nanquantile(difference, 0.995))


def measures(assessment: Assessment) -> dict[str, float]:
    """What is compared of one photo, on the scales of LIMITS: log odds of cancer, and descriptors if any."""
    p = assessment.cancer_probability
    assert p is not None
    kept = min(max(p, 1e-9), 1 - 1e-9)
    values = {"cancer_log_odds": float(np.log(kept / (1 - kept)))}
    descriptors = assessment.descriptors
    if descriptors is not None:
        values |= {
            "asymmetry": float(np.mean(descriptors.asymmetry)),
            "border_irregularity": descriptors.border_irregularity,
            "colors": float(len(descriptors.colors)),
        }
    return values


def _changes(before: Assessment, after: Assessment, difference: Float32s) -> tuple[Change, ...]:
    first, second = measures(before), measures(after)
    pairs = {name: (first[name], second[name]) for name in first if name in second}
    pairs["largest_color_difference"] = (0.0, largest_difference(difference))
    is_measured = (before.model.sha256, before.model.precision) == (LIMITS_OF.sha256, LIMITS_OF.precision)
    changes = []
    for name, (one, other) in pairs.items():
        limit = LIMITS[name] if is_measured or name != "cancer_log_odds" else None
        changes.append(Change(name, one, other, limit, None if limit is None else abs(other - one) > limit))
    return tuple(changes)


def _enlarged(mask: Mask) -> Mask:
    large = cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large > 0)
