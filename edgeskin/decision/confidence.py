"""Confidence in an answer: a weighted sum of parts, each 0 to 1, whose weights are fitted to errors.

An error is a cancer below the screening threshold, or a benign lesion above it. Misses are rarer and worse,
so in the fit (`quantize.fitting.confidence`) all misses together weigh more than all needless referrals. The
score says where errors are likelier; it is not the probability of being right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Float64s
from edgeskin.bundle.manifest import ConfidenceRule
from edgeskin.results import Confidence, ConfidenceParts, Level

PARTS = ("decisiveness", "calibration", "margin", "stability")
"""In the order of a rule's weights."""
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True)
class Confidences:
    """Of n pictures. score: (n,), 0 to 1. level: positions in LEVELS, (n,). parts: (n, 4), as PARTS."""

    score: Float64s
    level: npt.NDArray[np.int64]
    parts: Float64s

    def of(self, position: int) -> Confidence:
        """The confidence in one of the pictures."""
        parts = ConfidenceParts(*self.parts[position].tolist())
        return Confidence(float(self.score[position]), LEVELS[self.level[position]], parts)


def confidence_parts(
    p_cancer: Float64s,
    view_p_cancer: Float64s,
    threshold: float,
    bounds: Sequence[float],
    gaps: Sequence[float],
) -> Float64s:
    """The parts of confidence, (n, 4), in the order of PARTS.

    decisiveness: |2 P - 1|, 0 where cancer and benign are equally probable. calibration: 1 - the gap of P's
    bin. margin: 1 - exp(-|logit P - logit threshold|), 0 at the threshold. stability: 1 - twice the standard
    deviation of P over the views, of which 0.5 is the largest; 1 with a single view, where its weight is 0.

    Args:
        p_cancer: (n,), 0 to 1.
        view_p_cancer: Of each view alone, (n, V).
        threshold: Of the screening point, 0 to 1.
        bounds: As in a ConfidenceRule.
        gaps: As in a ConfidenceRule.
    """
    distance = np.abs(_logit(p_cancer) - _logit(np.float64(threshold)))
    return np.stack(
        [
            np.abs(2 * p_cancer - 1),
            1 - np.asarray(gaps)[np.searchsorted(bounds, p_cancer)],
            1 - np.exp(-distance),
            1 - 2 * view_p_cancer.std(axis=1),
        ],
        axis=1,
    )


def confidences(
    p_cancer: Float64s, view_p_cancer: Float64s, threshold: float, rule: ConfidenceRule
) -> Confidences:
    """The confidence in n answers; arguments as `confidence_parts`."""
    parts = confidence_parts(p_cancer, view_p_cancer, threshold, rule.bounds, rule.gaps)
    score = parts @ np.array(rule.weights)
    return Confidences(score, np.searchsorted([rule.low, rule.high], score, side="right"), parts)


def _logit(p: Float64s | np.float64) -> Float64s:
    # A billionth is far below what a calibration on some thousand pictures can tell from 0.
    kept = np.clip(p, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(kept) - np.log1p(-kept))
