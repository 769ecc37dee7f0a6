"""The evaluation of a trained network on one split of a table."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeskin.arrays import Float32s
from edgeskin.bundle.manifest import SCREENING_POINT, Calibration, DecisionRules, OperatingPoint
from edgeskin.decision.calibration import temperature_scaling
from edgeskin.decision.decide import decide
from edgeskin.errors import SettingError
from train.data.split import assign_splits, split_sha256
from train.data.table import DataError, Sample, known, select
from train.evaluate.measures import Measures, by_lesion, measure
from train.evaluate.metrics import screening_threshold
from train.evaluate.outputs import Outputs
from train.evaluate.predict import Network, open_network, predict
from train.input.photos import read_tables

TARGET_RECALL = 0.95
UNCALIBRATED = "none"
"""The method of a calibration that leaves the probabilities as they are."""


@dataclass(frozen=True)
class Predictions:
    """Samples with the outputs for them.

    Attributes:
        samples: n, whose labels are classes of the network.
        logits: (n, C).
        view_logits: (n, V, C); None where they were not stored.
        ood: The distances of `edgeskin.decision.ood` (n, 2); None where there are none.
    """

    samples: Sequence[Sample]
    logits: Float32s
    view_logits: Float32s | None = None
    ood: Float32s | None = None


@dataclass(frozen=True)
class Provenance:
    """Which network read which images, and how: all that is needed to measure again.

    Attributes:
        network: Its name.
        sha256: Of a run's weights file, or of a bundle's manifest, which holds the hashes of its files.
        split: The split.
        split_sha256: Of the table's split.
        same_split: Whether the network was trained with this split; None where that was not recorded.
        left_out: Images of the split by label, where the label is no class of the network.
        rules: The rules that it was decided by, with a single operating point.
        threshold_from: Where its threshold comes from.
        versions: Versions of what the network ran on.
        command: The command that measured it.
    """

    network: str
    sha256: str
    split: str
    split_sha256: str
    same_split: bool | None
    left_out: Mapping[str, int]
    rules: DecisionRules
    threshold_from: str
    versions: Mapping[str, str]
    command: str

    @property
    def is_calibrated(self) -> bool:
        """Whether the probabilities are calibrated."""
        return self.rules.calibration.method != UNCALIBRATED


@dataclass(frozen=True)
class Evaluation:
    """Measures of one network on one split, by lesion and by image."""

    provenance: Provenance
    lesions: Measures
    images: Measures


def evaluate(
    folder: Path,
    data: Path,
    split: str,
    precision: str | None = None,
    threshold: float | None = None,
    command: str = "",
) -> tuple[Evaluation, Predictions]:
    """Evaluate a run or a bundle on one split of a table.

    Args:
        folder: The run or the bundle.
        data: Folder with the images and their table.
        split: The split.
        precision: Of a bundle, ``int8`` (default) or ``fp32``.
        threshold: On P(cancer), 0 to 1. By default a bundle's screening point, or for a run the highest that
            reaches TARGET_RECALL on the split ``val``.
        command: What the report names as its command.

    Raises:
        DataError: Images cannot be read, or no image has a label of the network's.
        SettingError: The folder is neither run nor bundle, or an option does not fit it.
    """
    network = open_network(folder, precision)
    table = assign_splits(read_tables([data], network.classes), seed=network.seed)
    return evaluate_table(network, table, split, threshold, command)


def evaluate_table(
    network: Network, table: Sequence[Sample], split: str, threshold: float | None = None, command: str = ""
) -> tuple[Evaluation, Predictions]:
    """Evaluate an open network on one split of a table that has splits; see `evaluate`."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise SettingError(f"threshold {threshold}: choose 0 to 1")
    everything = select(table, split)
    left_out = Counter(s.label for s in everything if s.label not in network.classes)
    samples = known(everything, network.classes)
    if not samples:
        raise DataError(
            f"split {split!r} has only the labels {', '.join(left_out)}, which {network.name} lacks"
        )
    validation = known([sample for sample in table if sample.split == "val"], network.classes)
    fits_threshold = threshold is None and network.rules is None
    if fits_threshold and not validation:
        raise SettingError("no split 'val' to fit the threshold on; give --threshold")

    outputs = predict(network, samples)
    if threshold is not None:
        threshold_from = "given"
    elif network.rules is not None:
        threshold, threshold_from = network.rules.screening_threshold, "the bundle's screening point"
    else:
        validated = outputs if split == "val" else predict(network, validation)
        threshold = _fit_threshold(network, validation, validated)
        threshold_from = f"the highest with cancer recall >= {TARGET_RECALL} on val"
    rules = rules_at(threshold, network.classes, network.cancer)
    if network.rules is not None:
        fitted = network.rules
        rules = replace(rules, calibration=fitted.calibration, class_priors=fitted.class_priors)

    sha256 = split_sha256(table)
    provenance = Provenance(
        network=network.name,
        sha256=network.sha256,
        split=split,
        split_sha256=sha256,
        same_split=None if network.split_sha256 is None else network.split_sha256 == sha256,
        left_out=dict(left_out),
        rules=rules,
        threshold_from=threshold_from,
        versions=network.versions,
        command=command,
    )
    predictions = Predictions(samples, outputs.logits, outputs.view_logits, outputs.ood)
    return evaluation_of(predictions, provenance), predictions


def _fit_threshold(network: Network, validation: Sequence[Sample], outputs: Outputs) -> float:
    """The highest threshold on a run's P(cancer) that reaches TARGET_RECALL on validation."""
    any_threshold = rules_at(0.0, network.classes, network.cancer)
    p_cancer = decide(outputs.logits[:, None], any_threshold).cancer_probability
    is_cancer = np.isin([sample.label for sample in validation], network.cancer)
    return screening_threshold(is_cancer, p_cancer, TARGET_RECALL)


def rules_at(
    threshold: float,
    classes: tuple[str, ...],
    cancer: tuple[str, ...],
    calibration: Calibration | None = None,
    class_priors: tuple[float, ...] = (),
) -> DecisionRules:
    """Decision rules with a single operating point, whose recall and specificity are not known (nan).

    Args:
        threshold: On P(cancer), 0 to 1.
        classes: Codes of the classes, C.
        cancer: Those of them that are cancer.
        calibration: Of the probabilities; None leaves them as they are.
        class_priors: For prior correction, (C,); empty for none.
    """
    point = OperatingPoint(SCREENING_POINT, threshold, math.nan, math.nan, math.nan)
    return DecisionRules(classes, cancer, calibration or _identity(len(classes)), (point,), class_priors)


def _identity(n_classes: int) -> Calibration:
    return replace(temperature_scaling(1.0, n_classes), method=UNCALIBRATED)


def evaluation_of(predictions: Predictions, provenance: Provenance) -> Evaluation:
    """All measures of given predictions."""
    rules = provenance.rules
    lesions, log_p = by_lesion(predictions.samples, predictions.logits, rules.calibration)
    of_calibrated = replace(rules, calibration=_identity(len(rules.classes)))
    return Evaluation(
        provenance,
        lesions=measure(lesions, log_p, of_calibrated),
        images=measure(predictions.samples, predictions.logits, rules),
    )
