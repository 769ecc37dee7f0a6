"""The head in numpy, against its layers written out and numerical gradients; heads that are refused."""

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest

from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import BundleError
from edgeskin.imaging.preprocess import preprocess
from edgeskin.network.engine import Engine
from edgeskin.network.head import Head, read_head
from edgeskin.photo.decode import load_photo
from tests.conftest import micro_head


def stored(values: dict[str, np.ndarray], save: Callable[..., None] = np.savez) -> bytes:
    file = io.BytesIO()
    save(file, **values)
    return file.getvalue()


@pytest.fixture(scope="module")
def head() -> Head:
    changed = {"norm_var": np.linspace(0.2, 2, 12, dtype=np.float32), "norm_eps": np.float32(1e-3)}
    return read_head(stored(micro_head() | changed))


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)


def by_layer(values: dict[str, np.ndarray], features: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Linear, SiLU, BatchNorm, dropout mask, Linear, each as its paper defines it, in float64."""
    v = {name: value.astype(np.float64) for name, value in values.items()}
    hidden = np.einsum("vf,hf->vh", features, v["linear1_weight"]) + v["linear1_bias"]
    hidden = hidden / (1 + np.exp(-hidden))
    standard = (hidden - v["norm_mean"]) / np.sqrt(np.linspace(0.2, 2, 12, dtype=np.float32) + 1e-3)
    normed = standard * v["norm_weight"] + v["norm_bias"]
    return np.einsum("vh,ch->vc", normed * second, v["linear2_weight"]) + v["linear2_bias"]


def test_logits_under_masks_are_those_of_the_layers(head: Head, features: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    first = (rng.random((5, 16)) >= 0.3).astype(np.float32) / np.float32(0.7)
    second = (rng.random((5, 12)) >= 0.2).astype(np.float32) / np.float32(0.8)
    for mask1, mask2, found in zip(first, second, head.logits(features, first, second), strict=True):
        np.testing.assert_allclose(found, by_layer(micro_head(), features * mask1, mask2), atol=1e-4)


def test_masks_have_the_rates_of_the_head_and_keep_the_mean(head: Head) -> None:
    """Of a head whose logits are the first unit's: 0 in 30% of the samples, else 1 / 0.7."""
    eye = np.eye(8, 16, dtype=np.float32)
    linear = dataclasses.replace(
        head,
        dropout=(0.3, 0.0),
        weight1=100 * np.eye(16, dtype=np.float32),
        bias1=np.zeros(16, np.float32),
        scale=np.full(16, 0.01, np.float32),
        shift=np.zeros(16, np.float32),
        weight2=eye,
        bias2=np.zeros(8, np.float32),
    )
    drawn = linear.sample(np.ones((1, 16), np.float32), 1000, 0)
    assert set(np.round(np.unique(drawn), 4)) == {0.0, np.float32(1.4286)}
    assert (drawn == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert drawn.mean() == pytest.approx(1, abs=0.03)


def test_a_sample_is_one_network_for_all_views(head: Head, features: np.ndarray) -> None:
    same = np.repeat(features[:1], 8, axis=0)
    np.testing.assert_allclose(head.sample(same, 20, 3), head.sample(features[:1], 20, 3), atol=1e-4)


def test_seeds_repeat_bit_for_bit_and_differ(head: Head, features: np.ndarray) -> None:
    np.testing.assert_array_equal(head.sample(features, 30, 5), head.sample(features, 30, 5))
    assert (head.sample(features, 30, 5) != head.sample(features, 30, 6)).any()


def test_without_dropout_every_sample_is_the_network(head: Head, features: np.ndarray) -> None:
    still = dataclasses.replace(head, dropout=(0.0, 0.0))
    expected = by_layer(micro_head(), features, np.ones(12)).mean(axis=0)
    for found in still.sample(features, 3, 0):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_extreme_features_stay_finite(head: Head, features: np.ndarray) -> None:
    assert np.isfinite(head.sample(features * 1e4, 4, 0)).all()


def test_gradients_are_those_of_differences(head: Head, features: np.ndarray) -> None:
    weights = np.linspace(-1, 1, 8)
    found = head.gradient(features, weights)
    assert found.shape == features.shape
    step = 1e-5
    for unit in range(16):
        moved = np.zeros(16)
        moved[unit] = step
        above, below = (
            by_layer(micro_head(), features + sign * moved, np.ones(12)) @ weights for sign in (1, -1)
        )
        np.testing.assert_allclose(found[:, unit], (above - below) / (2 * step), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"linear2_weight": np.zeros((8, 11), np.float32)},
        {"linear1_weight": np.zeros((11, 16), np.float32)},
        {"linear1_weight": np.zeros((12, 16, 1), np.float32)},
        {"linear1_bias": np.float32(0)},
        {"norm_mean": np.zeros(3, np.float32)},
        {"norm_bias": np.zeros((12, 12), np.float32)},
        {"norm_var": np.full(12, -1, np.float32)},
        {"linear2_weight": np.full((8, 12), np.nan, np.float32)},
        {"linear2_bias": np.zeros(8, np.complex64)},
        {"dropout": np.float32([0.3])},
        {"dropout": np.float32([0.3, 0.2, 0.1])},
        {"dropout": np.float32([0.3, 1.0])},
        {"dropout": np.float32([-0.1, 0.2])},
    ],
)
def test_a_head_that_does_not_fit_is_refused(changes: dict[str, np.ndarray]) -> None:
    with pytest.raises(BundleError, match=r"^head\.npz: "):
        read_head(stored(micro_head() | changes))


def test_files_that_are_no_head_are_refused() -> None:
    array = io.BytesIO()
    np.save(array, np.zeros(3, np.float32))
    whole = stored(micro_head())
    broken = whole[:300] + bytes(40) + whole[340:]
    compressed = stored(micro_head(), np.savez_compressed)
    for content in (b"", b"PK", array.getvalue(), whole[:-30], broken, compressed):
        with pytest.raises(BundleError, match=r"^head\.npz: "):
            read_head(content)


@pytest.mark.parametrize("name", ["default", "lite"])
def test_the_shipped_head_is_that_of_the_shipped_network(name: str) -> None:
    """The IR of FP32 is stored as FP16, the head is not."""
    bundle = open_bundle(name)
    settings = bundle.manifest.preprocessing
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    image = preprocess(load_photo(noise, settings.size).image, settings)
    outputs = Engine(bundle.ir("fp32"), views=settings.views).infer(image)
    head = dataclasses.replace(read_head(bundle.read("head.npz")), dropout=(0.0, 0.0))
    np.testing.assert_allclose(head.sample(outputs.view_features[0], 1, 0), outputs.logits, atol=0.01)
