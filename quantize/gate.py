"""The gate: INT8 is packed only if its cancer recall on validation is at most 0.005 below FP32's.

It also limits the drop of the AUROC, of the specificity and of the recall of each class, and the share of
images that get another class. Each precision decides by its own rules. A check passes if its value is at most
its limit; nan never passes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from edgeskin.arrays import Bools, Float32s, Float64s
from edgeskin.bundle.manifest import DecisionRules
from edgeskin.decision.decide import Decisions, decide
from edgeskin.imaging.dihedral import average_views
from quantize.fitting.labels import Labels
from train.evaluate.bootstrap import Estimate, bootstrap_weights, estimate
from train.evaluate.metrics import accuracy, auroc, class_recall, recall, specificity

MAX_CANCER_RECALL_DROP = 0.005
MAX_CLASS_RECALL_DROP = 0.02
"""Or one lesion of the class, where that is more."""
MAX_AUROC_DROP = 0.003
MAX_SPECIFICITY_DROP = 0.02
"""The specificity can drop where the cancer recall cannot: each threshold is fitted on these images to reach
the recall."""
MAX_OTHER_CLASS = 0.03
ROUNDING = 1e-9


@dataclass(frozen=True)
class Check:
    """A value against its limit. A drop is FP32 minus INT8, so that lower is better in every check."""

    name: str
    value: float
    limit: float
    passed: bool


@dataclass(frozen=True)
class Figures:
    """The performance of one precision on validation, by image, 0 to 1.

    Attributes:
        recall: Of cancer at the screening threshold.
        specificity: Of cancer at the screening threshold.
        auroc: Of P(cancer).
        accuracy: Of the decided class.
        class_recall: Of the decided class, by class.
    """

    recall: float
    specificity: float
    auroc: float
    accuracy: float
    class_recall: Mapping[str, float]


@dataclass(frozen=True)
class Shift:
    """Quantiles of |P(cancer) by INT8 - P(cancer) by FP32| over the images."""

    median: float
    p99: float
    p999: float
    max: float


@dataclass(frozen=True)
class Comparison:
    """INT8 against FP32 with one instruction set.

    Attributes:
        isa: The instruction set, ``native`` or a value of ONEDNN_MAX_CPU_ISA.
        checks: All checks.
        fp32: Figures of FP32.
        int8: Figures of INT8.
        lost: Image ids of cancers that FP32 refers and INT8 does not.
        gained: Image ids of cancers that INT8 refers and FP32 does not.
        shift: Change of P(cancer).
        logit_rmse: Root mean square difference of the logits.
        mcnemar_recall: Exact p of the different referrals of cancers.
        mcnemar_specificity: Exact p of the different referrals of benign lesions.
        recall_change: INT8 minus FP32, with a paired lesion-bootstrap interval.
        specificity_change: The same of the specificity.
        auroc_change: The same of the AUROC.
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
        """Whether every check passes."""
        return all(check.passed for check in self.checks)


def check(name: str, value: float, limit: float) -> Check:
    """Check a value against its limit, with a tolerance of ROUNDING for differences of floats."""
    return Check(name, float(value), limit, bool(value <= limit + ROUNDING))


def compare(
    isa: str,
    labels: Labels,
    fp32: tuple[Float32s, DecisionRules],
    int8: tuple[Float32s, DecisionRules],
    replicates: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare INT8 with FP32 on the same n images.

    Args:
        isa: The instruction set that INT8 ran with.
        labels: Labels of the images.
        fp32: Logits of FP32 by view, (n, V, C), and its rules.
        int8: Logits of INT8 by view, (n, V, C), and its rules.
        replicates: Number of bootstrap replicates.
        seed: Seed of the bootstrap.
    """
    before, after = (decide(view_logits, rules) for view_logits, rules in (fp32, int8))
    logits = [average_views(view_logits, axis=1) for view_logits, _ in (fp32, int8)]
    not_finite = float((~np.isfinite(int8[0]).all(axis=(1, 2))).mean())
    figures = _figures(labels, before), _figures(labels, after)
    is_cancer = labels.is_cancer
    referred = before.is_referred, after.is_referred
    p_cancer = before.cancer_probability, after.cancer_probability
    weights = bootstrap_weights(labels.lesions, replicates, seed)
    return Comparison(
        isa=isa,
        checks=(
            check("share of images without a finite answer", not_finite, 0),
            *_checks(labels, *figures, float((before.predicted != after.predicted).mean())),
        ),
        fp32=figures[0],
        int8=figures[1],
        lost=_ids(labels, is_cancer & before.is_referred & ~after.is_referred),
        gained=_ids(labels, is_cancer & after.is_referred & ~before.is_referred),
        shift=Shift(*np.quantile(np.abs(p_cancer[1] - p_cancer[0]), (0.5, 0.99, 0.999, 1)).tolist()),
        logit_rmse=float(np.sqrt(np.mean((logits[1] - logits[0]) ** 2))),
        mcnemar_recall=mcnemar(before.is_referred[is_cancer], after.is_referred[is_cancer]),
        mcnemar_specificity=mcnemar(before.is_referred[~is_cancer], after.is_referred[~is_cancer]),
        recall_change=paired_change(recall, is_cancer, *referred, weights),
        specificity_change=paired_change(specificity, is_cancer, *referred, weights),
        auroc_change=paired_change(auroc, is_cancer, *p_cancer, weights),
    )


def mcnemar(one: Bools, other: Bools) -> float:
    """Compute the exact two-sided p of two paired decisions (n,) (McNemar 1947, binomial)."""
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    discordant = only_one + only_other
    return float(binomtest(only_one, discordant).pvalue) if discordant else 1.0


def paired_change(
    measure: Callable[..., Float64s],
    truth: npt.NDArray[Any],
    before: npt.NDArray[Any],
    after: npt.NDArray[Any],
    weights: Float64s,
) -> Estimate:
    """Estimate how a measure changes between two outputs on the same n images.

    Args:
        measure: A measure of `train.evaluate.metrics`.
        truth: The first argument of the measure, (n,).
        before: The second argument of the measure, (n,).
        after: What replaces it, (n,).
        weights: Bootstrap replicates, (replicates, n).

    Returns:
        ``after`` minus ``before``, with the interval of the paired differences.
    """

    def change(weights: Float64s | None = None) -> Float64s:
        return measure(truth, after, weights) - measure(truth, before, weights)

    return estimate(change, weights=weights)


def _figures(labels: Labels, decisions: Decisions) -> Figures:
    by_class = class_recall(labels.targets, decisions.predicted, len(labels.classes))
    return Figures(
        recall=float(recall(labels.is_cancer, decisions.is_referred)),
        specificity=float(specificity(labels.is_cancer, decisions.is_referred)),
        auroc=float(auroc(labels.is_cancer, decisions.cancer_probability)),
        accuracy=float(accuracy(labels.targets, decisions.predicted)),
        class_recall={name: float(value) for name, value in zip(labels.classes, by_class, strict=True)},
    )


def _checks(labels: Labels, fp32: Figures, int8: Figures, other_class: float) -> tuple[Check, ...]:
    checks = [
        check("cancer recall drop", fp32.recall - int8.recall, MAX_CANCER_RECALL_DROP),
        check("cancer AUROC drop", fp32.auroc - int8.auroc, MAX_AUROC_DROP),
        check("cancer specificity drop", fp32.specificity - int8.specificity, MAX_SPECIFICITY_DROP),
        check("share given another class", other_class, MAX_OTHER_CLASS),
    ]
    lesions = np.asarray(labels.lesions)
    for position, name in enumerate(labels.classes):
        count = len(np.unique(lesions[labels.targets == position]))
        limit = max(MAX_CLASS_RECALL_DROP, 1 / max(1, count))
        checks.append(check(f"{name} recall drop", fp32.class_recall[name] - int8.class_recall[name], limit))
    return tuple(checks)


def _ids(labels: Labels, mask: Bools) -> tuple[str, ...]:
    return tuple(name for name, chosen in zip(labels.image_ids, mask, strict=True) if chosen)
