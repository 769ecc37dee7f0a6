"""The manifest of a bundle: what the runtime needs to know of a network, and where the network comes from.

`DecisionRules` are fitted on validation to one precision's own outputs. All parts past the operating points
are optional: a bundle without one opens, and that part of an assessment is None.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from edgeskin.arrays import Bools
from edgeskin.imaging.preprocess import Preprocessing
from edgeskin.results import Precision, SensitivityBound

SCHEMA_VERSION = 4
SCREENING_POINT = "screen"
"""The name of every bundle's first operating point, below which the risk is LOW."""
N_CONFIDENCE_PARTS = 4
HEAD = "head.npz"
OOD = "ood.npz"
FILES = ("fp32.xml", "fp32.bin", "int8.xml", "int8.bin", HEAD)
OPTIONAL_FILES = (OOD,)
LARGEST_FILE = 2**31
LONGEST_NAME = 200


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on P(cancer), chosen on validation for a sensitivity of ``target_recall``.

    recall, specificity: what it gave there, by image, 0 to 1. bound: its certified sensitivity on new
    lesions; None where the threshold was chosen by its recall alone.
    """

    name: str
    threshold: float
    target_recall: float
    recall: float
    specificity: float
    bound: SensitivityBound | None = None


@dataclass(frozen=True)
class Calibration:
    """Probabilities are softmax(weights @ log softmax(logits) + bias) (Kull et al., NeurIPS 2019).

    method: how it was fitted; temperature scaling has weights I / T and no bias. weights: (C, C), above 0 on
    the diagonal. bias: (C,). All lie within +-100.
    """

    method: str
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = (*self.bias, *(weight for row in self.weights for weight in row))
        is_square = {len(self.weights), *map(len, self.weights)} == {len(self.bias)}
        if not is_square or not all(abs(number) <= 100 for number in numbers):
            raise ValueError("calibration needs weights (C, C) and bias (C,), all within +-100")
        if not all(row[position] > 0 for position, row in enumerate(self.weights)):
            raise ValueError("calibration needs weights above 0 on the diagonal")


@dataclass(frozen=True)
class LesionScores:
    """P(cancer) of validation's lesions, rising, by calibrations that had not seen the lesion.

    Attributes:
        cancer: The lowest P(cancer) among the photos of each cancer lesion, ascending.
        benign: The highest P(cancer) among the photos of each benign lesion, ascending.
        bounds: bounds[k] is the sensitivity that a threshold certifies with k cancer lesions below it. The
            list ends where the bound falls below 0.8. `quantize.fitting.operating_points` computes it.
    """

    cancer: tuple[float, ...]
    benign: tuple[float, ...]
    bounds: tuple[float, ...]

    def __post_init__(self) -> None:
        for scores in (self.cancer, self.benign):
            if list(scores) != sorted(scores) or not all(0 <= score <= 1 for score in scores):
                raise ValueError("lesion scores must rise within 0 to 1")
        falling = sorted(self.bounds, reverse=True)
        if list(self.bounds) != falling or not all(0 <= bound <= 1 for bound in self.bounds):
            raise ValueError("sensitivity bounds must fall within 1 to 0")
        if len(self.bounds) > len(self.cancer):
            raise ValueError("there are more sensitivity bounds than cancer lesions")


@dataclass(frozen=True)
class PredictionSets:
    """A class is in the prediction set from its threshold on, so that ``coverage`` of its lesions have it.

    thresholds: (C,), on the class's probability; 0 where too few lesions support one: always in the set.
    lesions: (C,), on which each threshold was fitted.
    """

    coverage: float
    thresholds: tuple[float, ...]
    lesions: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.thresholds) != len(self.lesions) or not all(0 <= t <= 1 for t in self.thresholds):
            raise ValueError("prediction sets need a threshold of 0 to 1 and a number of lesions a class")


@dataclass(frozen=True)
class ConfidenceRule:
    """How the parts of confidence make a score and a level.

    weights: of the parts, 0 or more, summing to 1. bounds: upper bounds on P(cancer) of each bin but the
    last, rising. gaps: |mean P(cancer) - share of cancers| of each bin, one more than bounds. The level is
    LOW below ``low`` and HIGH from ``high`` on.
    """

    weights: tuple[float, ...]
    bounds: tuple[float, ...]
    gaps: tuple[float, ...]
    low: float
    high: float

    def __post_init__(self) -> None:
        if len(self.weights) != N_CONFIDENCE_PARTS or not all(0 <= weight <= 1 for weight in self.weights):
            raise ValueError(f"confidence needs {N_CONFIDENCE_PARTS} weights, each 0 to 1")
        if len(self.gaps) != len(self.bounds) + 1 or not all(0 <= gap <= 1 for gap in self.gaps):
            raise ValueError("confidence needs a gap of 0 to 1 for each bin, one more than there are bounds")
        if list(self.bounds) != sorted(self.bounds) or not 0 <= self.low <= self.high <= 1:
            raise ValueError("confidence bounds and levels must rise")


@dataclass(frozen=True)
class DecisionRules:
    """All that turns the outputs of one precision into decisions.

    operating_points: by rising threshold; the first is the screening point. class_priors: (C,), mean
    probability of each class on validation, for prior correction; empty: none. lesion_scores: on which
    thresholds for other sensitivities are chosen. ood_threshold: a picture above it is out of scope.
    """

    classes: tuple[str, ...]
    cancer_classes: tuple[str, ...]
    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]
    class_priors: tuple[float, ...] = ()
    lesion_scores: LesionScores | None = None
    prediction_sets: PredictionSets | None = None
    confidence: ConfidenceRule | None = None
    ood_threshold: float | None = None

    @cached_property
    def is_cancer(self) -> Bools:
        """Which classes are cancers, (C,)."""
        return np.isin(self.classes, self.cancer_classes)

    @property
    def screening_threshold(self) -> float:
        """Of the screening point; below it the risk is LOW."""
        return self.operating_points[0].threshold

    def __post_init__(self) -> None:
        n_classes, priors = len(self.classes), self.class_priors
        unknown = set(self.cancer_classes) - set(self.classes)
        if unknown or not self.cancer_classes or len(set(self.classes)) != n_classes:
            raise ValueError(f"classes {self.classes} and cancer classes {self.cancer_classes} do not fit")
        if len(self.calibration.bias) != n_classes:
            raise ValueError(f"the calibration has {len(self.calibration.bias)} classes, not {n_classes}")
        thresholds = [point.threshold for point in self.operating_points]
        if (
            not thresholds
            or sorted(thresholds) != thresholds
            or not 0 <= thresholds[0] <= thresholds[-1] <= 1
        ):
            raise ValueError(f"thresholds {thresholds} of the operating points must rise within 0 to 1")
        if self.operating_points[0].name != SCREENING_POINT:
            raise ValueError(f"the first operating point must be {SCREENING_POINT!r}")
        if priors and (len(priors) != n_classes or not all(0 < prior <= 1 for prior in priors)):
            raise ValueError(f"class priors {priors}: expected one above 0 for each class, or none")
        if self.prediction_sets and len(self.prediction_sets.thresholds) != n_classes:
            raise ValueError("prediction sets need a threshold for each class")
        if self.ood_threshold is not None and not math.isfinite(self.ood_threshold):
            raise ValueError(f"ood_threshold {self.ood_threshold} is not finite")


@dataclass(frozen=True)
class MeasureReference:
    """How a measure is distributed over the pictures of a reference; `edgeskin.monitoring` compares with it.

    Pictures are ranked by the measure, and those of equal value by random numbers.

    Attributes:
        pictures: Their number.
        bounds: Values of the pictures at some ranks, rising, which divide the ranks into cells.
        ties: Random numbers of these pictures, 0 to 1.
        sizes: Gaps between neighbouring ranks in each cell, one more than bounds. All together are pictures
            + 1, and a new picture falls into each gap with equal chance.
        upper: Upper bounds of the bins that are shown, rising; a bin includes its bound.
        counts: Pictures in each bin, one more than upper.
    """

    pictures: int
    bounds: tuple[float, ...]
    ties: tuple[float, ...]
    sizes: tuple[int, ...]
    upper: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        cells = list(zip(self.bounds, self.ties, strict=False))
        is_whole = len(self.bounds) == len(self.ties) == len(self.sizes) - 1
        if not is_whole or cells != sorted(cells) or not all(0 <= tie <= 1 for tie in self.ties):
            raise ValueError("the bounds of a reference must rise, with a tie of 0 to 1 and a cell for each")
        if min(self.sizes) < 1 or sum(self.sizes) != self.pictures + 1:
            raise ValueError(f"the cells of a reference must hold {self.pictures + 1} gaps, and each some")
        if len(self.counts) != len(self.upper) + 1 or list(self.upper) != sorted(set(self.upper)):
            raise ValueError("the bins of a reference must rise, with a count for each")
        if min(self.counts) < 0 or sum(self.counts) != self.pictures:
            raise ValueError(f"the bins of a reference must hold {self.pictures} pictures")


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each channel (R, G, B) of pixels from 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class WeightsSource:
    """Where weights come from, without a path.

    Attributes:
        source: ``hub``, ``none``, the name of a file, or name and version of a bundle.
        sha256: Of the file, or of the bundle's manifest.
        kind: ``bundle``, or None for anything else.
    """

    source: str
    sha256: str | None = None
    kind: Literal["bundle"] | None = None


@dataclass(frozen=True)
class RunRecord:
    """How a network was trained: the ``run.json`` of a training run, which its bundle's manifest keeps.

    Attributes:
        config: The settings as plain data; `train.config.read_config` reads them.
        split_sha256: Of the table's split.
        initial_weights: Where the weights came from before training.
        images: Number of images by split.
        learned_sha256: Of the training images without the fold left out; None in older runs.
        soft_labels_sha256: Of the file of soft labels, if there was one.
        teacher: The bundle that it was distilled from, if there was one.
        machine: Version of Python and the processor's architecture.
        versions: Versions of the libraries.
        normalization: Of the images; None in runs of 0.11.0 and before, which used ImageNet's.
        scores: Validation metrics of the selected epoch, such as ``val_cancer_auroc``.
        epoch: The selected epoch (from 0); None until the run is finished.
        unpacked_from: The bundles that a run was written from, the latest first.
    """

    config: Mapping[str, Any]
    split_sha256: str
    initial_weights: WeightsSource
    images: Mapping[str, int] = field(default_factory=dict)
    learned_sha256: str | None = None
    soft_labels_sha256: str | None = None
    teacher: WeightsSource | None = None
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    normalization: Normalization | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    epoch: int | None = None
    unpacked_from: tuple[WeightsSource, ...] = ()


@dataclass(frozen=True)
class TrainingRecord:
    """The training behind a bundle. images: their number by split, class and source."""

    seed: int | None = None
    split_sha256: str | None = None
    images: Mapping[str, Mapping[str, Mapping[str, int]]] | None = None
    run: RunRecord | None = None


@dataclass(frozen=True)
class FileRecord:
    """A file of the bundle: SHA-256 in hex, and bytes, at most LARGEST_FILE."""

    sha256: str
    size: int

    def __post_init__(self) -> None:
        if not 0 <= self.size <= LARGEST_FILE:
            raise ValueError(f"a file has 0 to {LARGEST_FILE} bytes, not {self.size}")


@dataclass(frozen=True)
class Manifest:
    """A bundle's manifest.json.

    decision_rules: by precision. ood: how OOD scores compare; None where there was nothing to fit them on.
    validation, gate, versions: for people and documents; the runtime does not read them. reference: of
    validation, by precision and measure; None in bundles of 0.14.0 and before.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    cancer_classes: tuple[str, ...]
    preprocessing: Preprocessing
    decision_rules: Mapping[Precision, DecisionRules]
    ood: Mapping[str, Any] | None
    validation: Mapping[str, Any]
    training: TrainingRecord
    gate: Mapping[str, Any]
    versions: Mapping[str, str]
    files: Mapping[str, FileRecord]
    schema_version: int = SCHEMA_VERSION
    reference: Mapping[Precision, Mapping[str, MeasureReference]] | None = None

    def require_consistent(self) -> None:
        """Raise ValueError unless the parts fit each other and all files are listed."""
        # Names are a fixed set, so that no manifest can point outside its folder.
        files = {*FILES, *(OPTIONAL_FILES if self.ood else ())}
        if set(self.files) != files:
            raise ValueError(f"files {sorted(self.files)}, expected {sorted(files)}")
        if set(self.decision_rules) != set(get_args(Precision)):
            raise ValueError(f"decision rules for {sorted(self.decision_rules)}, expected int8 and fp32")
        if self.reference is not None and set(self.reference) != set(get_args(Precision)):
            raise ValueError(f"a reference for {sorted(self.reference)}, expected int8 and fp32")
        # A terminal would obey control characters.
        shown = [self.name, self.version, *self.classes]
        for rules in self.decision_rules.values():
            if (rules.classes, rules.cancer_classes) != (self.classes, self.cancer_classes):
                raise ValueError("the decision rules have other classes than the manifest")
            if (rules.ood_threshold is None) != (self.ood is None):
                raise ValueError("ood_threshold must be there where ood is, and nowhere else")
            shown += [rules.calibration.method, *(point.name for point in rules.operating_points)]
        if not all(text.isprintable() and len(text) <= LONGEST_NAME for text in shown):
            raise ValueError(f"names must be printable and of at most {LONGEST_NAME} characters")
