"""OOD scores against scipy, and their figures against scikit-learn and by counting."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from quantize.fitting import ood_comparison
from quantize.fitting.labels import Labels
from quantize.fitting.ood_comparison import BUNDLE_SCORE, SCORES, compare_scores
from tests.quantize.test_fitting_ood import TRAIN, VAL, random_activations

CLASSES = ("A", "B", "C")
OOD = random_activations(80, 2, shift=0.3)
TARGETS = np.arange(300) % 3
NAMES = tuple(map(str, range(100)))
LABELS = Labels(NAMES, NAMES, np.arange(100) % 3, CLASSES, ("A",))


def test_figures_are_those_of_scikit_learn_and_of_counting() -> None:
    compared = compare_scores(TRAIN, TARGETS, VAL, LABELS, OOD)
    assert set(compared) == {
        "energy", "Mahalanobis", "10 nearest neighbours", "ViM", "picture", BUNDLE_SCORE
    }  # fmt: skip
    inside, outside = (-logsumexp(images.logits, axis=1) for images in (VAL, OOD))
    found = compared["energy"]
    truth = np.repeat([0, 1], [100, 80])
    assert found.auroc.value == pytest.approx(roc_auc_score(truth, np.concatenate([inside, outside])))
    limit = np.sort(inside)[95 - 1 : 95 + 1]
    assert found.found in {(outside > value).mean() for value in limit}
    assert sum(found.rejected[name] * (LABELS.targets == c).sum() for c, name in enumerate(CLASSES)) == 5
    assert set(found.near) == set(CLASSES)
    # The scores of the features find what was shifted out of their subspace.
    assert min(compared[name].auroc.value for name in ("Mahalanobis", "ViM", "10 nearest neighbours")) > 0.7


def test_mahalanobis_and_neighbours_are_scipys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ood_comparison, "FEATURE_DIMENSIONS", 10)
    unit = [
        images.features / np.linalg.norm(images.features, axis=1, keepdims=True) for images in (TRAIN, VAL)
    ]
    distances = np.sort(cdist(unit[1], unit[0]), axis=1)
    np.testing.assert_allclose(
        SCORES["10 nearest neighbours"](TRAIN, TARGETS)(VAL), distances[:, 9], rtol=1e-4
    )
    fitted = PCA(10, svd_solver="full").fit(unit[0])
    inside = [fitted.transform(vectors) for vectors in unit]
    means = np.stack([inside[0][c == TARGETS].mean(axis=0) for c in range(3)])
    covariance = np.cov((inside[0] - means[TARGETS]).T, bias=True)
    expected = cdist(inside[1], means, "mahalanobis", VI=np.linalg.inv(covariance)).min(axis=1) ** 2
    np.testing.assert_allclose(SCORES["Mahalanobis"](TRAIN, TARGETS)(VAL), expected, rtol=2e-2)
