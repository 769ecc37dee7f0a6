"""Operating points by hand, and a variant as the runtime applies it."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from edgeskin.bundle.manifest import LesionScores
from edgeskin.decision.decide import cancer_probability, probabilities
from edgeskin.errors import SettingError
from quantize.fitting.rules import Labels, fit_variant, operating_point
from tests.quantize.test_scaling import random_outputs
from train.evaluate.outputs import Outputs

# Of 100 cancer lesions, at 0.01, 0.02, ..., with a second photo each that has 0.005 more; 50 others at 0.105.
LESIONS = LesionScores(tuple(np.arange(1, 101) / 100), (0.105,) * 50)
P_CANCER = np.concatenate([np.arange(1, 101) / 100, np.arange(1, 101) / 100 + 0.005, np.full(50, 0.105)])
IS_CANCER = np.arange(250) < 200


@pytest.mark.parametrize(("target", "misses"), [(0.95, 1), (0.9, 4), (0.8, 13)])
def test_points_by_hand(target: float, misses: int) -> None:
    point = operating_point("p", target, LESIONS, P_CANCER, IS_CANCER)
    assert binom.cdf(misses, 100, 1 - target) <= 0.05 < binom.cdf(misses + 1, 100, 1 - target)
    assert (point.name, point.target_recall, point.threshold) == ("p", target, (misses + 1) / 100)
    assert point.recall == pytest.approx((200 - 2 * misses) / 200)
    assert point.specificity == (1.0 if point.threshold > 0.105 else 0.0)
    assert point.certificate.sensitivity == pytest.approx(beta.ppf(0.05, 100 - misses, misses + 1))
    assert (point.certificate.lesions, point.certificate.missed) == (100, misses)


def test_what_the_lesions_do_not_support_falls_back_to_the_most_that_they_do() -> None:
    point = operating_point("p", 0.99, LESIONS, P_CANCER, IS_CANCER)
    assert (point.threshold, point.target_recall) == (0.01, 0.99)
    assert point.certificate.sensitivity == pytest.approx(0.05 ** (1 / 100))


def test_no_cancer_no_threshold() -> None:
    with pytest.raises(SettingError, match="no cancer"):
        operating_point("p", 0.95, LesionScores((), (0.1,)), P_CANCER, np.zeros(250, dtype=bool))


@pytest.mark.parametrize("method", ["temperature", "diagonal Dirichlet"])
def test_a_variant_keeps_its_promises_image_by_image(method: str) -> None:
    logits, targets = random_outputs()
    views = np.random.default_rng(1).normal(logits[:, None], 0.3, size=(len(logits), 4, 5)).astype(np.float32)
    classes, cancer = ("A", "B", "C", "D", "E"), ("B", "E")
    names = tuple(str(i) for i in range(len(targets)))
    labels = Labels(names, names, targets, classes, cancer)
    variant = fit_variant(Outputs(views), labels, method)
    assert variant.calibration.method == method
    assert [point.name for point in variant.operating_points] == ["screen", "balanced"]
    assert variant.operating_points[0].threshold < variant.operating_points[1].threshold
    p = probabilities(views.mean(axis=1), variant.calibration)
    assert variant.class_priors == pytest.approx(p.mean(axis=0).tolist())
    is_cancer = np.isin(targets, [1, 4])
    p_cancer = cancer_probability(p, classes, cancer)
    for point in variant.operating_points:
        assert (p_cancer[is_cancer] >= point.threshold).mean() == pytest.approx(point.recall)
        # Chosen on cross-fitted scores, so that the shipped calibration misses about as many.
        assert point.recall == pytest.approx(1 - point.certificate.missed / is_cancer.sum(), abs=0.03)
        assert point.certificate.sensitivity >= point.target_recall
    assert len(variant.lesion_scores.cancer) == is_cancer.sum()
    assert len(variant.lesion_scores.others) == (~is_cancer).sum()
    covered = [(p[targets == c, c] >= variant.label_sets.thresholds[c]).mean() for c in range(5)]
    assert min(covered) >= 0.87
    assert sum(variant.certainty.weights) == pytest.approx(1)


def test_photos_of_a_lesion_count_once_with_the_worst() -> None:
    logits, targets = random_outputs()
    views = logits[:, None].astype(np.float32)
    classes, cancer = ("A", "B", "C", "D", "E"), ("B", "E")
    names = tuple(str(i) for i in range(len(targets)))
    alone = fit_variant(Outputs(views), Labels(names, names, targets, classes, cancer), "temperature")
    by_class = np.argsort(targets, kind="stable")
    lesions = np.empty(len(targets), dtype=object)
    lesions[by_class] = [f"{targets[i]}-{place // 2}" for place, i in enumerate(by_class)]
    paired = fit_variant(
        Outputs(views), Labels(names, tuple(lesions), targets, classes, cancer), "temperature"
    )
    assert len(paired.lesion_scores.cancer) == len(set(lesions[np.isin(targets, [1, 4])]))
    assert np.mean(paired.lesion_scores.cancer) < np.mean(alone.lesion_scores.cancer)
    assert np.mean(paired.lesion_scores.others) > np.mean(alone.lesion_scores.others)
