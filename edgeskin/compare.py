"""Two photos of one lesion: laid on each other, side by side in numbers, and what has changed.

A difference means something only when it is larger than those between two photos of a lesion that did not
change. There is no scale in a photo, and laying one on the other takes size out: nothing here tells growth.
"""

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from edgeskin.arrays import Floats
from edgeskin.errors import EdgeskinError
from edgeskin.examination import Examination
from edgeskin.lesion import Mask, segment
from edgeskin.preprocess import Image, resize
from edgeskin.registration import SIDE, Registration, RegistrationError, laid_on, register


@dataclass(frozen=True)
class Change:
    """A measure in both photos. limit: 95 % of pairs of photos of one lesion differ by no more, taken on the
    scale that `beyond` was judged on; None where that was not measured.
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
    """

    before: Examination
    after: Examination
    registration: Registration
    changes: tuple[Change, ...]
    difference: Floats

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for ``json.dumps``; without the pixels."""
        registration = asdict(self.registration) | {"transform": self.registration.transform.tolist()}
        return {
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "registration": registration,
            "changes": [asdict(change) for change in self.changes],
            "limits_of": LIMITS_OF,
        }


LIMITS = {
    "cancer_log_odds": 2.291,
    "asymmetry": 0.1546,
    "border_irregularity": 0.9416,
    "colors": 2.0,
    "color_difference": 16.07,
}
"""By which 95 % of pairs of photos of one lesion differ at most (`python -m benchmarks.repeatability`)."""
LIMITS_OF = "314 pairs of validation, edgeskin-b3-224 0.5.0 int8"


def compare(before: Examination, after: Examination) -> Comparison:
    """Lay the second on the first and tell what differs.

    Raises RegistrationError when they cannot be laid on each other, EdgeskinError when one was not assessed.
    """
    for found in (before, after):
        if found.assessment.status != "assessed":
            raise EdgeskinError(
                f"{found.assessment.image}: not assessed ({found.assessment.status}), so not compared: "
                f"{found.assessment.action}"
            )
    assert before.square is not None
    assert after.square is not None
    try:
        registration = register(before.square, after.square)
    except RegistrationError as error:
        raise RegistrationError(f"{before.assessment.image}, {after.assessment.image}: {error}") from None
    difference = color_difference(before.square, after.square, registration)
    return Comparison(before, after, registration, _changes(before, after, difference), difference)


def color_difference(first: Image, second: Image, registration: Registration) -> Floats:
    """See Comparison.difference."""
    one = resize(first, SIDE)
    other, covered = laid_on(second, registration)
    skin = covered & ~_enlarged(segment(first))
    colors, others = (cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float32) for image in (one, other))
    away = others - colors
    # Another lamp or white balance moves all colours alike.
    away -= np.median(away[skin if skin.any() else covered], axis=0)
    smooth = cv2.GaussianBlur(np.linalg.norm(away, axis=2) * covered, (0, 0), SIDE / 64)
    weight = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), SIDE / 64)
    return np.where(covered, smooth / np.maximum(weight, 1e-6), np.nan).astype(np.float32)


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


def _changes(before: Examination, after: Examination, difference: Floats) -> tuple[Change, ...]:
    first, second = measures(before), measures(after)
    pairs = {name: (first[name], second[name]) for name in first if name in second}
    pairs["color_difference"] = (0.0, float(np.nanmean(difference)))
    changes = []
    for name, (one, other) in pairs.items():
        limit = LIMITS.get(name)
        changes.append(Change(name, one, other, limit, None if limit is None else abs(other - one) > limit))
    return tuple(changes)


def _enlarged(mask: Mask) -> Mask:
    large = cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large > 0)
