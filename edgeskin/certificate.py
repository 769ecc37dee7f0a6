"""What a threshold on P(cancer) promises about cancers not seen yet, from the lesions it was chosen on.

A threshold of so many misses among n lesions is certified for a sensitivity s with confidence 1 - d when so
few misses would be that rare or rarer at s: P(Binomial(n, 1 - s) <= misses) <= d (Clopper & Pearson,
Biometrika 26, 1934). Raising the threshold lesion by lesion as long as that holds is fixed-sequence testing,
so the choice costs no correction (Learn then Test: Angelopoulos et al., Ann. Appl. Stat. 19, 2025). It holds
for lesions drawn as those were, one score a lesion; not for another camera, clinic or population.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeskin.errors import SettingError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Certificate:
    """sensitivity: at least that of new lesions are found, 0 to 1, with the confidence, 0 to 1.

    missed: of the cancer lesions that the threshold was chosen on.
    """

    sensitivity: float
    confidence: float
    lesions: int
    missed: int


def allowed_misses(lesions: int, sensitivity: float, confidence: float = CONFIDENCE) -> int:
    """The most misses among so many lesions that still certify a sensitivity; -1 when not even none does."""
    chance = 0.0
    for misses in range(lesions):
        chance += _exactly(misses, lesions, 1 - sensitivity)
        if chance > 1 - confidence:
            return misses - 1
    return lesions - 1


def certify(lesions: int, missed: int, confidence: float = CONFIDENCE) -> Certificate:
    """The highest sensitivity that so few misses certify; 0 when every lesion, or none at all, was missed."""
    low, high = 0.0, 1.0
    # Halved to the last bit; low always is certified.
    while lesions > missed and low < (middle := (low + high) / 2) < high:
        if _at_most(missed, lesions, 1 - middle) <= 1 - confidence:
            low = middle
        else:
            high = middle
    return Certificate(low, confidence, lesions, missed)


def certified_threshold(scores: Sequence[float], sensitivity: float) -> tuple[float, Certificate]:
    """The highest threshold that certifies the sensitivity, and what it certifies.

    scores: P(cancer) of each cancer lesion. sensitivity: above 0 and below 1. Raises SettingError for another
    one, or for one that so few lesions cannot certify, with the highest that they can.
    """
    if not 0 < sensitivity < 1:
        raise SettingError(f"sensitivity {sensitivity!r}: choose above 0 and below 1")
    missed = allowed_misses(len(scores), sensitivity)
    if missed < 0:
        most = certify(len(scores), 0).sensitivity
        raise SettingError(
            f"sensitivity {sensitivity}: {len(scores)} cancer lesions certify "
            f"{math.floor(1e3 * most) / 1e3} at most, with none of them missed; choose that or less, or "
            "calibrate on more"
        )
    threshold = sorted(scores)[missed]
    # Lesions of equal scores are found together.
    return threshold, certify(len(scores), sum(score < threshold for score in scores))


def _at_most(misses: int, lesions: int, rate: float) -> float:
    """P(Binomial(lesions, rate) <= misses)."""
    return math.fsum(_exactly(k, lesions, rate) for k in range(misses + 1))


def _exactly(k: int, n: int, rate: float) -> float:
    """P(Binomial(n, rate) = k), by logarithms, as the coefficients would overflow. rate: above 0, below 1."""
    chosen = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(chosen + k * math.log(rate) + (n - k) * math.log1p(-rate))
