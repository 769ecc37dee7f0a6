"""Class activation maps from the last feature map and the head's weights, without autograd.

The head follows a global average, so the gradient of a target is the same all over a channel: G_k = g_k / (h
w), with g its gradient with respect to the pooled features. That turns class activation maps into sums over
channels. Each dihedral view gets its own map; turned upright, they are averaged.

A map shows where, not why, and is no evidence of a disease: `benchmarks.explanations.faithfulness` measures
how far it can be trusted.
"""

from collections.abc import Callable
from typing import cast, get_args

import numpy as np

from edgeskin.arrays import Float32s, Image
from edgeskin.errors import SettingError
from edgeskin.explain.occlusion import occlusion
from edgeskin.explain.target import Target
from edgeskin.imaging.dihedral import average_views, inverse
from edgeskin.network.engine import Engine, NetworkOutputs
from edgeskin.network.head import Head
from edgeskin.results import Method


def find_method(name: str) -> Method:
    """The method of a name. Raises SettingError for an unknown one."""
    if name not in get_args(Method):
        raise SettingError(f"method {name!r}: choose one of {', '.join(get_args(Method))}")
    return cast(Method, name)


def explain(
    image: Image, outputs: NetworkOutputs, engine: Engine, head: Head, target: Target, method: Method
) -> Float32s:
    """The evidence map of one picture, 0 or more.

    Args:
        image: As the network saw it, uint8 RGB (s, s, 3).
        outputs: Of the network on that picture (n = 1), with feature maps unless the method is ``occlusion``.
        engine: The network, which only ``occlusion`` runs again.
        head: Its head.
        target: What to explain.
        method: How.

    Returns:
        float32 (h, w): the sides of the feature map, or of `edgeskin.explain.occlusion.CELLS`.
    """
    if method == "occlusion":
        return occlusion(image, engine, target)
    assert outputs.fmaps is not None
    gradient = head.gradient(outputs.view_features[0], target.gradient(outputs.logits[0]))
    by_view = np.maximum(_CAMS[method](outputs.fmaps[0], gradient), 0)
    upright = np.stack([inverse(one, view) for view, one in enumerate(by_view)])
    return average_views(upright, axis=0)


def grad_cam(fmaps: Float32s, gradient: Float32s) -> Float32s:
    """Grad-CAM: sum_k G_k A_k (Selvaraju et al., ICCV 2017).

    Args:
        fmaps: Feature maps A of V views, (V, F, h, w).
        gradient: Of the target with respect to the pooled features, (V, F).

    Returns:
        (V, h, w), of either sign.
    """
    return _weighted_sum(fmaps, gradient / np.float32(fmaps[0, 0].size))


def grad_cam_plus_plus(fmaps: Float32s, gradient: Float32s) -> Float32s:
    """Grad-CAM++ (Chattopadhay et al., WACV 2018, eq. 19); arguments as `grad_cam`.

    sum_k w_k A_k with w_k = sum_ij relu(G_k) G_k^2 / (2 G_k^2 + G_k^3 sum_ab A_k). For a gradient that is the
    same all over a channel, w_k is relu(g_k) / (2 + g_k f_k), with f the pooled features.
    """
    # A channel of negative mean may bring the denominator to 0; SiLU's least value is -0.28.
    denominator = np.maximum(2 + gradient * fmaps.mean(axis=(2, 3)), 1e-3)
    return _weighted_sum(fmaps, np.maximum(gradient, 0) / denominator)


def layer_cam(fmaps: Float32s, gradient: Float32s) -> Float32s:
    """LayerCAM: sum_k relu(G_k) A_k (Jiang et al., IEEE TIP 2021); arguments as `grad_cam`."""
    return grad_cam(fmaps, np.maximum(gradient, 0))


def eigen_cam(fmaps: Float32s, gradient: Float32s) -> Float32s:
    """Eigen-CAM (Muhammad & Yeasin, IJCNN 2020); arguments as `grad_cam`, of which the gradient is not used.

    The projection on the first principal component over positions. Its sign is free: the side farther from 0
    is made the positive one.
    """
    flat = fmaps.reshape(*fmaps.shape[:2], -1).transpose(0, 2, 1)  # (V, h w, F)
    centered = flat - flat.mean(axis=1, keepdims=True)
    # The projections are the first eigenvector of the small Gram matrix times its singular value.
    values, vectors = np.linalg.eigh(centered @ centered.transpose(0, 2, 1))
    first = vectors[..., -1] * np.sqrt(np.maximum(values[:, -1:], 0))
    farthest = np.take_along_axis(first, np.abs(first).argmax(axis=1)[:, None], axis=1)
    return np.asarray((first * np.sign(farthest)).reshape(len(fmaps), *fmaps.shape[2:]))


def _weighted_sum(fmaps: Float32s, weights: Float32s) -> Float32s:
    views, channels, height, width = fmaps.shape
    summed = weights[:, None] @ fmaps.reshape(views, channels, -1)
    return np.asarray(summed.reshape(views, height, width))


_CAMS: dict[str, Callable[[Float32s, Float32s], Float32s]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "layer-cam": layer_cam,
    "eigen-cam": eigen_cam,
}
