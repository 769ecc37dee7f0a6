"""Class activation maps by their papers' formulas, with gradients at each pixel written out."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import SettingError
from edgeskin.explain.cam import eigen_cam, explain, find_method, grad_cam, grad_cam_plus_plus, layer_cam
from edgeskin.explain.target import find_target
from edgeskin.imaging.dihedral import inverse, transform
from edgeskin.network.engine import Engine, NetworkOutputs
from edgeskin.network.head import Head, read_head
from edgeskin.results import Method
from tests.conftest import MICRO_SIZE

pytestmark = pytest.mark.hazard("H-23")

RNG = np.random.default_rng(0)
FMAPS = RNG.normal(size=(3, 5, 4, 6)).astype(np.float32)  # (V, F, h, w)
GRADIENT = RNG.normal(size=(3, 5)).astype(np.float32)  # of the pooled features
AT_PIXELS = GRADIENT[:, :, None, None] / 24 * np.ones_like(FMAPS)  # the same all over a channel


def test_grad_cam_weighs_channels_by_their_mean_gradient() -> None:
    alpha = AT_PIXELS.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(grad_cam(FMAPS, GRADIENT), (alpha * FMAPS).sum(axis=1), atol=1e-6)


def test_grad_cam_by_hand() -> None:
    fmaps = np.float32([[[[1, 2], [3, 4]], [[0, 1], [0, 0]]]])
    found = grad_cam(fmaps, np.float32([[4, -8]]))
    assert found.tolist() == [[[1, 0], [3, 4]]]
    assert layer_cam(fmaps, np.float32([[4, -8]])).tolist() == [[[1, 2], [3, 4]]]


def test_layer_cam_weighs_pixels_by_their_positive_gradient() -> None:
    expected = (np.maximum(AT_PIXELS, 0) * FMAPS).sum(axis=1)
    np.testing.assert_allclose(layer_cam(FMAPS, GRADIENT), expected, atol=1e-6)


def test_grad_cam_plus_plus_is_equation_19() -> None:
    """Of positive maps, whose denominators are above 0, as after a ReLU."""
    fmaps = np.abs(FMAPS).astype(np.float64)
    total = fmaps.sum(axis=(2, 3), keepdims=True)
    alpha = AT_PIXELS**2 / (2 * AT_PIXELS**2 + total * AT_PIXELS**3)
    weights = (alpha * np.maximum(AT_PIXELS, 0)).sum(axis=(2, 3), keepdims=True)
    expected = (weights * fmaps).sum(axis=1)
    np.testing.assert_allclose(
        grad_cam_plus_plus(fmaps.astype(np.float32), GRADIENT), expected, rtol=1e-4, atol=1e-6
    )


def test_grad_cam_plus_plus_stays_finite_where_a_denominator_vanishes() -> None:
    fmaps = np.full((1, 1, 2, 2), -0.2, np.float32)
    assert np.isfinite(grad_cam_plus_plus(fmaps, np.float32([[10]]))).all()


def test_eigen_cam_is_the_first_principal_component() -> None:
    found = eigen_cam(FMAPS, np.empty((3, 0), np.float32))
    for view, fmap in zip(found, FMAPS, strict=True):
        flat = fmap.reshape(5, -1).T.astype(np.float64)
        _, _, axes = np.linalg.svd(flat - flat.mean(axis=0))
        projected = (flat - flat.mean(axis=0)) @ axes[0]
        expected = projected * np.sign(projected[np.abs(projected).argmax()])
        np.testing.assert_allclose(view.ravel(), expected, atol=1e-4)
    assert (found.max(axis=(1, 2)) >= -found.min(axis=(1, 2))).all()


@pytest.fixture(scope="module")
def micro(shared_micro_bundle: Path) -> tuple[Engine, Head]:
    bundle = open_bundle(shared_micro_bundle)
    return Engine(bundle.ir("fp32"), views=8), read_head(bundle.read("head.npz"))


IMAGE = RNG.integers(60, 200, (MICRO_SIZE, MICRO_SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("name", ["cancer", "NV"])
def test_maps_follow_the_picture(
    micro: tuple[Engine, Head], shared_micro_bundle: Path, method: Method, name: str
) -> None:
    """With all eight views, the map of a rotated or mirrored picture is the rotated or mirrored map."""
    engine, head = micro
    rules = open_bundle(shared_micro_bundle).manifest.decision_rules["fp32"]
    target = find_target(name, rules)

    def explained(image: np.ndarray) -> np.ndarray:
        return explain(image, engine.infer(image, fmaps=True), engine, head, target, method)

    upright = explained(IMAGE)
    assert upright.dtype == np.float32
    assert upright.min() >= 0
    if method == "occlusion":  # which sees one view alone
        assert upright.shape == (7, 7)
        return
    assert upright.shape == (8, 8)
    scale = max(float(upright.max()), 1e-6)
    for view in range(1, 8):
        moved = explained(np.ascontiguousarray(transform(IMAGE, view)))
        np.testing.assert_allclose(moved, transform(upright, view), atol=1e-4 * scale)


def test_a_map_is_the_mean_of_its_views_turned_upright_and_cut_at_0(
    micro: tuple[Engine, Head], shared_micro_bundle: Path
) -> None:
    engine, head = micro
    rules = open_bundle(shared_micro_bundle).manifest.decision_rules["fp32"]
    target = find_target("cancer", rules)
    outputs = engine.infer(IMAGE, fmaps=True)
    assert outputs.fmaps is not None
    gradient = head.gradient(outputs.view_features[0], target.gradient(outputs.logits[0]))
    each = np.maximum(grad_cam(outputs.fmaps[0], gradient), 0)
    expected = np.mean([inverse(one, view) for view, one in enumerate(each)], axis=0)
    found = explain(IMAGE, outputs, engine, head, target, "grad-cam")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_a_map_without_views_needs_no_turning(micro: tuple[Engine, Head], shared_micro_bundle: Path) -> None:
    _, head = micro
    rules = open_bundle(shared_micro_bundle).manifest.decision_rules["fp32"]
    outputs = NetworkOutputs(
        RNG.normal(size=(1, 1, 8)).astype(np.float32),
        RNG.normal(size=(1, 1, 16)).astype(np.float32),
        np.abs(RNG.normal(size=(1, 1, 16, 8, 8))).astype(np.float32),
    )
    assert outputs.fmaps is not None
    target = find_target("MEL", rules)
    gradient = head.gradient(outputs.view_features[0], np.eye(8)[0])
    found = explain(IMAGE, outputs, micro[0], head, target, "layer-cam")
    np.testing.assert_allclose(found, np.maximum(layer_cam(outputs.fmaps[0], gradient)[0], 0), rtol=1e-6)


@pytest.mark.parametrize("name", ["gradcam", "", "GRAD-CAM"])
def test_unknown_methods_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match=r"grad-cam.*grad-cam\+\+") as caught:
        find_method(name)
    assert caught.value.code == "setting"


def test_known_methods_are_found() -> None:
    assert [find_method(name) for name in get_args(Method)] == list(get_args(Method))
