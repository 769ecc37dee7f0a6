"""Thresholds by hand, and a variant as the runtime applies it."""

import numpy as np
import pytest

from edgeskin.decision import cancer_probability, probabilities
from edgeskin.errors import SettingError
from quantize.calibrate import Labels, fit_variant, operating_point
from tests.test_scaling import random_outputs

# Ten cancers, with ties at .8 and at .6, and four benign lesions.
P_CANCER = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.6, 0.55, 0.1, 0.05])
IS_CANCER = np.arange(14) < 10


@pytest.mark.parametrize(
    ("target", "threshold", "recall", "specificity"),
    [
        (0.7, 0.5, 0.7, 0.5),  # the seventh highest
        (0.65, 0.5, 0.7, 0.5),  # six of ten are too few
        (0.55, 0.6, 0.6, 0.75),
        (0.45, 0.6, 0.6, 0.75),  # the fifth brings the sixth, which ties with it
        (0.25, 0.8, 0.3, 1.0),
        (1.0, 0.2, 1.0, 0.5),
    ],
)
def test_thresholds_by_hand(target: float, threshold: float, recall: float, specificity: float) -> None:
    point = operating_point("p", target, P_CANCER, IS_CANCER)
    assert (point.name, point.threshold, point.target_recall) == ("p", threshold, target)
    assert (point.recall, point.specificity) == (recall, specificity)


def test_no_higher_threshold_reaches_the_target() -> None:
    rng = np.random.default_rng(1)
    is_cancer = rng.random(500) < 0.3
    p = np.clip(rng.normal(0.3 + 0.3 * is_cancer, 0.2), 0, 1)
    point = operating_point("p", 0.95, p, is_cancer)
    assert (p[is_cancer] >= point.threshold).mean() >= 0.95
    assert (p[is_cancer] >= point.threshold + 2e-6).mean() < 0.95


def test_no_cancer_no_threshold() -> None:
    with pytest.raises(SettingError, match="no cancer"):
        operating_point("p", 0.95, P_CANCER, np.zeros(14, dtype=bool))


@pytest.mark.parametrize("method", ["temperature", "diagonal Dirichlet"])
def test_a_variant_gives_its_recall_image_by_image(method: str) -> None:
    logits, targets = random_outputs()
    classes, cancer = ("A", "B", "C", "D", "E"), ("B", "E")
    names = tuple(str(i) for i in range(len(targets)))
    labels = Labels(names, names, targets, classes, cancer)
    variant = fit_variant(logits, labels, method)
    assert variant.calibration.method == method
    assert [point.name for point in variant.operating_points] == ["screen", "balanced"]
    assert variant.operating_points[0].threshold < variant.operating_points[1].threshold
    p = probabilities(logits, variant.calibration)
    assert variant.class_priors == pytest.approx(p.mean(axis=0).tolist())
    is_cancer = np.isin(targets, [1, 4])
    for point in variant.operating_points:
        found = [
            cancer_probability(probabilities(row, variant.calibration), classes, cancer) >= point.threshold
            for row in logits[is_cancer]
        ]
        assert np.mean(found) == point.recall >= point.target_recall
