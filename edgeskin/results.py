"""What an assessment consists of: frozen dataclasses that are equal by value, and their JSON of schema 1.

A field's JSON key is its name, unless the field names another one: schema 1 keeps the words of its first
version. Fields are added over time; none is renamed or removed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np

from edgeskin import NOTICE
from edgeskin.arrays import Bools, Float32s, Image, Mask

SCHEMA_VERSION = 1
Status = Literal["assessed", "retake", "out_of_scope", "error"]
Risk = Literal["LOW", "MEDIUM", "HIGH"]
RISKS: tuple[Risk, ...] = get_args(Risk)
"""By rising risk."""
Level = Literal["LOW", "MEDIUM", "HIGH"]
ActionCode = Literal["refer_urgently", "refer", "no_referral", "retake", "out_of_scope"]
Precision = Literal["int8", "fp32"]
Method = Literal["grad-cam", "grad-cam++", "layer-cam", "eigen-cam", "occlusion"]

QUALITY_MEASURES = (
    "transparent", "resolution", "sharpness", "brightness", "contrast", "overexposed", "black",
    "unnatural_colour", "colour_variation", "red_excess", "hair", "misfit", "lesion_area", "lesion_offset",
)  # fmt: skip
"""Keys of `Quality.measures`, the same for every photo; `edgeskin.imaging.quality` measures them."""

SAFETY_NET = (
    "whatever this says, a lesion that changes, bleeds or itches, or that worries anyone, should be examined"
)
LOW_EVIDENCE = 0.02
"""Of a Grad-CAM map's largest value, in units of the target's score a cell; chosen on validation."""
EXPLANATION_SCHEMA_VERSION = 1
_NOT_IN_JSON = ""
TEXT_COLUMNS = frozenset(
    (
        "image", "status", "risk", "action_code", "predicted_class", "prediction_set", "most_serious_label",
        "confidence_level", "quality_failed", "quality_advised", "limitations", "model", "model_version",
        "model_sha256", "precision", "isa", "error_code", "error",
    )
)  # fmt: skip
"""The columns of `Assessment.to_row` that hold text; all others hold numbers."""


def _json(key: str) -> dict[str, str]:
    """Metadata of a dataclass field whose JSON key in schema 1 differs from its name."""
    return {"json": key}


def to_plain(value: Any) -> Any:
    """Dataclasses, mappings and tuples as dicts and lists under their JSON keys, ready for ``json.dumps``."""
    if is_dataclass(value) and not isinstance(value, type):
        keys = {one.name: one.metadata.get("json", one.name) for one in fields(value)}
        return {key: to_plain(getattr(value, name)) for name, key in keys.items() if key != _NOT_IN_JSON}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


class EqualByValue:
    """Compares dataclasses that hold arrays field by field; ``==`` on arrays alone gives an array."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert is_dataclass(self)
        pairs = ((getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        return all(_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return not isinstance(one, np.ndarray) and not isinstance(other, np.ndarray) and bool(one == other)


@dataclass(frozen=True)
class SensitivityBound:
    """The lower confidence bound on the sensitivity of a threshold.

    At least ``sensitivity`` of new cancer lesions score above the threshold, with this ``confidence``, if
    they are drawn as the ``lesions`` were on which it was chosen. ``missed`` of those lie below it.

    Raises:
        ValueError: A share is outside 0 to 1, or more lesions are missed than there are.
    """

    sensitivity: float
    confidence: float
    lesions: int
    missed: int

    def __post_init__(self) -> None:
        shares = (self.sensitivity, self.confidence)
        if not (all(0 <= share <= 1 for share in shares) and 0 <= self.missed <= self.lesions):
            raise ValueError(f"{self}: shares must be 0 to 1, and no more missed than there are lesions")


@dataclass(frozen=True)
class AppliedPoint:
    """A named threshold on P(cancer), 0 to 1, and its bound; None where it was not certified."""

    name: str
    threshold: float
    bound: SensitivityBound | None = field(default=None, metadata=_json("certificate"))


@dataclass(frozen=True)
class ModelInfo:
    """The network that answered.

    Attributes:
        name: Of the bundle.
        version: Of the bundle.
        sha256: Of the bundle's manifest.
        precision: ``int8`` or ``fp32``.
        isa: The instruction set it ran with.
        classes: Codes of the classes that it knows.
    """

    name: str
    version: str
    sha256: str
    precision: str
    isa: str
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a picture could not be assessed. code: stable, for programs (see `edgeskin.errors`)."""

    type: str
    message: str
    code: str


@dataclass(frozen=True)
class ConfidenceParts:
    """What confidence is made of, each 0 to 1; formulas in `edgeskin.decision.confidence`."""

    decisiveness: float = field(metadata=_json("confidence"))
    calibration: float
    margin: float = field(metadata=_json("clarity"))
    stability: float


@dataclass(frozen=True)
class Confidence:
    """How unlikely an error is: a score of 0 to 1, and its level by the bundle's rule."""

    score: float
    level: Level
    parts: ConfidenceParts


@dataclass(frozen=True)
class Uncertainty:
    """MC-dropout statistics of one picture.

    probabilities: mean by class, summing to 1. cancer_probability, cancer_std, cancer_interval: mean,
    standard deviation and 2.5% to 97.5% quantiles of P(cancer) over the samples. entropy: of the mean
    probabilities, in nats, 0 to log C. It is the sum of aleatoric (mean entropy of the samples) and epistemic
    (their mutual information with the weights; Houlsby et al., 2011), which is how far the sampled networks
    disagree.
    """

    samples: int
    seed: int
    probabilities: Mapping[str, float]
    cancer_probability: float
    cancer_std: float
    cancer_interval: tuple[float, float]
    entropy: float
    aleatoric: float
    epistemic: float


@dataclass(frozen=True)
class Ood:
    """Distance from the training pictures: features + picture. Above the threshold it is out of scope."""

    score: float
    threshold: float
    features: float
    picture: float


@dataclass(frozen=True)
class Quality:
    """The quality of a photo.

    Attributes:
        measures: The result of `edgeskin.imaging.quality.measure`.
        retake: Instructions for a new photo. If there are any, the photo is not assessed.
        advice: Instructions that would make a better photo.
        failed: Codes of the retake limits that are not met, one for each instruction in ``retake``.
        advised: Codes of the advice limits that are not met, one for each instruction in ``advice``.
    """

    measures: Mapping[str, float]
    retake: tuple[str, ...]
    advice: tuple[str, ...]
    failed: tuple[str, ...]
    advised: tuple[str, ...]


@dataclass(frozen=True)
class Limitation:
    """A known limitation of the network that applies, or may apply, to this case.

    code: for programs. subject: what the network is less reliable or untested for. text: a sentence on it.
    """

    code: str
    subject: str
    text: str


@dataclass(frozen=True)
class Descriptors:
    """What a lesion's mask looks like. Fractions are of the centre square; a photo has no scale.

    Attributes:
        asymmetry: Share of the lesion's area that is not covered by its own mirror image, across the long and
            the short axis through its centre; 0 is symmetric, at most 1.
        border_irregularity: perimeter^2 / (4 pi area) of the smoothed border; 1 for a circle, more for a long
            or jagged shape.
        colors: Share of the lesion that is nearest to each colour of `edgeskin.imaging.descriptors.COLORS`,
            largest first, without small ones. The colour of the skin may be among them.
        area_fraction: The lesion's area, as a share of the square's.
        diameter_fraction: The lesion's longest extent, in sides of the square.
        cut_off: Whether the lesion reaches the edge of the square. All values are then of the visible part.
    """

    asymmetry: tuple[float, float]
    border_irregularity: float
    colors: dict[str, float]
    area_fraction: float
    diameter_fraction: float
    cut_off: bool


@dataclass(frozen=True, eq=False)
class Explanation(EqualByValue):
    """Where the evidence for a target lies in the centre square that the network saw.

    map: float32 (h, w), 0 or more; of Grad-CAM in units of the target's score a cell. All 0 where nothing
    speaks for the target. target: ``cancer`` or a class; None with ``eigen-cam``, which shows what stands out
    in the features. model: whose answer it explains.
    """

    method: Method
    target: str | None
    map: Float32s
    model: ModelInfo

    @property
    def low_evidence(self) -> bool:
        """Whether Grad-CAM's largest value is below LOW_EVIDENCE.

        Hardly anything then speaks for the target, and the maximum is as likely in a corner
        (``python -m benchmarks.explanations.low_evidence``).
        """
        return self.method == "grad-cam" and float(self.map.max()) < LOW_EVIDENCE

    def resized(self, side: int) -> Float32s:
        """The map at (side, side), interpolated, 0 or more."""
        resized = cv2.resize(self.map, (side, side), interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.maximum(resized, 0), dtype=np.float32)

    def normalized(self, side: int) -> Float32s:
        """The map at (side, side), 0 to 1 between its 10% and 99% quantiles; all 0 where it is flat."""
        resized = self.resized(side)
        low, high = np.quantile(resized, (0.1, 0.99)).tolist()
        if high <= low:
            return np.zeros_like(resized)
        return np.asarray(np.clip((resized - low) / (high - low), 0, 1), dtype=np.float32)

    def hottest(self, side: int, share: float = 0.2) -> Bools:
        """The share of the square with the most evidence, (side, side); less where less has any."""
        resized = self.resized(side)
        return np.asarray((resized > 0) & (resized >= np.quantile(resized, 1 - share)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for ``json.dumps``."""
        rounded = np.round(self.map.astype(float), 6).tolist()
        values = to_plain(self) | {"map": rounded, "faint": self.low_evidence}
        return {"schema_version": EXPLANATION_SCHEMA_VERSION, **values}


SHOWN_SIDE = 448
"""Pixels a side, at most, of the square that is shown to people."""


@dataclass(frozen=True, eq=False)
class Pixels(EqualByValue):
    """What is shown to people, never part of the JSON.

    square: the photo's centre square, uint8 RGB (s, s, 3). mask: the lesion, found by its colour, (m, m), all
    False where nothing stands out; None when the photo was not assessed.
    """

    square: Image
    mask: Mask | None = None


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """The result of one picture.

    Only status ``assessed`` carries a risk: a picture that could not be read (``error``), is not good enough
    (``retake``) or is not of a known kind (``out_of_scope``) is never low risk. Parts that the bundle has no
    rule for, or that were not asked for, are None.

    Attributes:
        image: The path, the ``name`` given to `Classifier.assess`, or the type of the source.
        probabilities: Calibrated, by class, summing to 1.
        cancer_probability: Their sum over the cancer classes. It holds where the share of cancers is
            ``prevalence``, as on validation; where cancer is rarer it is too high.
        predicted_class: The most probable class after prior correction by ``class_priors``, if the bundle has
            them: the class if all were equally frequent.
        operating_point: The screening point; below its threshold the risk is LOW.
        operating_points: All points by rising threshold; from the last one on the risk is HIGH.
        action, action_code: What should happen next, for people and for programs.
        prediction_set: Plausible classes, by falling probability. most_serious_label: The most serious of
        them. limitations: Known limitations that apply or may apply. timing_ms: Milliseconds by step.
        descriptors, explanation, pixels: With ``explain=`` only.
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
    action_code: ActionCode | None = None
    prediction_set: tuple[str, ...] | None = field(default=None, metadata=_json("label_set"))
    most_serious_label: str | None = field(default=None, metadata=_json("leading_label"))
    confidence: Confidence | None = field(default=None, metadata=_json("certainty"))
    uncertainty: Uncertainty | None = None
    ood: Ood | None = None
    quality: Quality | None = None
    model: ModelInfo
    timing_ms: Mapping[str, float] = field(compare=False)
    error: Failure | None = None
    limitations: tuple[Limitation, ...] = ()
    safety_net: str = SAFETY_NET
    notice: str = NOTICE
    cancer_classes: tuple[str, ...] | None = None
    descriptors: Descriptors | None = None
    explanation: Explanation | None = None
    pixels: Pixels | None = field(default=None, metadata=_json(_NOT_IN_JSON))

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema 1 as plain data, ready for ``json.dumps``."""
        values: dict[str, Any] = to_plain(self)
        return values | {
            "blind_spots": [limitation.text for limitation in self.limitations],
            "explanation": self.explanation.to_dict() if self.explanation else None,
        }

    def to_row(self) -> dict[str, str | float | int | None]:
        """One flat row for tables: text and numbers alone, the same columns for every status of a bundle.

        Lists are joined by ``|``. From ``urgent_threshold`` on the risk is HIGH. Columns ``p_CLASS`` and
        ``quality_NAME`` are None where there is no value.
        """
        confidence, quality, ood = self.confidence, self.quality, self.ood
        row: dict[str, str | float | int | None] = {
            "image": self.image,
            "status": self.status,
            "risk": self.risk,
            "action_code": self.action_code,
            "cancer_probability": self.cancer_probability,
            "threshold": self.operating_point.threshold if self.operating_point else None,
            "urgent_threshold": self.operating_points[-1].threshold if self.operating_points else None,
            "predicted_class": self.predicted_class,
            "prediction_set": None if self.prediction_set is None else "|".join(self.prediction_set),
            "most_serious_label": self.most_serious_label,
            "confidence_level": confidence.level if confidence else None,
            "confidence_score": confidence.score if confidence else None,
            "ood_score": ood.score if ood else None,
            "ood_threshold": ood.threshold if ood else None,
            "ood_features": ood.features if ood else None,
            "ood_picture": ood.picture if ood else None,
            "quality_failed": "|".join(quality.failed) if quality else None,
            "quality_advised": "|".join(quality.advised) if quality else None,
            "limitations": "|".join(limitation.code for limitation in self.limitations),
            "model": self.model.name,
            "model_version": self.model.version,
            "model_sha256": self.model.sha256,
            "precision": self.model.precision,
            "isa": self.model.isa,
            "total_ms": self.timing_ms.get("total"),
            "error_code": self.error.code if self.error else None,
            "error": self.error.message if self.error else None,
        }
        p, measures = self.probabilities or {}, quality.measures if quality else {}
        row |= {f"quality_{name}": measures.get(name) for name in QUALITY_MEASURES}
        return row | {f"p_{name}": p.get(name) for name in self.model.classes}
