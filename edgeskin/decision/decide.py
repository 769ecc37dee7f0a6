"""The decision: outputs of n pictures and `DecisionRules` give n decisions.

The runtime, the gate of `quantize`, the evaluation of `train` and the benchmarks all decide by this function.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Bools, Float32s, Float64s
from edgeskin.bundle.manifest import DecisionRules
from edgeskin.decision.calibration import cancer_probability, correct_priors, probabilities
from edgeskin.decision.confidence import Confidences, confidences
from edgeskin.decision.operating_points import risk_levels
from edgeskin.decision.prediction_sets import most_serious, prediction_sets
from edgeskin.imaging.dihedral import average_views
from edgeskin.imaging.quality import DOUBTFUL
from edgeskin.results import RISKS, ActionCode, AppliedPoint, Assessment, Confidence, Quality, Risk

ACTIONS: dict[Risk, tuple[ActionCode, str]] = {
    "HIGH": ("refer_urgently", "refer for urgent specialist assessment"),
    "MEDIUM": ("refer", "refer for specialist assessment"),
    "LOW": ("no_referral", "no referral from this image alone"),
}
"""What should happen next, for programs and for people."""
RETAKE = "take the picture again: {}; if it gets no better, refer on clinical grounds"
OUT_OF_SCOPE = (
    "take a dermoscopy picture with the lesion in the middle; if this is one, refer on clinical grounds"
)


@dataclass(frozen=True)
class Decisions:
    """Decisions on n pictures.

    probabilities: calibrated, (n, C). cancer_probability: (n,). balanced_probabilities: after prior
    correction, (n, C). predicted: the class decided for, a position, (n,). risk: positions in
    `edgeskin.results.RISKS`, (n,). prediction_sets: (n, C), and most_serious: the most serious class of each,
    a position, (n,); both None without a rule, as confidence.
    """

    probabilities: Float64s
    cancer_probability: Float64s
    balanced_probabilities: Float64s
    predicted: npt.NDArray[np.int64]
    risk: npt.NDArray[np.int64]
    prediction_sets: Bools | None
    most_serious: npt.NDArray[np.int64] | None
    confidence: Confidences | None

    @property
    def is_referred(self) -> Bools:
        """Whether the risk is above LOW, (n,)."""
        return np.asarray(self.risk > 0)


def decide(view_logits: Float32s | Float64s, rules: DecisionRules) -> Decisions:
    """Decide on n pictures.

    Args:
        view_logits: Of each picture's V views, (n, V, C), finite.
        rules: Fitted to the network that gave the logits.
    """
    p = probabilities(average_views(view_logits, axis=1), rules.calibration)
    p_cancer = cancer_probability(p, rules.is_cancer)
    balanced = correct_priors(p, rules.class_priors)
    members = serious = confidence = None
    if rules.prediction_sets is not None:
        members = prediction_sets(p, rules.prediction_sets.thresholds)
        serious = most_serious(p, members, rules.classes, rules.is_cancer)
    if rules.confidence is not None:
        view_p_cancer = cancer_probability(probabilities(view_logits, rules.calibration), rules.is_cancer)
        confidence = confidences(p_cancer, view_p_cancer, rules.screening_threshold, rules.confidence)
    return Decisions(
        p,
        p_cancer,
        balanced,
        balanced.argmax(axis=-1),
        risk_levels(p_cancer, rules.operating_points),
        members,
        serious,
        confidence,
    )


def with_decision(
    result: Assessment, decisions: Decisions, position: int, rules: DecisionRules
) -> Assessment:
    """An assessment with one of the decisions.

    Args:
        result: The assessment so far.
        decisions: On n pictures.
        position: Which of them, 0 to n - 1.
        rules: That the decisions follow.
    """
    classes, priors = rules.classes, rules.class_priors
    p = decisions.probabilities[position]
    prediction_set = most_serious_label = None
    if decisions.prediction_sets is not None and decisions.most_serious is not None:
        by_probability = np.argsort(-p, kind="stable")
        members = by_probability[decisions.prediction_sets[position, by_probability]]
        prediction_set = tuple(classes[member] for member in members)
        most_serious_label = classes[decisions.most_serious[position]]
    points = tuple(AppliedPoint(point.name, point.threshold, point.bound) for point in rules.operating_points)
    risk = RISKS[decisions.risk[position]]
    action_code, action = ACTIONS[risk]
    return replace(
        result,
        probabilities=dict(zip(classes, p.tolist(), strict=True)),
        cancer_probability=float(decisions.cancer_probability[position]),
        predicted_class=classes[decisions.predicted[position]],
        cancer_classes=rules.cancer_classes,
        class_priors=dict(zip(classes, priors, strict=True)) if priors else None,
        prevalence=float(np.array(priors)[rules.is_cancer].sum()) if priors else None,
        operating_point=points[0],
        operating_points=points,
        risk=risk,
        action=action,
        action_code=action_code,
        prediction_set=prediction_set,
        most_serious_label=most_serious_label,
        confidence=_confidence(result.quality, decisions, position),
    )


def _confidence(quality: Quality | None, decisions: Decisions, position: int) -> Confidence | None:
    """The confidence in a decision; LOW where the picture itself is doubtful. None without a rule."""
    if decisions.confidence is None:
        return None
    confidence = decisions.confidence.of(position)
    # A picture with failures is here only if the quality gate is off.
    if quality is not None and (quality.failed or DOUBTFUL.intersection(quality.advised)):
        return replace(confidence, score=0.0, level="LOW")
    return confidence
