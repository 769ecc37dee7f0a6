"""From logits to calibrated probabilities, and from P(cancer) to what should happen next."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeskin.bundle.manifest import Calibration, OperatingPoint
from edgeskin.taxonomy import SEVERITY

Risk = Literal["HIGH", "MEDIUM", "LOW"]

RETAKE = "take the picture again: {}; if it gets no better, refer on clinical grounds"
OUT_OF_SCOPE = (
    "not the kind of picture that can be assessed: take a dermoscopy picture with the lesion in the middle; "
    "if it is one, refer on clinical grounds"
)
SAFETY_NET = (
    "whatever this says, a lesion that changes, bleeds or itches, or that worries anyone, should be examined"
)
ACTIONS: dict[Risk, str] = {
    "HIGH": "refer for urgent specialist assessment",
    "MEDIUM": "refer for specialist assessment",
    "LOW": "no referral from this image alone",
}


def probabilities(
    logits: npt.NDArray[np.floating], calibration: Calibration | None = None
) -> npt.NDArray[np.float64]:
    """Calibrated probabilities over the last axis; without a calibration the softmax. logits: (..., C)."""
    log_p = _log_softmax(np.asarray(logits, dtype=np.float64))
    if calibration is not None:
        log_p = _log_softmax(log_p @ np.array(calibration.weights).T + np.array(calibration.bias))
    return np.asarray(np.exp(log_p))


def _log_softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def without_priors(
    class_probabilities: npt.NDArray[np.float64], priors: Sequence[float]
) -> npt.NDArray[np.float64]:
    """The probabilities if every class were as frequent: p / prior, summing to 1; the same without priors.

    What the class is decided by, since a rare class hardly ever is the most probable one (post-hoc logit
    adjustment; Menon et al., ICLR 2021). class_probabilities: (..., C). priors: (C,) above 0, or empty.
    """
    freed = class_probabilities / np.asarray(priors) if len(priors) else class_probabilities
    return np.asarray(freed / freed.sum(axis=-1, keepdims=True))


def cancer_probability(
    class_probabilities: npt.NDArray[np.float64], classes: Sequence[str], cancer_classes: Sequence[str]
) -> npt.NDArray[np.float64]:
    """P(cancer): the sum over the cancer classes. class_probabilities: (..., C) -> (...)."""
    is_cancer = np.isin(classes, cancer_classes)
    return np.asarray(class_probabilities[..., is_cancer].sum(axis=-1))


def risk_level(p_cancer: float, points: Sequence[OperatingPoint]) -> Risk:
    """LOW below the screening threshold, HIGH from the strictest point's on, MEDIUM between.

    points: by rising threshold; the first is the screening point. With a single point there is no MEDIUM.
    """
    if p_cancer < points[0].threshold:
        return "LOW"
    return "HIGH" if p_cancer >= points[-1].threshold else "MEDIUM"


def label_set(
    class_probabilities: npt.NDArray[np.float64], thresholds: Sequence[float]
) -> npt.NDArray[np.bool_]:
    """Which classes are in the label set: from their threshold on, and the most probable one.

    class_probabilities: (..., C). thresholds: (C,). Returns (..., C).
    """
    most = class_probabilities.max(axis=-1, keepdims=True)
    return np.asarray((class_probabilities >= np.asarray(thresholds)) | (class_probabilities == most))


def leading_label(
    class_probabilities: npt.NDArray[np.float64],
    members: npt.NDArray[np.bool_],
    classes: Sequence[str],
    cancer_classes: Sequence[str],
) -> str:
    """The most serious class of a label set: cancers by SEVERITY, then others; equals by probability.

    class_probabilities, members: (C,).
    """

    def rank(position: int) -> tuple[bool, int, float]:
        name = classes[position]
        order = SEVERITY.index(name) if name in SEVERITY else len(SEVERITY)
        return name not in cancer_classes, order, -float(class_probabilities[position])

    return classes[min(np.flatnonzero(members).tolist(), key=rank)]
