"""Temperature against a grid, thresholds by hand."""

import numpy as np
import pytest
from scipy.special import softmax

from edgeskin.decision import cancer_probability, probabilities
from edgeskin.errors import SettingError
from quantize.calibrate import Labels, fit_temperature, fit_variant, operating_point

# Ten cancers, with ties at .8 and at .6, and four benign lesions.
P_CANCER = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.6, 0.55, 0.1, 0.05])
IS_CANCER = np.arange(14) < 10


def random_outputs(n: int = 400, sharpness: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, 5))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([rng.choice(5, p=row) for row in p])
    return sharpness * logits, targets


def test_temperature_is_the_best_of_a_grid() -> None:
    logits, targets = random_outputs()
    grid = np.exp(np.linspace(np.log(0.05), np.log(20), 20_001))

    def loss(temperature: float) -> float:
        scaled = logits.astype(np.float64) / temperature
        log_p = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -log_p[np.arange(len(targets)), targets].mean()

    best = grid[np.argmin([loss(temperature) for temperature in grid])]
    assert fit_temperature(logits, targets) == pytest.approx(best, rel=1e-3)


def test_temperature_undoes_what_was_done_to_the_logits() -> None:
    logits, targets = random_outputs(20_000, sharpness=1.0)
    assert fit_temperature(logits, targets) == pytest.approx(1, abs=0.05)
    assert fit_temperature(3 * logits, targets) == pytest.approx(
        3 * fit_temperature(logits, targets), rel=1e-3
    )


def test_temperature_of_a_broken_network() -> None:
    with pytest.raises(SettingError, match="not finite"):
        fit_temperature(np.array([[0.0, np.nan]]), np.array([0]))


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


def test_a_variant_gives_its_recall_image_by_image() -> None:
    logits, targets = random_outputs()
    classes, cancer = ("A", "B", "C", "D", "E"), ("B", "E")
    names = tuple(str(i) for i in range(len(targets)))
    variant = fit_variant(logits, Labels(names, names, targets, classes, cancer))
    assert [point.name for point in variant.operating_points] == ["screen", "balanced"]
    assert variant.operating_points[0].threshold < variant.operating_points[1].threshold
    assert variant.class_priors == pytest.approx(softmax(logits / variant.temperature, axis=1).mean(axis=0))
    is_cancer = np.isin(targets, [1, 4])
    for point in variant.operating_points:
        found = [
            cancer_probability(probabilities(row, variant.temperature), classes, cancer) >= point.threshold
            for row in logits[is_cancer]
        ]
        assert np.mean(found) == point.recall >= point.target_recall
