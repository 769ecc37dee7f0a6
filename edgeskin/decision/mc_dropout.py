"""MC-dropout at the price of one pass: dropout is in the head alone, so only the head is run N times.

A sample is a network drawn from the approximate posterior (Gal & Ghahramani, ICML 2016): one pair of dropout
masks for all views of a picture, and BatchNorm as in evaluation. Its logits are averaged over the views and
calibrated, as without sampling.
"""

import numpy as np

from edgeskin.arrays import Float32s, Float64s
from edgeskin.bundle.manifest import DecisionRules
from edgeskin.decision.calibration import cancer_probability, probabilities
from edgeskin.errors import SettingError, require_kind
from edgeskin.results import Uncertainty

LEAST_SAMPLES, MOST_SAMPLES = 2, 1000


def require_samples(samples: int, seed: int) -> None:
    """Raise SettingError unless there are 0 or 2 to 1000 samples and the seed is a whole number from 0."""
    choices = f"{LEAST_SAMPLES} to {MOST_SAMPLES}, or 0 for none"
    require_kind("mc_samples", samples, int, choices)
    if samples and not LEAST_SAMPLES <= samples <= MOST_SAMPLES:
        raise SettingError(f"mc_samples {samples}: choose {choices}")
    require_kind("seed", seed, int, "a whole number, 0 or more")
    if seed < 0:
        raise SettingError(f"seed {seed}: choose a whole number, 0 or more")


def summarize(logits: Float32s, seed: int, rules: DecisionRules) -> Uncertainty:
    """Statistics of the samples of one picture, drawn with a seed. logits: (N, C)."""
    each = probabilities(logits, rules.calibration)
    mean = each.mean(axis=0)
    p_cancer = cancer_probability(each, rules.is_cancer)
    low, high = np.quantile(p_cancer, (0.025, 0.975)).tolist()
    total, aleatoric = float(_entropy(mean)), float(_entropy(each).mean())
    return Uncertainty(
        samples=len(logits),
        seed=seed,
        probabilities=dict(zip(rules.classes, mean.tolist(), strict=True)),
        cancer_probability=float(p_cancer.mean()),
        cancer_std=float(p_cancer.std()),
        cancer_interval=(low, high),
        entropy=total,
        aleatoric=aleatoric,
        # It is not negative (Jensen), but a rounding error may make it so.
        epistemic=max(0.0, total - aleatoric),
    )


def _entropy(shares: Float64s) -> Float64s:
    """In nats over the last axis, 0 log 0 being 0."""
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    return np.asarray(-(shares * logs).sum(axis=-1))
