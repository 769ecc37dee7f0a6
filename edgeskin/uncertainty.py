"""MC-dropout at the price of one pass: dropout is in the head alone, so the head alone is run N times.

A sample is a network drawn from the approximate posterior (Gal & Ghahramani, ICML 2016): one pair of
dropout masks for all views of a picture, BatchNorm as in evaluation. Its probabilities are those of its
logits, averaged over the views and calibrated, as without sampling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Floats, read_arrays
from edgeskin.decision import cancer_probability, probabilities
from edgeskin.errors import BundleError, SettingError
from edgeskin.variant import Calibration

LEAST_SAMPLES, MOST_SAMPLES = 2, 1000
_SHAPES = {
    "dropout": "2", "linear1_weight": "HF", "linear1_bias": "H", "norm_weight": "H", "norm_bias": "H",
    "norm_mean": "H", "norm_var": "H", "norm_eps": "", "linear2_weight": "CH", "linear2_bias": "C",
}  # fmt: skip
"""What head.npz holds, for features F, hidden units H and classes C; written by `quantize.pack`."""


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


@dataclass(frozen=True)
class Head:
    """Dropout, Linear, SiLU, BatchNorm, Dropout, Linear; float32, the BatchNorm as scale and shift.

    dropout: rates before the two linear layers. weight1 (H, F), bias1, scale, shift (H,), weight2 (C, H),
    bias2 (C,).
    """

    dropout: tuple[float, float]
    weight1: Floats
    bias1: Floats
    scale: Floats
    shift: Floats
    weight2: Floats
    bias2: Floats

    def logits(self, features: Floats, first: Floats, second: Floats) -> Floats:
        """Logits under dropout masks: (N, V, C).

        features: pooled, (V, F). first: what the features are multiplied by, (N, F): 0, or 1 / (1 - rate).
        second: the same for the hidden layer, (N, H).
        """
        dropped = features * first[:, None]  # (N, V, F)
        hidden = dropped.reshape(-1, features.shape[1]) @ self.weight1.T + self.bias1
        hidden *= 0.5 + 0.5 * np.tanh(0.5 * hidden)  # SiLU; an exponential could overflow
        hidden = hidden.reshape(*dropped.shape[:2], -1) * self.scale + self.shift
        return np.asarray((hidden * second[:, None]) @ self.weight2.T + self.bias2, dtype=np.float32)

    def sample(self, features: Floats, samples: int, seed: int) -> Floats:
        """Logits of so many networks, averaged over the views: (samples, C). features: (V, F).

        The same seed gives the same bits on one machine with the same threads of numpy's BLAS.
        """
        rng = np.random.default_rng(seed)
        first, second = (
            (rng.random((samples, width), np.float32) >= rate) * np.float32(1 / (1 - rate))
            for width, rate in zip((self.weight1.shape[1], len(self.bias1)), self.dropout, strict=True)
        )
        return np.asarray(self.logits(features, first, second).mean(axis=1))


def require_samples(samples: int, seed: int) -> None:
    """Raise SettingError unless there are 2 to 1000 samples and the seed is a whole number, 0 or more."""
    if not (isinstance(samples, int) and LEAST_SAMPLES <= samples <= MOST_SAMPLES):
        raise SettingError(
            f"{samples!r} dropout samples: choose {LEAST_SAMPLES} to {MOST_SAMPLES}, 0 for none"
        )
    if not (isinstance(seed, int) and seed >= 0):
        raise SettingError(f"seed {seed!r}: choose a whole number, 0 or more")


def read_head(content: bytes) -> Head:
    """The head from a bundle's head.npz. Raises BundleError when it holds something else."""
    values = read_arrays(content, "head.npz", _SHAPES)
    first, second = values["dropout"].tolist()
    if not (0 <= first < 1 and 0 <= second < 1 and (values["norm_var"] + values["norm_eps"] > 0).all()):
        raise BundleError(
            "head.npz: dropout outside 0 to 1, or a variance that is not positive; pack the bundle anew"
        )
    scale = values["norm_weight"] / np.sqrt(values["norm_var"] + values["norm_eps"])
    return Head(
        dropout=(first, second),
        weight1=values["linear1_weight"],
        bias1=values["linear1_bias"],
        scale=scale,
        shift=values["norm_bias"] - values["norm_mean"] * scale,
        weight2=values["linear2_weight"],
        bias2=values["linear2_bias"],
    )


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
