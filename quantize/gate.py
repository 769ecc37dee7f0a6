"""The gate: INT8 is shipped only if it finds the cancers that FP32 finds, on the validation split.

Each precision decides at its own screening threshold. Where a limit is set, ``value <= limit`` passes;
nan never does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from edgeskin.bundle.manifest import Variant
from edgeskin.decision.decide import probabilities, without_priors
from quantize.fitting.rules import Labels
from train.evaluate.metrics import (
    Bools,
    Estimate,
    Floats,
    accuracy,
    auroc,
    bootstrap_weights,
    class_recall,
    estimate,
    recall,
    specificity,
)

Logits = npt.NDArray[np.floating]

MAX_CANCER_RECALL_DROP = 0.005
MAX_CLASS_RECALL_DROP = 0.02
"""Or one lesion of the class, where that is more."""
MAX_AUROC_DROP = 0.003
MAX_SPECIFICITY_DROP = 0.02
"""What can fail where the cancer recall hardly can: each precision's threshold is fitted here to reach it."""
MAX_OTHER_CLASS = 0.03


@dataclass(frozen=True)
class Check:
    """One figure against its limit; a drop is FP32 minus INT8, so that less is better everywhere."""

    name: str
    value: float
    limit: float
    passed: bool


@dataclass(frozen=True)
class Figures:
    """One precision on validation. recall, specificity: of cancer at its own screening threshold.

    class_recall: by class, of the class decided for, as accuracy.
    """

    recall: float
    specificity: float
    auroc: float
    accuracy: float
    class_recall: Mapping[str, float]


@dataclass(frozen=True)
class Shift:
    """How far |P(cancer) INT8 - P(cancer) FP32| goes: quantiles over the images."""

    median: float
    p99: float
    p999: float
    max: float


@dataclass(frozen=True)
class Comparison:
    """INT8 against FP32 with one instruction set.

    lost: image ids of cancers found by FP32 and not by INT8. gained: the reverse.
    mcnemar_recall, mcnemar_specificity: exact p of the discordant decisions on cancers and on benign images.
    recall_change, specificity_change, auroc_change: INT8 minus FP32, with paired lesion-bootstrap intervals.
    """

    isa: str
    checks: tuple[Check, ...]
    fp32: Figures
    int8: Figures
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    shift: Shift
    logit_rmse: float
    mcnemar_recall: float
    mcnemar_specificity: float
    recall_change: Estimate
    specificity_change: Estimate
    auroc_change: Estimate

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def check(name: str, value: float, limit: float) -> Check:
    """Hold a figure against its limit; a billionth is left for the rounding of differences."""
    return Check(name, float(value), limit, bool(value <= limit + 1e-9))


def compare(
    isa: str,
    labels: Labels,
    fp32: tuple[Logits, Variant],
    int8: tuple[Logits, Variant],
    replicates: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Judge INT8 against FP32 on the same images.

    fp32, int8: logits (n, C) and the calibration that goes with them. replicates, seed: of the bootstrap.
    """
    cancer = labels.is_cancer
    p_cancer = [labels.p_cancer(logits, variant.calibration) for logits, variant in (fp32, int8)]
    thresholds = [variant.operating_points[0].threshold for _, variant in (fp32, int8)]
    found = [p >= threshold for p, threshold in zip(p_cancer, thresholds, strict=True)]
    decided = [
        without_priors(probabilities(logits, variant.calibration), variant.class_priors).argmax(axis=1)
        for logits, variant in (fp32, int8)
    ]
    before, after = (_figures(labels, *outputs) for outputs in zip(p_cancer, found, decided, strict=True))

    checks = [
        check("cancer recall drop", before.recall - after.recall, MAX_CANCER_RECALL_DROP),
        check("cancer AUROC drop", before.auroc - after.auroc, MAX_AUROC_DROP),
        check("cancer specificity drop", before.specificity - after.specificity, MAX_SPECIFICITY_DROP),
        check("share given another class", (decided[0] != decided[1]).mean(), MAX_OTHER_CLASS),
    ]
    for position, name in enumerate(labels.classes):
        drop = before.class_recall[name] - after.class_recall[name]
        lesions = len(np.unique(np.asarray(labels.lesions)[labels.targets == position]))
        limit = max(MAX_CLASS_RECALL_DROP, 1 / max(1, lesions))
        checks.append(check(f"{name} recall drop", drop, limit))

    weights = bootstrap_weights(labels.lesions, replicates, seed)
    shift = np.abs(p_cancer[1] - p_cancer[0])
    return Comparison(
        isa=isa,
        checks=tuple(checks),
        fp32=before,
        int8=after,
        lost=_ids(labels, cancer & found[0] & ~found[1]),
        gained=_ids(labels, cancer & found[1] & ~found[0]),
        shift=Shift(*np.quantile(shift, (0.5, 0.99, 0.999, 1)).tolist()),
        logit_rmse=float(np.sqrt(np.mean((int8[0] - fp32[0]) ** 2))),
        mcnemar_recall=mcnemar(found[0][cancer], found[1][cancer]),
        mcnemar_specificity=mcnemar(found[0][~cancer], found[1][~cancer]),
        recall_change=paired_change(recall, cancer, *found, weights),
        specificity_change=paired_change(specificity, cancer, *found, weights),
        auroc_change=paired_change(auroc, cancer, *p_cancer, weights),
    )


def mcnemar(one: Bools, other: Bools) -> float:
    """Exact two-sided p that two paired decisions (n,) differ by chance alone (McNemar 1947, binomial)."""
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    discordant = only_one + only_other
    return float(binomtest(only_one, discordant).pvalue) if discordant else 1.0


def paired_change(
    measure: Callable[..., Floats],
    truth: npt.NDArray[Any],
    before: npt.NDArray[Any],
    after: npt.NDArray[Any],
    weights: Floats,
) -> Estimate:
    """How a measure of n outputs changes, with the interval of the paired change over the replicates."""

    def change(weights: Floats | None = None) -> Floats:
        return measure(truth, after, weights) - measure(truth, before, weights)

    return estimate(change, weights=weights)


def _figures(
    labels: Labels, p_cancer: npt.NDArray[np.float64], found: Bools, decided: npt.NDArray[np.int64]
) -> Figures:
    by_class = class_recall(labels.targets, decided, len(labels.classes))
    return Figures(
        recall=float(recall(labels.is_cancer, found)),
        specificity=float(specificity(labels.is_cancer, found)),
        auroc=float(auroc(labels.is_cancer, p_cancer)),
        accuracy=float(accuracy(labels.targets, decided)),
        class_recall={name: float(value) for name, value in zip(labels.classes, by_class, strict=True)},
    )


def _ids(labels: Labels, mask: Bools) -> tuple[str, ...]:
    return tuple(name for name, marked in zip(labels.image_ids, mask, strict=True) if marked)
