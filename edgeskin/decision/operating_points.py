"""What a threshold on P(cancer) promises about cancers not seen yet, from the lesions it was chosen on.

A threshold of so many misses among n lesions is certified for a sensitivity s with confidence 1 - d when so
few misses would be that rare or rarer at s: P(Binomial(n, 1 - s) <= misses) <= d (Clopper & Pearson,
Biometrika 26, 1934). The number of misses follows from n, s and d before any score is seen, so that the
threshold is an order statistic and the choice costs no correction (Wilks, Ann. Math. Stat. 12, 1941; what
Learn then Test, Angelopoulos et al., 2025, gives for one monotone risk). It holds for lesions drawn as those
were, one score a lesion, by a rule that had not seen them; not for another camera, clinic or population.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeskin.errors import SettingError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Certificate:
    """sensitivity: at least that of new lesions are found, 0 to 1, with the confidence, 0 to 1.

    missed: allowed among the cancer lesions that the threshold was chosen on. Raises ValueError when a number
    is out of range.
    """

    sensitivity: float
    confidence: float
    lesions: int
    missed: int

    def __post_init__(self) -> None:
        if not (
            0 <= self.sensitivity <= 1 and 0 <= self.confidence <= 1 and 0 <= self.missed <= self.lesions
        ):
            raise ValueError(f"{self}: shares must be 0 to 1, and no more missed than there are lesions")


def allowed_misses(lesions: int, sensitivity: float) -> int:
    """The most misses among so many lesions that still certify a sensitivity; -1 when not even none does."""
    chance = 0.0
    for misses in range(lesions):
        chance += _exactly(misses, lesions, 1 - sensitivity)
        if chance > 1 - CONFIDENCE:
            return misses - 1
    return lesions - 1


def certify(lesions: int, missed: int) -> Certificate:
    """The highest sensitivity that so few misses certify; 0 when every lesion, or none at all, was missed."""
    low, high = 0.0, 1.0
    # Halved to the last bit; low always is certified.
    while lesions > missed and low < (middle := (low + high) / 2) < high:
        if _at_most(missed, lesions, 1 - middle) <= 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return Certificate(low, CONFIDENCE, lesions, missed)


def certified_threshold(scores: Sequence[float], sensitivity: float) -> tuple[float, Certificate]:
    """The highest threshold that certifies the sensitivity, and what it certifies.

    scores: P(cancer) of each cancer lesion. sensitivity: above 0 and below 1. Raises SettingError for one
    that so few lesions cannot certify, with the highest that they can.
    """
    missed = allowed_misses(len(scores), sensitivity)
    if missed < 0:
        most = certify(len(scores), 0).sensitivity
        raise SettingError(
            f"sensitivity {sensitivity}: {len(scores)} cancer lesions certify "
            f"{math.floor(1e3 * most) / 1e3} at most, with none of them missed; choose that or less, or "
            "calibrate on more"
        )
    # Of equal scores fewer may be missed; only the allowed misses were fixed beforehand.
    return sorted(scores)[missed], certify(len(scores), missed)


def _at_most(misses: int, lesions: int, rate: float) -> float:
    """P(Binomial(lesions, rate) <= misses)."""
    return math.fsum(_exactly(k, lesions, rate) for k in range(misses + 1))


def _exactly(k: int, n: int, rate: float) -> float:
    """P(Binomial(n, rate) = k), by logarithms, as the coefficients would overflow. rate: above 0, below 1."""
    chosen = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(chosen + k * math.log(rate) + (n - k) * math.log1p(-rate))
