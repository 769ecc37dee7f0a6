"""What is explained: P(cancer) or a class, as a score of the logits and its gradient."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Bools, Float64s
from edgeskin.bundle.manifest import Calibration, DecisionRules
from edgeskin.decision.calibration import probabilities
from edgeskin.errors import SettingError

CANCER = "cancer"


@dataclass(frozen=True)
class Target:
    """A target. name: ``cancer`` or a class. members: (C,), the classes that it consists of."""

    name: str
    members: Bools
    calibration: Calibration

    def score(self, logits: npt.NDArray[np.floating]) -> Float64s:
        """The logit of a class, or the log odds of calibrated P(cancer): logits (..., C) -> (...)."""
        if self.name != CANCER:
            return np.asarray(logits[..., self.members.argmax()], dtype=np.float64)
        p = np.maximum(probabilities(logits, self.calibration), np.finfo(np.float64).tiny)
        return np.asarray(np.log(p[..., self.members].sum(-1)) - np.log(p[..., ~self.members].sum(-1)))

    def gradient(self, logits: npt.NDArray[np.floating]) -> Float64s:
        """Gradient of the score with respect to the logits (C,) of one picture, (C,)."""
        if self.name != CANCER:
            return self.members.astype(np.float64)
        # Log odds = logsumexp of the members' calibrated logits - logsumexp of the others'.
        p = np.maximum(probabilities(logits, self.calibration), np.finfo(np.float64).tiny)
        within = np.where(self.members, p / p[self.members].sum(), -p / p[~self.members].sum())
        by_log_softmax = within @ np.array(self.calibration.weights)
        return np.asarray(by_log_softmax - probabilities(logits) * by_log_softmax.sum())


def find_target(name: str, rules: DecisionRules) -> Target:
    """The target of a name: ``cancer`` or a class. Raises SettingError for any other.

    ``cancer`` is refused too where every class is one, as its odds are infinite.
    """
    if name not in (CANCER, *rules.classes):
        raise SettingError(f"target {name!r}: choose {CANCER} or one of {', '.join(rules.classes)}")
    if name == CANCER and rules.is_cancer.all():
        raise SettingError(f"target {name!r}: every class of this bundle is cancer; choose one of them")
    members = rules.is_cancer if name == CANCER else np.isin(rules.classes, [name])
    return Target(name, members, rules.calibration)
