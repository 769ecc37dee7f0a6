"""All measures of a set of images or lesions, with lesion-clustered 95% intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeskin.arrays import Bools, Float32s, Float64s
from edgeskin.bundle.manifest import Calibration, DecisionRules
from edgeskin.decision.calibration import probabilities
from edgeskin.decision.decide import decide
from train.data.table import DataError, Sample, targets
from train.evaluate import metrics
from train.evaluate.bootstrap import Estimate, basic_interval, bootstrap_weights, estimate, estimate_share

THRESHOLDS = (0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60)
REPLICATES = 2000


@dataclass(frozen=True)
class Screening:
    """Cancers against benign lesions, referred where P(cancer) >= threshold."""

    threshold: float
    recall: Estimate
    precision: Estimate
    f1: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class OneClass:
    """Measures of one class.

    Attributes:
        images: Images of this class.
        recall: Of the predicted class.
        precision: Of the predicted class.
        auroc: Of the prior-corrected probability, against all other classes.
        referred: Share with P(cancer) >= threshold.
    """

    images: int
    recall: Estimate
    precision: Estimate
    auroc: Estimate
    referred: Estimate


@dataclass(frozen=True)
class Subgroup:
    """Cancers among some of the images; nan where there is no cancer, or nothing else.

    Within one archive (``source``), differences between archives cannot raise cancer_auroc.
    """

    images: int
    cancers: int
    cancer_auroc: Estimate
    recall: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class Measures:
    """All measures of a set of images, or of lesions, each of which then counts as one image.

    The predicted class gives accuracy, balanced_accuracy, macro_f1, classes and confusion (true classes in
    rows, predicted in columns). P(cancer) gives cancer_auroc, cancer_partial_auroc (above a sensitivity of
    0.8: 0 to 0.2), sensitivity_at_95 (% specificity), specificity_at_95 (% sensitivity), screening,
    thresholds, brier (0 to 1), calibration_error, reliability (mean P(cancer) and share of cancers in each
    bin) and subgroups (by ``source``, ``age``, ``sex``, ``site``, ``nevus``). The true class's probability
    gives negative_log_likelihood.

    ``groups`` counts patients, or lesions where patients are unknown: the bootstrap draws these. The interval
    of a share is exact where all counted images are of different groups, and few are hits, or few are not.
    """

    images: int
    lesions: int
    groups: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    cancer_auroc: Estimate
    cancer_partial_auroc: Estimate
    sensitivity_at_95: Estimate
    specificity_at_95: Estimate
    negative_log_likelihood: Estimate
    brier: Estimate
    calibration_error: Estimate
    reliability: tuple[tuple[float, float], ...]
    screening: Screening
    classes: Mapping[str, OneClass]
    subgroups: Mapping[str, Mapping[str, Subgroup]]
    thresholds: tuple[Screening, ...]
    confusion: tuple[tuple[int, ...], ...]


def by_lesion(
    samples: Sequence[Sample], logits: Float32s, calibration: Calibration
) -> tuple[list[Sample], Float64s]:
    """Average the calibrated probabilities of the images of each lesion.

    Args:
        samples: n.
        logits: (n, C).
        calibration: Of the probabilities.

    Returns:
        The first sample of each lesion, and the logarithm of the lesion's mean probabilities (lesions, C).

    Raises:
        DataError: Images of a lesion have different labels.
    """
    names, first, lesion_of = np.unique(
        [sample.lesion_id for sample in samples], return_index=True, return_inverse=True
    )
    labels = np.array([sample.label for sample in samples])
    inconsistent = np.unique(lesion_of[labels != labels[first][lesion_of]])
    if inconsistent.size:
        raise DataError(f"lesions with images of different labels: {', '.join(names[inconsistent][:20])}")
    p = np.zeros((len(names), logits.shape[1]))
    np.add.at(p, lesion_of, probabilities(logits, calibration))
    p /= np.bincount(lesion_of)[:, None]
    return [samples[position] for position in first], np.log(np.clip(p, np.finfo(np.float64).tiny, None))


def measure(
    samples: Sequence[Sample],
    logits: Float32s | Float64s,
    rules: DecisionRules,
    replicates: int = REPLICATES,
) -> Measures:
    """All measures, with intervals from a bootstrap over the samples' groups.

    Args:
        samples: n, with labels in the classes of the rules.
        logits: Averaged over the views, (n, C).
        rules: How to decide; the screening threshold refers.
        replicates: Of the bootstrap.
    """
    truth = targets(samples, rules.classes)
    is_cancer = rules.is_cancer[truth]
    decisions = decide(logits[:, None], rules)
    p, p_cancer, predicted = decisions.probabilities, decisions.cancer_probability, decisions.predicted
    groups = [sample.group for sample in samples]
    weights = bootstrap_weights(groups, replicates)
    _, group_of = np.unique(groups, return_inverse=True)

    def share(of: Bools, found: Bools) -> Estimate:
        # Exact intervals assume independent images: no two of the same group.
        independent = len(np.unique(group_of[of])) == of.sum()
        if independent:
            return estimate_share(of, found, weights)
        return estimate(metrics.recall, of, found, weights=weights)

    def screening(at: float) -> Screening:
        found = p_cancer >= at
        return Screening(
            at,
            recall=share(is_cancer, found),
            precision=share(found, is_cancer),
            f1=estimate(metrics.f1, is_cancer, found, weights=weights),
            specificity=share(~is_cancer, ~found),
        )

    def one_class(c: int) -> OneClass:
        members, named = truth == c, predicted == c
        return OneClass(
            images=int(members.sum()),
            recall=share(members, named),
            precision=share(named, members),
            auroc=estimate(metrics.auroc, members, decisions.balanced_probabilities[:, c], weights=weights),
            referred=share(members, decisions.is_referred),
        )

    def subgroup(among: Bools) -> Subgroup:
        found = decisions.is_referred
        return Subgroup(
            images=int(among.sum()),
            cancers=int(is_cancer[among].sum()),
            cancer_auroc=estimate(
                metrics.auroc, is_cancer[among], p_cancer[among], weights=weights[:, among]
            ),
            recall=share(is_cancer & among, found),
            specificity=share(~is_cancer & among, ~found),
        )

    def by_cancer(measured: Callable[..., Float64s], *options: float) -> Estimate:
        return estimate(measured, is_cancer, p_cancer, *options, weights=weights)

    n_classes = len(rules.classes)
    bins = metrics.reliability(is_cancer, p_cancer)
    confusion = metrics.confusion(truth, predicted, n_classes).astype(int)
    return Measures(
        images=len(samples),
        lesions=len({sample.lesion_id for sample in samples}),
        groups=len(set(groups)),
        accuracy=estimate(metrics.accuracy, truth, predicted, weights=weights),
        balanced_accuracy=estimate(metrics.balanced_accuracy, truth, predicted, n_classes, weights=weights),
        macro_f1=estimate(metrics.macro_f1, truth, predicted, n_classes, weights=weights),
        cancer_auroc=by_cancer(metrics.auroc),
        cancer_partial_auroc=by_cancer(metrics.partial_auroc),
        sensitivity_at_95=by_cancer(metrics.sensitivity_at_specificity, 0.95),
        specificity_at_95=by_cancer(metrics.specificity_at_sensitivity, 0.95),
        negative_log_likelihood=estimate(metrics.negative_log_likelihood, truth, p, weights=weights),
        brier=by_cancer(metrics.brier),
        calibration_error=basic_interval(by_cancer(metrics.calibration_error)),
        reliability=tuple(zip(*(part.tolist() for part in bins), strict=True)),
        screening=screening(rules.screening_threshold),
        classes={name: one_class(c) for c, name in enumerate(rules.classes)},
        subgroups={
            kind: {name: subgroup(names == name) for name in np.unique(names[names != ""]).tolist()}
            for kind, names in _subgroups(samples).items()
        },
        thresholds=tuple(screening(at) for at in THRESHOLDS),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def _subgroups(samples: Sequence[Sample]) -> dict[str, npt.NDArray[np.str_]]:
    """The subgroup of each image by each criterion, (n,); empty where it is in none."""
    ages = np.array([np.nan if sample.age is None else sample.age for sample in samples])
    is_nevus = np.array([sample.label == "NV" for sample in samples])
    proven = np.array([sample.dx_type == "histo" for sample in samples])
    return {
        "source": np.array([sample.source for sample in samples]),
        "age": np.select(
            [ages < 40, ages < 60, ages >= 60], ["under 40", "40 to 59", "60 and over"], "not known"
        ),
        "sex": np.array([sample.sex or "not known" for sample in samples]),
        "site": np.array([sample.site or "not known" for sample in samples]),
        # A nevus proven by histology was excised on suspicion, so these are the hard ones.
        "nevus": np.where(is_nevus, np.where(proven, "histology-proven", "others"), ""),
    }
