"""What is fitted on validation to the outputs of one precision, and how a manifest holds it.

Everything past the operating points is optional: a bundle without it opens, and that part of an assessment
is None.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edgeskin.decision.confidence import CertaintyRule
from edgeskin.decision.operating_points import Certificate, certified_threshold
from edgeskin.errors import SettingError

Part = TypeVar("Part")
SCREENING_POINT = "screen"
LEAST_SENSITIVITY = 0.8
"""Below it LOW would hold too many cancers to be called so."""


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on P(cancer), fixed on validation for a sensitivity of ``target_recall``.

    recall, specificity: what it gave there, by image, 0 to 1. certificate: what it promises for new
    lesions; None where it was chosen by its recall alone.
    """

    name: str
    threshold: float
    target_recall: float
    recall: float
    specificity: float
    certificate: Certificate | None = None


@dataclass(frozen=True)
class Calibration:
    """Probabilities are softmax(weights @ log softmax(logits) + bias) (Kull et al., NeurIPS 2019).

    method: how it was fitted; temperature scaling is weights I / T without bias. weights: (C, C). bias:
    (C,).
    """

    method: str
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]


@dataclass(frozen=True)
class LesionScores:
    """P(cancer) of validation's lesions, rising: of each cancer its photo with the least, of each other
    lesion its photo with the most; from calibrations that had not seen the lesion.
    """

    cancer: tuple[float, ...]
    others: tuple[float, ...]

    def __post_init__(self) -> None:
        for scores in (self.cancer, self.others):
            if list(scores) != sorted(scores) or not all(0 <= score <= 1 for score in scores):
                raise ValueError("lesion scores must rise from 0 to 1 at most")


@dataclass(frozen=True)
class LabelSets:
    """A class is in the label set from its threshold on, so that of each class's lesions ``coverage`` have
    it.

    thresholds: (C,), on the class's probability; 0 where too few lesions support one: always in the set.
    lesions: (C,), that it was fitted on.
    """

    coverage: float
    thresholds: tuple[float, ...]
    lesions: tuple[int, ...]


@dataclass(frozen=True)
class Variant:
    """What is fitted to one precision's own outputs: calibration, and operating points by falling recall.

    class_priors: (C,), mean probability that the network gives each class on validation, which the decision
    for a class is freed of; empty: the most probable class is decided for. lesion_scores: what thresholds
    of other sensitivities are chosen on. ood_threshold: a picture above it is out of scope.
    """

    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]
    class_priors: tuple[float, ...] = ()
    lesion_scores: LesionScores | None = None
    label_sets: LabelSets | None = None
    certainty: CertaintyRule | None = None
    ood_threshold: float | None = None


def operating_points(variant: Variant, sensitivity: float | None = None) -> tuple[OperatingPoint, ...]:
    """The variant's, or with a screening point of the user's own sensitivity, and those of higher thresholds.

    Its recall and specificity are by lesion. Raises SettingError when the bundle has no lesions to certify
    it on, or too few.
    """
    if sensitivity is None:
        return variant.operating_points
    if not LEAST_SENSITIVITY <= sensitivity < 1:
        raise SettingError(f"sensitivity {sensitivity!r}: choose {LEAST_SENSITIVITY} or more, and below 1")
    scores = variant.lesion_scores
    if scores is None:
        raise SettingError("this bundle holds no lesions to certify a sensitivity on; quantize its run anew")
    threshold, certificate = certified_threshold(scores.cancer, sensitivity)
    own = OperatingPoint(
        SCREENING_POINT,
        threshold,
        sensitivity,
        recall=1 - certificate.missed / certificate.lesions,
        specificity=sum(score < threshold for score in scores.others) / max(1, len(scores.others)),
        certificate=certificate,
    )
    return (own, *(point for point in variant.operating_points[1:] if point.threshold > threshold))


def temperature_scaling(temperature: float, n_classes: int) -> Calibration:
    """softmax(logits / temperature) (Guo et al., ICML 2017). Raises ValueError unless it is 0.01 to 100."""
    if not 0.01 <= temperature <= 100:
        raise ValueError(f"temperature {temperature}: expected 0.01 to 100")
    rows = tuple(tuple(float(i == j) / temperature for j in range(n_classes)) for i in range(n_classes))
    return Calibration("temperature", rows, (0.0,) * n_classes)


def read_calibration(values: Mapping[str, Any]) -> Calibration:
    """From plain data, as in a manifest. Raises ValueError unless it is (C, C), above 0 on the diagonal,
    and (C,), all within +-100.
    """
    weights = tuple(tuple(float(weight) for weight in row) for row in values["weights"])
    bias = tuple(float(value) for value in values["bias"])
    numbers = (*bias, *(weight for row in weights for weight in row))
    if {len(weights), *map(len, weights)} != {len(bias)} or not all(abs(number) <= 100 for number in numbers):
        raise ValueError("calibration needs weights (C, C) and bias (C,), all within +-100")
    if not all(row[position] > 0 for position, row in enumerate(weights)):
        raise ValueError("calibration needs weights above 0 on the diagonal")
    return Calibration(str(values["method"]), weights, bias)


def read_variant(values: Mapping[str, Any], n_classes: int) -> Variant:
    """From plain data, as in a manifest; of schema 1 with a temperature instead of a calibration.

    Raises ValueError, TypeError or KeyError when it is not complete, or out of range.
    """
    calibration = (
        read_calibration(values["calibration"])
        if "calibration" in values
        else temperature_scaling(float(values["temperature"]), n_classes)
    )
    variant = Variant(
        calibration,
        tuple(_point(point) for point in values["operating_points"]),
        tuple(float(prior) for prior in values.get("class_priors", ())),
        _optional(values, "lesion_scores", _lesion_scores),
        _optional(values, "label_sets", _label_sets),
        _optional(values, "certainty", _certainty),
        _optional(values, "ood_threshold", float),
    )
    _require_sound(variant, n_classes)
    return variant


def _require_sound(variant: Variant, n_classes: int) -> None:
    points, priors, sets = variant.operating_points, variant.class_priors, variant.label_sets
    thresholds = [point.threshold for point in points]
    if not thresholds or sorted(thresholds) != thresholds or len(variant.calibration.bias) != n_classes:
        raise ValueError("operating points must rise in threshold, calibration be for every class")
    if points[0].name != SCREENING_POINT:
        raise ValueError(f"the first operating point must be {SCREENING_POINT!r}")
    if not all(0 <= threshold <= 1 for threshold in thresholds):
        raise ValueError(f"thresholds {thresholds} outside 0 to 1")
    if priors and (len(priors) != n_classes or not all(0 < prior <= 1 for prior in priors)):
        raise ValueError(f"class priors {priors}: expected one above 0 for each class, or none")
    if sets and not (
        len(sets.thresholds) == len(sets.lesions) == n_classes and all(0 <= t <= 1 for t in sets.thresholds)
    ):
        raise ValueError("label sets need a threshold, 0 to 1, and a number of lesions for every class")
    if variant.ood_threshold is not None and not math.isfinite(variant.ood_threshold):
        raise ValueError(f"threshold for what is out of scope {variant.ood_threshold}: not finite")


def _optional(values: Mapping[str, Any], name: str, read: Callable[[Any], Part]) -> Part | None:
    return None if values.get(name) is None else read(values[name])


def _point(values: Mapping[str, Any]) -> OperatingPoint:
    certificate = _optional(values, "certificate", lambda told: Certificate(**told))
    return OperatingPoint(**dict(values) | {"certificate": certificate})


def _lesion_scores(values: Mapping[str, Any]) -> LesionScores:
    return LesionScores(_floats(values["cancer"]), _floats(values["others"]))


def _label_sets(values: Mapping[str, Any]) -> LabelSets:
    lesions = tuple(int(count) for count in values["lesions"])
    return LabelSets(float(values["coverage"]), _floats(values["thresholds"]), lesions)


def _certainty(values: Mapping[str, Any]) -> CertaintyRule:
    weights, bounds, gaps = (_floats(values[name]) for name in ("weights", "bounds", "gaps"))
    return CertaintyRule(weights, bounds, gaps, float(values["low"]), float(values["high"]))


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
