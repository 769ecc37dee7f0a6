"""The OOD score against ViM's formula and scikit-learn's PCA; damaged statistics."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.decomposition import PCA

from edgeskin.decision.ood import read_statistics, thumbnail
from edgeskin.errors import BundleError, SettingError
from quantize.fitting import ood
from quantize.fitting.ood import Activations, fit_statistics, fit_threshold, write_statistics

pytestmark = pytest.mark.hazard("H-05")


def random_activations(n: int, seed: int, shift: float = 0.0) -> Activations:
    """Features in ten of forty dimensions, shifted into the others."""
    rng = np.random.default_rng(seed)
    features = np.zeros((n, 40), np.float32)
    features[:, :10] = rng.normal(1, 1, size=(n, 10))
    features[:, 10:] = rng.normal(shift, 0.1, size=(n, 30))
    # Pictures in 30 directions of falling variance, with a little noise.
    directions = np.random.default_rng(9).normal(size=(30, 768)) * 0.8 ** np.arange(30)[:, None]
    pictures = rng.normal(size=(n, 30)) @ directions + rng.normal(0, 1e-3, size=(n, 768))
    return Activations(features, rng.normal(size=(n, 3)).astype(np.float32), pictures.astype(np.float32))


TRAIN, VAL = random_activations(300, 0), random_activations(100, 1)


def test_the_score_is_vim_and_a_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ood, "FEATURE_DIMENSIONS", 10)
    statistics = fit_statistics(TRAIN)

    def unit(images: Activations) -> np.ndarray:
        return images.features / np.linalg.norm(images.features, axis=1, keepdims=True)

    def residual(vectors: np.ndarray, to: np.ndarray, dimensions: int) -> np.ndarray:
        fitted = PCA(dimensions, svd_solver="full").fit(to)
        return np.linalg.norm(vectors - fitted.inverse_transform(fitted.transform(vectors)), axis=1)

    def centred(images: Activations) -> np.ndarray:
        return images.logits - images.logits.mean(axis=1, keepdims=True)

    alpha = centred(TRAIN).max(axis=1).mean() / residual(unit(TRAIN), unit(TRAIN), 10).mean()
    square = TRAIN.pictures.reshape(-1, 16, 16, 3)
    sides = (square, square[:, :, ::-1])
    turns = [np.rot90(side, quarters, (1, 2)).reshape(300, -1) for side in sides for quarters in range(4)]
    both = [
        (
            alpha * residual(unit(images), unit(TRAIN), 10) - logsumexp(centred(images), axis=1),
            residual(images.pictures, np.concatenate(turns), 20),
        )
        for images in (TRAIN, VAL)
    ]
    expected = [
        (now - np.median(of_train)) / (np.quantile(of_train, 0.9) - np.median(of_train))
        for of_train, now in zip(*both, strict=True)
    ]
    found = statistics.distances(VAL.features, VAL.logits, VAL.pictures)
    np.testing.assert_allclose(found[:, 0], expected[0], rtol=1e-3, atol=1e-3)
    # The subspace of the pictures comes from a randomized PCA.
    np.testing.assert_allclose(found[:, 1], expected[1], atol=0.1)


def test_rotations_and_reflections_change_nothing() -> None:
    statistics = fit_statistics(TRAIN)
    square = VAL.pictures.reshape(-1, 16, 16, 3)
    upright = statistics.distances(VAL.features, VAL.logits, VAL.pictures)
    for view in (np.rot90(square, 1, (1, 2)), square[:, :, ::-1]):
        found = statistics.distances(VAL.features, VAL.logits, view.reshape(VAL.pictures.shape))
        np.testing.assert_allclose(found, upright, atol=0.1)


def test_an_offset_of_the_logits_changes_nothing() -> None:
    statistics = fit_statistics(TRAIN)
    shifted = statistics.distances(VAL.features, VAL.logits - 100, VAL.pictures)
    np.testing.assert_allclose(
        shifted, statistics.distances(VAL.features, VAL.logits, VAL.pictures), atol=1e-3
    )


def test_images_that_are_all_alike_are_refused() -> None:
    one = random_activations(1, 0)
    alike = Activations(*(np.repeat(part, 50, axis=0) for part in (one.features, one.logits, one.pictures)))
    with pytest.raises(SettingError, match="all alike"):
        fit_statistics(alike)


@pytest.mark.parametrize("name", ["alpha", "spread"])
def test_statistics_that_reverse_the_score_are_refused(tmp_path: Path, name: str) -> None:
    values = {name: np.asarray(value) for name, value in vars(fit_statistics(TRAIN)).items()}
    np.savez(tmp_path / "ood.npz", **values | {name: -values[name]})
    with pytest.raises(BundleError, match="above 0"):
        read_statistics((tmp_path / "ood.npz").read_bytes())


def test_statistics_survive_the_bundle(tmp_path: Path) -> None:
    statistics = fit_statistics(TRAIN)
    write_statistics(statistics, tmp_path / "ood.npz")
    read = read_statistics((tmp_path / "ood.npz").read_bytes())
    inputs = (VAL.features, VAL.logits, VAL.pictures)
    np.testing.assert_array_equal(read.distances(*inputs), statistics.distances(*inputs))


@pytest.mark.parametrize("damage", ["text", "missing", "shape", "nan", "compressed", "double"])
def test_other_arrays_are_refused(tmp_path: Path, damage: str) -> None:
    values = {name: np.asarray(value) for name, value in vars(fit_statistics(TRAIN)).items()}
    path = tmp_path / "ood.npz"
    match damage:
        case "text":
            path.write_text("no arrays")
        case "missing":
            np.savez(path, **{name: value for name, value in values.items() if name != "alpha"})
        case "compressed":
            np.savez_compressed(path, **values)
        case _:
            mean = values["feature_mean"]
            changed = {"shape": mean[:-1], "nan": mean * np.float32("nan"), "double": mean.astype(np.float64)}
            np.savez(path, **values | {"feature_mean": changed[damage]})
    with pytest.raises(BundleError, match=r"ood\.npz: not the arrays"):
        read_statistics(path.read_bytes())


def test_the_threshold_rejects_one_in_a_hundred_of_validation() -> None:
    statistics = fit_statistics(TRAIN)
    distances = statistics.distances(VAL.features, VAL.logits, VAL.pictures).sum(axis=1)
    assert (distances > fit_threshold(statistics, VAL)).sum() == 1


def test_a_thumbnail_is_the_mean_of_its_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    means = image.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3)).reshape(-1) / 255
    np.testing.assert_allclose(thumbnail(image), means, atol=0.51 / 255)
