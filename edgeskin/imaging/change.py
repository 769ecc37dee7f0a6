"""Two photos of one lesion: laid on each other, side by side in numbers, and what has changed.

A difference means something only when it is larger than those between two photos of a lesion that did not
change; a smaller one does not mean that nothing has changed (`python -m benchmarks.robustness.repeatability` measures
how much of what was painted in is found). There is no scale in a photo, and laying one on the other takes
size out: nothing here tells growth.
"""

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from edgeskin.arrays import Float32s, Image, Mask
from edgeskin.errors import EdgeskinError, RegistrationError
from edgeskin.examination import Examination
from edgeskin.imaging.preprocess import resize
from edgeskin.imaging.registration import SIDE, Registration, register, warp_to_first
from edgeskin.imaging.segmentation import segment


@dataclass(frozen=True)
class Change:
    """A measure in both photos. limit: 95 % of pairs of photos of one lesion differ by no more; None where
    that was not measured, as for P(cancer) by another bundle or precision than that of LIMITS_OF.
    """

    name: str
    before: float
    after: float
    limit: float | None
    beyond: bool | None


@dataclass(frozen=True)
class Comparison:
    """changes: of each measure. difference: of colour, the second laid on the first, in levels of YCrCb after
    the skin's own difference is taken out, smoothed, (SIDE, SIDE); nan where only one photo is.

    A comparison says nothing of either photo's risk: act on the higher one.
    """

    before: Examination
    after: Examination
    registration: Registration
    changes: tuple[Change, ...]
    difference: Float32s

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for ``json.dumps``; without the pixels."""
        registration = asdict(self.registration) | {"transform": self.registration.transform.tolist()}
        return {
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "registration": registration,
            "changes": [asdict(change) for change in self.changes],
            "limits_of": asdict(LIMITS_OF),
        }


@dataclass(frozen=True)
class LimitsOf:
    """What limits were measured on: pairs of photos, and the network whose P(cancer) it was."""

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
"""By which 95 % of pairs of photos of one lesion differ at most (`python -m benchmarks.robustness.repeatability`)."""
LIMITS_OF = LimitsOf(244, "40eebb15e7d064ab9152ebe75e05f642a0e62ea84ffcae01ec91c9995c491b92", "int8")


def compare(before: Examination, after: Examination) -> Comparison:
    """Lay the second on the first and tell what differs.

    Raises RegistrationError when they cannot be laid on each other, EdgeskinError when one was not assessed
    or they were assessed by different networks.
    """
    for found in (before, after):
        if found.assessment.status != "assessed":
            raise EdgeskinError(
                f"{found.assessment.image}: not assessed ({found.assessment.status}), so not compared: "
                f"{found.assessment.action}"
            )
    if before.assessment.model != after.assessment.model:
        raise EdgeskinError(
            f"{before.assessment.image}, {after.assessment.image}: assessed by different networks, so their "
            "differences would be the networks': assess both with one classifier"
        )
    assert before.square is not None
    assert after.square is not None
    try:
        registration = register(before.square, after.square)
    except RegistrationError as error:
        raise RegistrationError(f"{before.assessment.image}, {after.assessment.image}: {error}") from None
    difference = color_difference(before.square, after.square, registration)
    return Comparison(before, after, registration, _changes(before, after, difference), difference)


def color_difference(first: Image, second: Image, registration: Registration) -> Float32s:
    """See Comparison.difference."""
    one = resize(first, SIDE).astype(np.float32)
    laid, covered = warp_to_first(second, registration)
    skin = covered & ~_enlarged(segment(first))
    skin = skin if skin.any() else covered
    # Another lamp or white balance multiplies each channel.
    gain = np.median(one[skin], axis=0) / np.maximum(np.median(laid[skin], axis=0), 1)
    other = np.clip(laid * gain, 0, 255).astype(np.float32)
    away = cv2.cvtColor(other, cv2.COLOR_RGB2YCrCb) - cv2.cvtColor(one, cv2.COLOR_RGB2YCrCb)
    smooth = cv2.GaussianBlur(np.linalg.norm(away, axis=2) * covered, (0, 0), SIDE / 64)
    weight = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), SIDE / 64)
    return np.where(covered, smooth / np.maximum(weight, 1e-6), np.nan).astype(np.float32)


def largest_difference(difference: Float32s) -> float:
    """The 99.5 % quantile: focal changes count, a hair or a reflection of a few pixels does not."""
    return float(np.nanquantile(difference, 0.995))


def measures(found: Examination) -> dict[str, float]:
    """What is compared of one photo, on the scales that their limits are of: log odds of cancer; descriptors,
    where a lesion stands out.
    """
    p = found.assessment.cancer_probability
    assert p is not None
    kept = min(max(p, 1e-9), 1 - 1e-9)
    values = {"cancer_log_odds": float(np.log(kept / (1 - kept)))}
    looks = found.descriptors
    if looks is not None:
        values |= {
            "asymmetry": float(np.mean(looks.asymmetry)),
            "border_irregularity": looks.border_irregularity,
            "colors": float(len(looks.colors)),
        }
    return values


def _changes(before: Examination, after: Examination, difference: Float32s) -> tuple[Change, ...]:
    first, second = measures(before), measures(after)
    pairs = {name: (first[name], second[name]) for name in first if name in second}
    pairs["largest_color_difference"] = (0.0, largest_difference(difference))
    model = before.assessment.model
    measured = (model.sha256, model.precision) == (LIMITS_OF.sha256, LIMITS_OF.precision)
    changes = []
    for name, (one, other) in pairs.items():
        limit = LIMITS[name] if measured or name != "cancer_log_odds" else None
        changes.append(Change(name, one, other, limit, None if limit is None else abs(other - one) > limit))
    return tuple(changes)


def _enlarged(mask: Mask) -> Mask:
    large = cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large > 0)
