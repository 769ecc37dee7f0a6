"""All rules of one precision, fitted together and applied as the runtime does."""

import numpy as np
import pytest

from edgeskin.decision.calibration import cancer_probability, probabilities
from quantize.fitting.decision_rules import fit_decision_rules
from quantize.fitting.labels import Labels
from tests.quantize.test_fitting_calibration import random_outputs
from train.evaluate.outputs import Outputs

pytestmark = pytest.mark.hazard("H-10")

CLASSES, CANCER = ("A", "B", "C", "D", "E"), ("B", "E")


def labels_of(targets: np.ndarray, lesions: tuple[str, ...] | None = None) -> Labels:
    names = tuple(str(i) for i in range(len(targets)))
    return Labels(names, lesions or names, targets, CLASSES, CANCER)


@pytest.mark.parametrize("method", ["temperature", "diagonal Dirichlet"])
def test_rules_hold_on_the_images_that_they_were_fitted_on(method: str) -> None:
    logits, targets = random_outputs()
    views = np.random.default_rng(1).normal(logits[:, None], 0.3, size=(len(logits), 4, 5)).astype(np.float32)
    rules = fit_decision_rules(Outputs(views), labels_of(targets), method)
    assert rules.calibration.method == method
    assert [point.name for point in rules.operating_points] == ["screen", "balanced"]
    assert rules.operating_points[0].threshold < rules.operating_points[1].threshold
    p = probabilities(views.mean(axis=1), rules.calibration)
    assert rules.class_priors == pytest.approx(p.mean(axis=0).tolist())
    is_cancer = np.isin(targets, [1, 4])
    p_cancer = cancer_probability(p, np.isin(CLASSES, CANCER))
    for point in rules.operating_points:
        assert (p_cancer[is_cancer] >= point.threshold).mean() == pytest.approx(point.recall)
        # The threshold is chosen on cross-fitted scores; the calibration of the bundle misses about as many.
        assert point.recall == pytest.approx(1 - point.bound.missed / is_cancer.sum(), abs=0.03)
        assert point.bound.sensitivity >= point.target_recall
    assert len(rules.lesion_scores.cancer) == is_cancer.sum()
    assert len(rules.lesion_scores.benign) == (~is_cancer).sum()
    covered = [(p[targets == c, c] >= rules.prediction_sets.thresholds[c]).mean() for c in range(5)]
    assert min(covered) >= 0.87
    assert sum(rules.confidence.weights) == pytest.approx(1)


def test_a_lesion_counts_once_with_its_worst_image() -> None:
    logits, targets = random_outputs()
    outputs = Outputs(logits[:, None].astype(np.float32))
    alone = fit_decision_rules(outputs, labels_of(targets), "temperature")
    by_class = np.argsort(targets, kind="stable")
    lesions = np.empty(len(targets), dtype=object)
    lesions[by_class] = [f"{targets[i]}-{place // 2}" for place, i in enumerate(by_class)]
    paired = fit_decision_rules(outputs, labels_of(targets, tuple(lesions)), "temperature")
    assert len(paired.lesion_scores.cancer) == len(set(lesions[np.isin(targets, [1, 4])]))
    assert np.mean(paired.lesion_scores.cancer) < np.mean(alone.lesion_scores.cancer)
    assert np.mean(paired.lesion_scores.benign) > np.mean(alone.lesion_scores.benign)
