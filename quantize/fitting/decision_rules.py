"""Fits all decision rules of one precision to its own outputs on validation."""

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Bools, Float64s
from edgeskin.bundle.manifest import DecisionRules, LesionScores
from edgeskin.decision.calibration import cancer_probability, probabilities
from quantize.fitting import calibration
from quantize.fitting.confidence import fit_confidence
from quantize.fitting.labels import Labels, lowest_by_lesion
from quantize.fitting.operating_points import fit_operating_points, sensitivity_bounds
from quantize.fitting.prediction_sets import fit_prediction_sets
from train.evaluate.outputs import Outputs


def fit_decision_rules(outputs: Outputs, labels: Labels, method: str) -> DecisionRules:
    """Fit the calibration, then every rule that builds on its probabilities.

    The calibration of the bundle is fitted on all images. Thresholds, prediction sets and confidence are
    fitted on cross-fitted probabilities.

    Args:
        outputs: Outputs on n validation images in V views.
        labels: Labels of the images, in the same order.
        method: Calibration method, one of `quantize.fitting.calibration.METHODS`.

    Returns:
        The rules, without a threshold of the OOD score.

    Raises:
        SettingError: A logit is not finite, or there is no cancer.
    """
    lesions, is_cancer = np.asarray(labels.lesions), labels.is_cancer
    fitted = calibration.fit(method, outputs.logits, labels.targets)
    p_runtime = probabilities(outputs.logits, fitted)
    p, view_p = calibration.cross_fit(method, outputs.view_logits, labels)
    p_cancer, view_p_cancer, p_cancer_runtime = (
        cancer_probability(of, labels.cancer_mask) for of in (p, view_p, p_runtime)
    )
    scores = fit_lesion_scores(p_cancer, is_cancer, lesions)
    points = fit_operating_points(scores, p_cancer_runtime, is_cancer)
    return DecisionRules(
        labels.classes,
        labels.cancer_classes,
        fitted,
        points,
        # Not the class shares: a temperature leaves the network with another prior than the images have.
        class_priors=tuple(p_runtime.mean(axis=0).tolist()),
        lesion_scores=scores,
        prediction_sets=fit_prediction_sets(p, labels.targets, lesions),
        confidence=fit_confidence(p_cancer, view_p_cancer, is_cancer, points[0].threshold),
    )


def fit_lesion_scores(p_cancer: Float64s, is_cancer: Bools, lesions: npt.NDArray[np.str_]) -> LesionScores:
    """Score each lesion by its worst image: a cancer by its lowest P(cancer), a benign lesion by its highest.

    Args:
        p_cancer: Cross-fitted P(cancer) of each image, (n,).
        is_cancer: Which images show a cancer, (n,).
        lesions: Name of each image's lesion, (n,).
    """
    cancer = lowest_by_lesion(p_cancer[is_cancer], lesions[is_cancer])
    benign = -lowest_by_lesion(-p_cancer[~is_cancer], lesions[~is_cancer])
    return LesionScores(_rising(cancer), _rising(benign), sensitivity_bounds(len(cancer)))


def _rising(scores: Float64s) -> tuple[float, ...]:
    # Rounded down, so that a difference in the last bit between CPUs loses no cancer.
    return tuple((np.floor(np.sort(scores) * 1e6) / 1e6).tolist())
