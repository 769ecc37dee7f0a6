"""MC-dropout at the price of one pass: dropout is in the head alone, so the head alone is run N times.

A sample is a network drawn from the approximate posterior (Gal & Ghahramani, ICML 2016): one pair of dropout
masks for all views of a picture, BatchNorm as in evaluation. Its probabilities are those of its logits,
averaged over the views and calibrated, as without sampling.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeskin.bundle import Calibration
from edgeskin.decision import cancer_probability, probabilities
from edgeskin.errors import BundleError, SettingError

Floats = npt.NDArray[np.float32]
MOST_SAMPLES = 1000


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

        The same seed gives the same bits on one machine. Raises SettingError when samples are not 1 to 1000.
        """
        if not 1 <= samples <= MOST_SAMPLES:
            raise SettingError(f"{samples} dropout samples: choose 1 to {MOST_SAMPLES}")
        rng = np.random.default_rng(seed)
        first, second = (
            (rng.random((samples, width), np.float32) >= rate) * np.float32(1 / (1 - rate))
            for width, rate in zip((self.weight1.shape[1], len(self.bias1)), self.dropout, strict=True)
        )
        return np.asarray(self.logits(features, first, second).mean(axis=1))


def read_head(content: bytes) -> Head:
    """The head from a bundle's head.npz. Raises BundleError when it holds something else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            values = {name: stored[name].astype(np.float32) for name in stored.files}
        rates = values["dropout"].tolist()
        scale = values["norm_weight"] / np.sqrt(values["norm_var"] + values["norm_eps"])
        head = Head(
            dropout=(rates[0], rates[1]),
            weight1=values["linear1_weight"],
            bias1=values["linear1_bias"],
            scale=scale,
            shift=values["norm_bias"] - values["norm_mean"] * scale,
            weight2=values["linear2_weight"],
            bias2=values["linear2_bias"],
        )
        hidden, classes = len(head.bias1), len(head.bias2)
        fitting = head.weight1.shape[0] == hidden and head.weight2.shape == (classes, hidden)
        if not fitting or scale.shape != (hidden,) or not all(0 <= rate < 1 for rate in rates):
            raise ValueError("layers that do not fit together")
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"head.npz: no head that can be sampled ({error}); pack the bundle anew") from error
    return head


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
