"""What the default bundle decides on the images of a committed evaluation, gates left out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.evaluation.committed import Evaluations, find
from edgeskin.arrays import Bools, Float64s
from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import DecisionRules
from edgeskin.decision.calibration import cancer_probability, probabilities
from edgeskin.decision.confidence import confidences
from edgeskin.decision.decide import decide
from edgeskin.results import Precision

SPLITS = ("val", "test")


@dataclass(frozen=True)
class Decided:
    """Decisions on n images, also on those that the gates would refuse.

    Attributes:
        rules: Of the precision.
        truth: Class positions, (n,).
        is_cancer: Of the true class, (n,).
        lesions: Their ids, (n,).
        groups: Lesions, or patients where they are known; n.
        p: Calibrated probabilities, (n, C).
        p_cancer: Their sum over the cancer classes, (n,).
        referred: Whether P(cancer) reaches the screening threshold, (n,).
        parts: The parts of the confidence, 0 to 1, (n, 4).
        confidence: Their weighted sum, (n,).
        ood: The out-of-distribution score, (n,).
    """

    rules: DecisionRules
    truth: npt.NDArray[np.int64]
    is_cancer: Bools
    lesions: npt.NDArray[np.str_]
    groups: list[str]
    p: Float64s
    p_cancer: Float64s
    referred: Bools
    parts: Float64s
    confidence: Float64s
    ood: Float64s

    @property
    def is_wrong(self) -> Bools:
        """Cancers that are not referred, and benign images that are."""
        return np.asarray(self.referred != self.is_cancer)

    @property
    def is_missed(self) -> Bools:
        """Cancers that are not referred."""
        return np.asarray(self.is_cancer & ~self.referred)

    @property
    def rankings(self) -> dict[str, Float64s]:
        """Scores by which decisions can be ranked, by name."""
        decisiveness, _, margin, _ = self.parts.T
        return {"confidence": self.confidence, "margin alone": margin, "decisiveness alone": decisiveness}


def decided(evaluations: Evaluations, split: str, precision: Precision) -> Decided:
    """Decide on the committed predictions of a split."""
    predictions, manifest = find(evaluations, f"{split}-{precision}").predictions, open_bundle().manifest
    rules = manifest.decision_rules[precision]
    assert rules.confidence is not None
    assert predictions.view_logits is not None
    assert predictions.ood is not None
    truth = np.array([rules.classes.index(sample.label) for sample in predictions.samples])
    decisions = decide(predictions.logits[:, None], rules)
    # logits.npz stores the views in half precision. Their mean would change P(cancer) by up to 0.0003 and one
    # referral of validation, so `decide` gets the exact mean, and the views give the stability alone.
    view_p = probabilities(predictions.view_logits.astype(np.float64), rules.calibration)
    view_p_cancer = cancer_probability(view_p, rules.is_cancer)
    confidence = confidences(
        decisions.cancer_probability, view_p_cancer, rules.screening_threshold, rules.confidence
    )
    return Decided(
        rules,
        truth,
        rules.is_cancer[truth],
        np.array([sample.lesion_id for sample in predictions.samples]),
        [sample.group for sample in predictions.samples],
        decisions.probabilities,
        decisions.cancer_probability,
        decisions.is_referred,
        confidence.parts,
        confidence.score,
        predictions.ood.sum(axis=1).astype(np.float64),
    )
