"""From logits to calibrated probabilities."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Bools, Float64s
from edgeskin.bundle.manifest import Calibration


def probabilities(logits: npt.NDArray[np.floating], calibration: Calibration | None = None) -> Float64s:
    """Calibrated class probabilities over the last axis: logits (..., C) -> (..., C), summing to 1.

    Without a calibration they are the softmax.
    """
    log_p = _log_softmax(np.asarray(logits, dtype=np.float64))
    if calibration is not None:
        log_p = _log_softmax(log_p @ np.array(calibration.weights).T + np.array(calibration.bias))
    return np.asarray(np.exp(log_p))


def cancer_probability(class_probabilities: Float64s, is_cancer: Bools) -> Float64s:
    """P(cancer), the sum over the cancer classes: (..., C) -> (...). is_cancer: (C,)."""
    return np.asarray(class_probabilities[..., is_cancer].sum(axis=-1))


def correct_priors(class_probabilities: Float64s, priors: Sequence[float]) -> Float64s:
    """Prior correction: the probabilities if all classes were equally frequent, p / prior, summing to 1.

    Without it a rare class hardly ever is the most probable one (post-hoc logit adjustment; Menon et al.,
    ICLR 2021).

    Args:
        class_probabilities: (..., C).
        priors: (C,) above 0; empty for no correction.
    """
    corrected = class_probabilities / np.asarray(priors) if len(priors) else class_probabilities
    return np.asarray(corrected / corrected.sum(axis=-1, keepdims=True))


def temperature_scaling(temperature: float, n_classes: int) -> Calibration:
    """softmax(logits / temperature) (Guo et al., ICML 2017). Raises ValueError unless it is 0.01 to 100."""
    if not 0.01 <= temperature <= 100:
        raise ValueError(f"temperature {temperature}: expected 0.01 to 100")
    rows = tuple(tuple(float(i == j) / temperature for j in range(n_classes)) for i in range(n_classes))
    return Calibration("temperature", rows, (0.0,) * n_classes)


def _log_softmax(scores: Float64s) -> Float64s:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
