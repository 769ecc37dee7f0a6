"""MC-dropout at the price of one pass: dropout is in the head alone, so the head alone is run N times.

A sample is a network drawn from the approximate posterior (Gal & Ghahramani, ICML 2016): one pair of
dropout masks for all views of a picture, BatchNorm as in evaluation. Its probabilities are those of its
logits, averaged over the views and calibrated, as without sampling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Float32s as Floats
from edgeskin.bundle.manifest import Calibration
from edgeskin.decision.decide import cancer_probability, probabilities
from edgeskin.errors import SettingError

LEAST_SAMPLES, MOST_SAMPLES = 2, 1000


@dataclass(frozen=True)
class Uncertainty:
    """What the sampled networks say of one picture.

    probabilities: mean by class, summing to 1. cancer_probability, cancer_std, cancer_interval: mean,
    standard deviation and 2.5 to 97.5 % quantiles of P(cancer) over the samples. entropy: of the mean
    probabilities, in nats, 0 to log C; it is aleatoric (the mean entropy of the samples) + epistemic (their
    mutual information, Houlsby et al., 2011), the part on which the networks disagree.
    """

    samples: int
    seed: int
    probabilities: Mapping[str, float]
    cancer_probability: float
    cancer_std: float
    cancer_interval: tuple[float, float]
    entropy: float
    aleatoric: float
    epistemic: float


def require_samples(samples: int, seed: int) -> None:
    """Raise SettingError unless there are 2 to 1000 samples and the seed is a whole number, 0 or more."""
    if not (isinstance(samples, int) and LEAST_SAMPLES <= samples <= MOST_SAMPLES):
        raise SettingError(
            f"{samples!r} dropout samples: choose {LEAST_SAMPLES} to {MOST_SAMPLES}, 0 for none"
        )
    if not (isinstance(seed, int) and seed >= 0):
        raise SettingError(f"seed {seed!r}: choose a whole number, 0 or more")


def summarize(
    logits: Floats, seed: int, calibration: Calibration, classes: Sequence[str], cancer_classes: Sequence[str]
) -> Uncertainty:
    """What samples (N, C), drawn with a seed, tell together."""
    each = probabilities(logits, calibration)
    mean = each.mean(axis=0)
    p_cancer = cancer_probability(each, classes, cancer_classes)
    low, high = np.quantile(p_cancer, (0.025, 0.975)).tolist()
    total, aleatoric = float(_entropy(mean)), float(_entropy(each).mean())
    return Uncertainty(
        samples=len(logits),
        seed=seed,
        probabilities=dict(zip(classes, mean.tolist(), strict=True)),
        cancer_probability=float(p_cancer.mean()),
        cancer_std=float(p_cancer.std()),
        cancer_interval=(low, high),
        entropy=total,
        aleatoric=aleatoric,
        # Not negative (Jensen); a rounding error may be.
        epistemic=max(0.0, total - aleatoric),
    )


def _entropy(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """In nats over the last axis, 0 log 0 being 0."""
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    return np.asarray(-(shares * logs).sum(axis=-1))
