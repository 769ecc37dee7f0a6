"""How sure the answer is, 0 to 1: a weighted sum of parts, each 0 to 1, whose weights are fitted to errors.

An error is a cancer below the screening threshold or another lesion above it; the first kind is rare and
the worse, so that all of it together weighs more than all of the second in the fit (`quantize.fitting.confidence`).
The score says where errors are likelier, it is not the probability of being right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Level = Literal["HIGH", "MEDIUM", "LOW"]
PARTS = ("confidence", "calibration", "clarity", "stability")


@dataclass(frozen=True)
class CertaintyRule:
    """Fitted on validation, to one precision.

    weights: of PARTS, 0 or more, summing to 1. bounds: up to where P(cancer) is in each bin but the last,
    rising; gaps: |mean P(cancer) - share of cancers| in each bin, one more than bounds. low, high: the
    level is LOW below ``low``, HIGH from ``high`` on.
    """

    weights: tuple[float, ...]
    bounds: tuple[float, ...]
    gaps: tuple[float, ...]
    low: float
    high: float

    def __post_init__(self) -> None:
        if len(self.weights) != len(PARTS) or not all(0 <= weight <= 1 for weight in self.weights):
            raise ValueError(f"certainty weights {self.weights}: expected {len(PARTS)}, each 0 to 1")
        if len(self.gaps) != len(self.bounds) + 1 or not all(0 <= gap <= 1 for gap in self.gaps):
            raise ValueError("certainty needs a gap, 0 to 1, for each bin, one more than there are bounds")
        if list(self.bounds) != sorted(self.bounds) or not 0 <= self.low <= self.high <= 1:
            raise ValueError("certainty bounds and levels must rise")


@dataclass(frozen=True)
class Certainty:
    """score: 0 to 1. level: by the rule. parts: see `parts`, by name."""

    score: float
    level: Level
    parts: Mapping[str, float]


def parts(
    p_cancer: Floats,
    view_p_cancer: Floats,
    threshold: float,
    bounds: Sequence[float],
    gaps: Sequence[float],
) -> Floats:
    """What certainty is made of, (n, 4), in the order of PARTS.

    p_cancer: (n,). view_p_cancer: of each view alone, (n, V). threshold: of the screening point. bounds,
    gaps: as in a CertaintyRule. confidence: |2 P - 1|, 0 where cancer and none are as probable.
    calibration: 1 - the gap of P's bin. clarity: 1 - exp(-|logit P - logit threshold|), 0 at the threshold.
    stability: 1 - twice the standard deviation of P over the views, of which 0.5 is the most; with one view
    it is always 1, and its weight 0.
    """
    clearly = np.abs(_logit(p_cancer) - _logit(np.float64(threshold)))
    return np.stack(
        [
            np.abs(2 * p_cancer - 1),
            1 - np.asarray(gaps)[np.searchsorted(bounds, p_cancer)],
            1 - np.exp(-clearly),
            1 - 2 * view_p_cancer.std(axis=1),
        ],
        axis=1,
    )


def certainty(p_cancer: float, view_p_cancer: Floats, threshold: float, rule: CertaintyRule) -> Certainty:
    """Of one picture. view_p_cancer: (V,); the rest as `parts`."""
    values = parts(np.array([p_cancer]), view_p_cancer[None], threshold, rule.bounds, rule.gaps)[0]
    score = float(values @ rule.weights)
    level: Level = "LOW" if score < rule.low else "HIGH" if score >= rule.high else "MEDIUM"
    return Certainty(score, level, dict(zip(PARTS, values.tolist(), strict=True)))


def _logit(p: npt.NDArray[np.float64] | np.float64) -> Floats:
    # A billionth is far below what a calibration on some thousand pictures can tell from 0.
    kept = np.clip(p, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(kept) - np.log1p(-kept))
