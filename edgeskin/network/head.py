"""The network's classification head in numpy: its logits under dropout, and their gradient."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Float32s as Floats
from edgeskin.arrays import read_arrays
from edgeskin.errors import BundleError

_SHAPES = {
    "dropout": "2", "linear1_weight": "HF", "linear1_bias": "H", "norm_weight": "H", "norm_bias": "H",
    "norm_mean": "H", "norm_var": "H", "norm_eps": "", "linear2_weight": "CH", "linear2_bias": "C",
}  # fmt: skip
"""What head.npz holds, for features F, hidden units H and classes C; written by `quantize.pack`."""


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

    def gradient(self, features: Floats, weights: npt.NDArray[np.floating]) -> Floats:
        """Of weights @ logits with respect to the features, without dropout: (V, F).

        features: pooled, (V, F). weights: (C,), such as 1 for a class and 0 for the others.
        """
        hidden = features @ self.weight1.T + self.bias1
        gate = 0.5 + 0.5 * np.tanh(0.5 * hidden)
        silu_slope = gate * (1 + hidden * (1 - gate))
        behind = (np.asarray(weights, np.float32) @ self.weight2) * self.scale
        return np.asarray((silu_slope * behind) @ self.weight1, dtype=np.float32)


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
