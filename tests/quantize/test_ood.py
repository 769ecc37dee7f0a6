"""The score against ViM's formula and scikit-learn's PCA, other scores against scipy; damaged statistics."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from edgeskin.decision.ood import read_statistics, thumbnail
from edgeskin.errors import BundleError, SettingError
from quantize.fitting import ood
from quantize.fitting.ood import FINAL, Seen, compare_scores, fit_statistics, threshold, write_statistics

CLASSES = ("A", "B", "C")


def drawn(n: int, seed: int, shift: float = 0.0) -> Seen:
    """Features in ten of forty dimensions, and shifted into the others."""
    rng = np.random.default_rng(seed)
    features = np.zeros((n, 40), np.float32)
    features[:, :10] = rng.normal(1, 1, size=(n, 10))
    features[:, 10:] = rng.normal(shift, 0.1, size=(n, 30))
    # Pictures of 30 directions of which each is less than the one before, and a little noise.
    directions = np.random.default_rng(9).normal(size=(30, 768)) * 0.8 ** np.arange(30)[:, None]
    pictures = rng.normal(size=(n, 30)) @ directions + rng.normal(0, 1e-3, size=(n, 768))
    return Seen(features, rng.normal(size=(n, 3)).astype(np.float32), pictures.astype(np.float32))


TRAIN, VAL, OTHERS = drawn(300, 0), drawn(100, 1), drawn(80, 2, shift=0.3)
TARGETS = np.arange(300) % 3
NAMES = tuple(map(str, range(100)))


def test_the_score_is_vim_and_a_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ood, "FEATURE_DIMENSIONS", 10)
    statistics = fit_statistics(TRAIN)

    def unit(seen: Seen) -> np.ndarray:
        return seen.features / np.linalg.norm(seen.features, axis=1, keepdims=True)

    def residual(vectors: np.ndarray, to: np.ndarray, dimensions: int) -> np.ndarray:
        fitted = PCA(dimensions, svd_solver="full").fit(to)
        return np.linalg.norm(vectors - fitted.inverse_transform(fitted.transform(vectors)), axis=1)

    def centred(seen: Seen) -> np.ndarray:
        return seen.logits - seen.logits.mean(axis=1, keepdims=True)

    alpha = centred(TRAIN).max(axis=1).mean() / residual(unit(TRAIN), unit(TRAIN), 10).mean()
    square = TRAIN.pictures.reshape(-1, 16, 16, 3)
    sides = (square, square[:, :, ::-1])
    turns = [np.rot90(side, quarters, (1, 2)).reshape(300, -1) for side in sides for quarters in range(4)]
    both = [
        (
            alpha * residual(unit(seen), unit(TRAIN), 10) - logsumexp(centred(seen), axis=1),
            residual(seen.pictures, np.concatenate(turns), 20),
        )
        for seen in (TRAIN, VAL)
    ]
    expected = [
        (now - np.median(of_train)) / (np.quantile(of_train, 0.9) - np.median(of_train))
        for of_train, now in zip(*both, strict=True)
    ]
    found = statistics.distances(VAL.features, VAL.logits, VAL.pictures)
    np.testing.assert_allclose(found[:, 0], expected[0], rtol=1e-3, atol=1e-3)
    # Found by a randomised PCA.
    np.testing.assert_allclose(found[:, 1], expected[1], atol=0.1)


def test_turning_a_picture_changes_nothing() -> None:
    statistics = fit_statistics(TRAIN)
    square = VAL.pictures.reshape(-1, 16, 16, 3)
    told = (VAL.features, VAL.logits)
    upright = statistics.distances(*told, VAL.pictures)
    for turned in (np.rot90(square, 1, (1, 2)), square[:, :, ::-1]):
        found = statistics.distances(*told, turned.reshape(VAL.pictures.shape))
        np.testing.assert_allclose(found, upright, atol=0.1)


def test_an_offset_of_the_logits_changes_nothing() -> None:
    statistics = fit_statistics(TRAIN)
    shifted = statistics.distances(VAL.features, VAL.logits - 100, VAL.pictures)
    np.testing.assert_allclose(
        shifted, statistics.distances(VAL.features, VAL.logits, VAL.pictures), atol=1e-3
    )


def test_pictures_that_are_all_alike_are_refused() -> None:
    one = drawn(1, 0)
    alike = Seen(*(np.repeat(part, 50, axis=0) for part in (one.features, one.logits, one.pictures)))
    with pytest.raises(SettingError, match="all alike"):
        fit_statistics(alike)


@pytest.mark.parametrize("name", ["alpha", "spread"])
def test_statistics_that_turn_the_score_round_are_refused(tmp_path: Path, name: str) -> None:
    values = {name: np.asarray(value) for name, value in vars(fit_statistics(TRAIN)).items()}
    np.savez(tmp_path / "ood.npz", **values | {name: -values[name]})
    with pytest.raises(BundleError, match="above 0"):
        read_statistics((tmp_path / "ood.npz").read_bytes())


def test_statistics_survive_the_bundle(tmp_path: Path) -> None:
    statistics = fit_statistics(TRAIN)
    write_statistics(statistics, tmp_path / "ood.npz")
    read = read_statistics((tmp_path / "ood.npz").read_bytes())
    told = (VAL.features, VAL.logits, VAL.pictures)
    np.testing.assert_array_equal(read.distances(*told), statistics.distances(*told))


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


def test_one_in_a_hundred_of_validation_is_above_the_threshold() -> None:
    statistics = fit_statistics(TRAIN)
    distances = statistics.distances(VAL.features, VAL.logits, VAL.pictures).sum(axis=1)
    assert (distances > threshold(statistics, VAL)).sum() == 1


def test_figures_are_those_of_scikit_learn_and_of_counting() -> None:
    targets = np.arange(100) % 3
    compared = compare_scores((TRAIN, TARGETS), (VAL, targets), OTHERS, NAMES, CLASSES)
    assert set(compared) == {
        "energy", "Mahalanobis", "10 nearest neighbours", "ViM", "picture", FINAL
    }  # fmt: skip
    inside, outside = (-logsumexp(seen.logits, axis=1) for seen in (VAL, OTHERS))
    found = compared["energy"]
    truth = np.repeat([0, 1], [100, 80])
    assert found.auroc.value == pytest.approx(roc_auc_score(truth, np.concatenate([inside, outside])))
    limit = np.sort(inside)[95 - 1 : 95 + 1]
    assert found.found in {(outside > value).mean() for value in limit}
    assert sum(found.rejected[name] * (targets == c).sum() for c, name in enumerate(CLASSES)) == 5
    assert set(found.near) == set(CLASSES)
    # What was shifted out of the subspace is found by the scores that look at features.
    assert min(compared[name].auroc.value for name in ("Mahalanobis", "ViM", "10 nearest neighbours")) > 0.7


def test_mahalanobis_and_neighbours_are_scipys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ood, "FEATURE_DIMENSIONS", 10)
    unit = [seen.features / np.linalg.norm(seen.features, axis=1, keepdims=True) for seen in (TRAIN, VAL)]
    distances = np.sort(cdist(unit[1], unit[0]), axis=1)
    np.testing.assert_allclose(ood._neighbours(TRAIN, TARGETS)(VAL), distances[:, 9], rtol=1e-4)
    fitted = PCA(10, svd_solver="full").fit(unit[0])
    inside = [fitted.transform(vectors) for vectors in unit]
    means = np.stack([inside[0][c == TARGETS].mean(axis=0) for c in range(3)])
    covariance = np.cov((inside[0] - means[TARGETS]).T, bias=True)
    expected = cdist(inside[1], means, "mahalanobis", VI=np.linalg.inv(covariance)).min(axis=1) ** 2
    np.testing.assert_allclose(ood._mahalanobis(TRAIN, TARGETS)(VAL), expected, rtol=2e-2)


def test_a_thumbnail_is_the_mean_of_its_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    means = image.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3)).reshape(-1) / 255
    np.testing.assert_allclose(thumbnail(image), means, atol=0.51 / 255)
