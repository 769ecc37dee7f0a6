"""What edgeskin says of one image. Frozen, JSON-ready; fields are added over time, never renamed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgeskin.decision import Risk

SCHEMA_VERSION = 1
Status = Literal["assessed", "retake", "out_of_scope", "error"]


@dataclass(frozen=True)
class AppliedPoint:
    """The operating point that decided: a threshold on P(cancer), 0 to 1."""

    name: str
    threshold: float


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


@dataclass(frozen=True)
class Assessment:
    """One image's result. Only status ``assessed`` carries a risk: what could not be read is never low.

    probabilities: calibrated, by class, summing to 1. cancer_probability: their sum over the cancer
    classes. timing_ms: milliseconds by step. Parts that this version does not compute are None.
    """

    schema_version: int
    image: str
    status: Status
    probabilities: Mapping[str, float] | None
    cancer_probability: float | None
    predicted_class: str | None
    operating_point: AppliedPoint | None
    risk: Risk | None
    action: str | None
    label_set: tuple[str, ...] | None
    certainty: Mapping[str, Any] | None
    uncertainty: Mapping[str, Any] | None
    ood: Mapping[str, Any] | None
    quality: Mapping[str, Any] | None
    model: ModelInfo
    timing_ms: Mapping[str, float]
    error: Failure | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data in the order of the fields, ready for ``json.dumps``."""
        return asdict(self)
