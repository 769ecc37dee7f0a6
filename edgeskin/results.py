"""What edgeskin says of one image. Frozen, JSON-ready; fields are added over time, never renamed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgeskin import NOTICE
from edgeskin.decision.confidence import Certainty
from edgeskin.decision.decide import SAFETY_NET, Risk
from edgeskin.decision.mc_dropout import Uncertainty
from edgeskin.decision.ood import Ood
from edgeskin.decision.operating_points import Certificate
from edgeskin.imaging.quality import Quality

SCHEMA_VERSION = 1
Status = Literal["assessed", "retake", "out_of_scope", "error"]


@dataclass(frozen=True)
class AppliedPoint:
    """A named threshold on P(cancer), 0 to 1. certificate: what it promises, None where nothing."""

    name: str
    threshold: float
    certificate: Certificate | None = None


@dataclass(frozen=True)
class ModelInfo:
    """Which network answered: sha256 is that of the bundle's manifest, isa the instruction set."""

    name: str
    version: str
    sha256: str
    precision: str
    isa: str


@dataclass(frozen=True)
class Failure:
    """Why there is no assessment."""

    type: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """One image's result. Only status ``assessed`` carries a risk: what could not be read, is not good enough
    to be judged (``retake``) or no picture that the network knows (``out_of_scope``) is never low.

    probabilities: calibrated, by class, summing to 1; frequencies on pictures like validation's alone.
    cancer_probability: their sum over the cancer classes, for a share of cancers like prevalence, its mean on
    validation; where cancer is rarer it is too high. predicted_class: the most probable one if every
    class were as frequent, by class_priors, where the bundle has them; else the most probable one.
    operating_point: the screening point, below which the risk is LOW. operating_points: all, by rising
    threshold; from the last one on the risk is HIGH. label_set: classes that are plausible, by falling
    probability; leading_label: the most serious of them. uncertainty: when sampled. ood: how far the
    picture is from those that the network knows. blind_spots: where little is known that applies, or may
    apply. timing_ms: milliseconds by step. safety_net, notice: what the reader has to know. Parts that the
    bundle holds nothing for are None.
    """

    schema_version: int = SCHEMA_VERSION
    image: str
    status: Status
    probabilities: Mapping[str, float] | None = None
    cancer_probability: float | None = None
    predicted_class: str | None = None
    class_priors: Mapping[str, float] | None = None
    prevalence: float | None = None
    operating_point: AppliedPoint | None = None
    operating_points: tuple[AppliedPoint, ...] | None = None
    risk: Risk | None = None
    action: str | None = None
    label_set: tuple[str, ...] | None = None
    leading_label: str | None = None
    certainty: Certainty | None = None
    uncertainty: Uncertainty | None = None
    ood: Ood | None = None
    quality: Quality | None = None
    model: ModelInfo
    timing_ms: Mapping[str, float]
    error: Failure | None = None
    blind_spots: tuple[str, ...] = ()
    safety_net: str = SAFETY_NET
    notice: str = NOTICE
    cancer_classes: tuple[str, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data in the order of the fields, ready for ``json.dumps``."""
        return asdict(self)
