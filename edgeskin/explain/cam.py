"""Where in the picture the evidence lies, from the last feature map and the head's weights, without autograd.

The head follows a global average, so that the gradient of a target is the same all over a channel:
G_k = g_k / (h w), g being its gradient with respect to the pooled features. That turns the class activation
maps into sums over channels. Each view of a picture gets its own map; turned back, they are averaged.

A map tells where, not why, and is no evidence of a disease: `benchmarks.explanations.faithfulness` measures how far it
can be trusted.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

import cv2
import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Float32s as Floats
from edgeskin.arrays import Image
from edgeskin.bundle.manifest import Calibration
from edgeskin.decision.decide import probabilities
from edgeskin.errors import SettingError
from edgeskin.imaging.dihedral import inverse
from edgeskin.imaging.segmentation import skin_color
from edgeskin.network.engine import Engine, Outputs
from edgeskin.network.head import Head
from edgeskin.results import ModelInfo

SCHEMA_VERSION = 1
CANCER = "cancer"
FAINT = 0.02
"""Of Grad-CAM, in units of the score a cell; chosen on validation."""
OCCLUSION_CELLS = 7
"""Cells a side that an occlusion map has; a window hides two by two of them."""
Method = Literal["grad-cam", "grad-cam++", "layer-cam", "eigen-cam", "occlusion"]


@dataclass(frozen=True)
class Target:
    """What is explained: P(cancer), or a class.

    name: ``cancer`` or the class. members: (C,), the classes that it is made of.
    """

    name: str
    members: npt.NDArray[np.bool_]
    calibration: Calibration

    def score(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Of a class its logit, of cancer the log odds of calibrated P(cancer): (..., C) -> (...)."""
        if self.name != CANCER:
            return np.asarray(logits[..., self.members.argmax()], dtype=np.float64)
        p = np.maximum(probabilities(logits, self.calibration), np.finfo(np.float64).tiny)
        return np.asarray(np.log(p[..., self.members].sum(-1)) - np.log(p[..., ~self.members].sum(-1)))

    def gradient(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Of the score with respect to the logits of one picture, (C,): (C,)."""
        if self.name != CANCER:
            return self.members.astype(np.float64)
        # log odds = logsumexp of the members' calibrated logits - that of the others'.
        p = np.maximum(probabilities(logits, self.calibration), np.finfo(np.float64).tiny)
        within = np.where(self.members, p / p[self.members].sum(), -p / p[~self.members].sum())
        by_log_softmax = within @ np.array(self.calibration.weights)
        return np.asarray(by_log_softmax - probabilities(logits) * by_log_softmax.sum())


def find_target(
    name: str, classes: Sequence[str], cancer_classes: Sequence[str], calibration: Calibration
) -> Target:
    """By name: ``cancer`` or a class. Raises SettingError for any other, and for cancer without others."""
    if name not in (CANCER, *classes):
        raise SettingError(f"target {name!r}: choose {CANCER} or one of {', '.join(classes)}")
    if name == CANCER and set(classes) <= set(cancer_classes):
        raise SettingError(f"target {name!r}: every class of this bundle is cancer; choose one of them")
    members = cancer_classes if name == CANCER else [name]
    return Target(name, np.isin(classes, members), calibration)


def find_method(name: str) -> Method:
    """By name. Raises SettingError for any other."""
    if name not in get_args(Method):
        raise SettingError(f"method {name!r}: choose one of {', '.join(get_args(Method))}")
    return cast(Method, name)


@dataclass(frozen=True)
class Explanation:
    """Where the evidence for a target lies in the centre square that the network saw.

    map: (h, w), 0 and more; of Grad-CAM in units of the target's score a cell. All 0 where nothing speaks
    for the target. It has no target with ``eigen-cam``, whose map tells what stands out in the features.
    model: whose answer it explains. faint: Grad-CAM's largest value is below FAINT: hardly anything speaks
    for the target, and the maximum is as likely in a corner (`python -m benchmarks.explanations.low_evidence`).
    """

    method: Method
    target: str | None
    map: Floats
    model: ModelInfo

    @property
    def faint(self) -> bool:
        return self.method == "grad-cam" and float(self.map.max()) < FAINT

    def resized(self, side: int) -> Floats:
        """The map at (side, side), interpolated, 0 and more."""
        resized = cv2.resize(self.map, (side, side), interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.maximum(resized, 0), dtype=np.float32)

    def normalized(self, side: int) -> Floats:
        """(side, side), 0 to 1: from the 10 % quantile to the 99 % one; all 0 where the map is flat."""
        resized = self.resized(side)
        low, high = np.quantile(resized, (0.1, 0.99)).tolist()
        if high <= low:
            return np.zeros_like(resized)
        return np.asarray(np.clip((resized - low) / (high - low), 0, 1), dtype=np.float32)

    def hottest(self, side: int, share: float = 0.2) -> npt.NDArray[np.bool_]:
        """The share of the square that has most of the evidence, less where there is evidence in less.

        side: pixels. Returns (side, side).
        """
        resized = self.resized(side)
        return np.asarray((resized > 0) & (resized >= np.quantile(resized, 1 - share)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for ``json.dumps``."""
        values = asdict(self) | {"faint": self.faint, "map": np.round(self.map.astype(float), 6).tolist()}
        return {"schema_version": SCHEMA_VERSION, **values}


def explain(
    image: Image,
    outputs: Outputs,
    engine: Engine,
    head: Head,
    target: Target,
    method: Method,
) -> Floats:
    """The map of one picture, 0 and more.

    image: what the network saw, uint8 RGB (s, s, 3). outputs: what it said, with feature maps, which only
    ``occlusion`` does without. The result has the feature map's sides, with ``occlusion`` OCCLUSION_CELLS.
    """
    if method == "occlusion":
        return occlusion(image, engine, target)
    assert outputs.fmaps is not None
    gradient = head.gradient(outputs.features, target.gradient(outputs.logits))
    by_view = np.maximum(_CAMS[method](outputs.fmaps, gradient), 0)
    upright = [inverse(one, view) for view, one in enumerate(by_view)]
    return np.asarray(np.mean(upright, axis=0), dtype=np.float32)


def occlusion(image: Image, engine: Engine, target: Target) -> Floats:
    """How much the target's score falls when a part of the picture is hidden: (OCCLUSION_CELLS,) * 2.

    A window of two by two cells, painted in the colour of the skin, moves cell by cell; a cell gets the mean
    fall of the four windows that hide it (after Zeiler & Fergus, ECCV 2014). In one view of the picture, 65
    passes of the network. image: uint8 RGB (s, s, 3).
    """
    cells = OCCLUSION_CELLS
    edges = np.rint(np.linspace(0, len(image), cells + 1)).astype(int)
    # From one cell outside on, so that the cells at the edge are hidden as often as those inside.
    starts = [(row, column) for row in range(-1, cells) for column in range(-1, cells)]
    hidden = np.repeat(image[None], 1 + len(starts), axis=0)
    color = skin_color(image)
    for picture, (row, column) in zip(hidden[1:], starts, strict=True):
        down, across = (slice(edges[max(at, 0)], edges[min(at + 2, cells)]) for at in (row, column))
        picture[down, across] = color
    scores = target.score(engine.infer_each(hidden).view_logits)
    falls = (scores[0] - scores[1:]).reshape(cells + 1, cells + 1)
    covering = (falls[:-1, :-1] + falls[1:, :-1] + falls[:-1, 1:] + falls[1:, 1:]) / 4
    return np.asarray(np.maximum(covering, 0), dtype=np.float32)


def grad_cam(fmaps: Floats, gradient: Floats) -> Floats:
    """sum_k G_k A_k (Selvaraju et al., ICCV 2017). fmaps: (V, F, h, w). gradient: (V, F) -> (V, h, w)."""
    return _weighted_sum(fmaps, gradient / np.float32(fmaps[0, 0].size))


def grad_cam_plus_plus(fmaps: Floats, gradient: Floats) -> Floats:
    """sum_k w_k A_k, w_k = sum_ij relu(G_k) G_k^2 / (2 G_k^2 + G_k^3 sum_ab A_k) (Chattopadhay et al., WACV
    2018, eq. 19), which for a gradient that is the same all over a channel is relu(g_k) / (2 + g_k f_k), f
    being the pooled features. As `grad_cam`.
    """
    # A channel of negative mean may bring the denominator to 0; SiLU's least value is -0.28.
    denominator = np.maximum(2 + gradient * fmaps.mean(axis=(2, 3)), 1e-3)
    return _weighted_sum(fmaps, np.maximum(gradient, 0) / denominator)


def layer_cam(fmaps: Floats, gradient: Floats) -> Floats:
    """sum_k relu(G_k) A_k (Jiang et al., IEEE TIP 2021). As `grad_cam`."""
    return grad_cam(fmaps, np.maximum(gradient, 0))


def eigen_cam(fmaps: Floats, gradient: Floats) -> Floats:
    """Projection on the first principal component over positions (Muhammad & Yeasin, IJCNN 2020), whose sign
    is free, so that the side farther from 0 is made the positive one. As `grad_cam`; no gradient is used.
    """
    flat = fmaps.reshape(*fmaps.shape[:2], -1).transpose(0, 2, 1)  # (V, h w, F)
    centered = flat - flat.mean(axis=1, keepdims=True)
    # The projections are the first eigenvector of the small Gram matrix times its singular value.
    values, vectors = np.linalg.eigh(centered @ centered.transpose(0, 2, 1))
    first = vectors[..., -1] * np.sqrt(np.maximum(values[:, -1:], 0))
    farthest = np.take_along_axis(first, np.abs(first).argmax(axis=1)[:, None], axis=1)
    return np.asarray((first * np.sign(farthest)).reshape(len(fmaps), *fmaps.shape[2:]))


def _weighted_sum(fmaps: Floats, weights: Floats) -> Floats:
    views, channels, height, width = fmaps.shape
    summed = weights[:, None] @ fmaps.reshape(views, channels, -1)
    return np.asarray(summed.reshape(views, height, width))


_CAMS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "layer-cam": layer_cam,
    "eigen-cam": eigen_cam,
}
