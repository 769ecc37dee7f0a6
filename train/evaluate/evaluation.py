"""How good a trained network is on one split, with lesion-clustered 95 % intervals."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeskin.bundle.manifest import Calibration
from edgeskin.decision.decide import cancer_probability, probabilities, without_priors
from edgeskin.errors import SettingError
from train.data.split import assign_splits, split_sha256
from train.data.table import DataError, Sample, known, read_table, select, targets
from train.evaluate.metrics import (
    Bools,
    Estimate,
    Floats,
    accuracy,
    auroc,
    balanced_accuracy,
    bootstrap_weights,
    brier,
    calibration_error,
    confusion,
    estimate,
    estimate_share,
    f1,
    macro_f1,
    mirrored,
    negative_log_likelihood,
    partial_auroc,
    recall,
    reliability,
    screening_threshold,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)
from train.evaluate.outputs import Floats as Logits
from train.evaluate.predict import Network, open_network, predict

TARGET_RECALL = 0.95
THRESHOLDS = (0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60)
REPLICATES = 2000


@dataclass(frozen=True)
class Screening:
    """Cancers against benign lesions, found where P(cancer) >= threshold."""

    threshold: float
    recall: Estimate
    precision: Estimate
    f1: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class OneClass:
    """images: of this class. recall, precision: of the class decided for. auroc: of what is decided by,
    against all others. referred: share with P(cancer) >= threshold.
    """

    images: int
    recall: Estimate
    precision: Estimate
    auroc: Estimate
    referred: Estimate


@dataclass(frozen=True)
class Subgroup:
    """Cancer found at the threshold among some of the images; nan where there is no cancer, or nothing else.

    Within one archive (``source``) no difference between archives can help cancer_auroc.
    """

    images: int
    cancers: int
    cancer_auroc: Estimate
    recall: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class Measures:
    """All that is measured on a set of images, or of lesions, each then counting as one image.

    By the class decided for: accuracy, balanced_accuracy, macro_f1, classes, confusion (rows true, columns
    predicted). By P(cancer): cancer_auroc, cancer_partial_auroc (above a sensitivity of 0.8: 0 to 0.2),
    sensitivity_at_95 (% specificity), specificity_at_95 (% sensitivity), screening, thresholds, brier (0 to
    1), calibration_error, reliability (its bins: mean P(cancer) and share of cancers), subgroups (by
    ``source``, ``age``, ``sex``, ``site``, ``nevus``). By the true class's probability:
    negative_log_likelihood.
    groups: lesions, patients where they are known; what the bootstrap draws. A share's interval is exact
    where each image that it counts is of another group, and few are found, or few are not.
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


@dataclass(frozen=True)
class Predictions:
    """samples: n, whose labels are classes of the network, and their logits (n, C). view_logits: (n, V, C);
    ood: the distances of `edgeskin.decision.ood` (n, 2); None where they are not kept.
    """

    samples: Sequence[Sample]
    logits: Logits
    view_logits: Logits | None = None
    ood: Logits | None = None


@dataclass(frozen=True)
class Provenance:
    """Which network read which images, and how: what it takes to measure again.

    sha256: of a run's weights file, or of a bundle's manifest, which holds the hashes of its files.
    same_split: whether the table was split as when the network was trained; None when not recorded.
    left_out: images of the split by label, where the label is no class of the network.
    threshold: on P(cancer); threshold_from: where it comes from. class_priors: what class decisions were
    freed of; empty where the most probable class was decided for.
    """

    network: str
    sha256: str
    split: str
    split_sha256: str
    same_split: bool | None
    left_out: Mapping[str, int]
    classes: tuple[str, ...]
    cancer: tuple[str, ...]
    calibration: Calibration | None
    threshold: float
    threshold_from: str
    class_priors: tuple[float, ...]
    versions: Mapping[str, str]
    command: str


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

    precision: of a bundle, ``int8`` (default) or ``fp32``. threshold: on P(cancer), 0 to 1; without it a
    bundle's screening point, or for a run the highest that reaches TARGET_RECALL on the split ``val``.
    Raises DataError listing the images that cannot be read, or when none has a label of the network's,
    and SettingError when the folder is neither run nor bundle or an option does not fit it.
    """
    network = open_network(folder, precision)
    table = assign_splits(read_table(data, network.classes), seed=network.seed)
    return evaluate_table(network, table, split, threshold, command)


def evaluate_table(
    network: Network, table: Sequence[Sample], split: str, threshold: float | None = None, command: str = ""
) -> tuple[Evaluation, Predictions]:
    """Evaluate an open network on one split of a table that has its splits; see `evaluate`."""
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
    fits_threshold = threshold is None and network.threshold is None
    if fits_threshold and not validation:
        raise SettingError("no split 'val' to fit the threshold on; give --threshold")

    outputs = predict(network, samples)
    if threshold is not None:
        threshold_from = "given"
    elif network.threshold is not None:
        threshold, threshold_from = network.threshold, "the bundle's screening point"
    else:
        fitted_on = (outputs if split == "val" else predict(network, validation)).logits
        p_cancer = cancer_probability(
            probabilities(fitted_on, network.calibration), network.classes, network.cancer
        )
        is_cancer = np.array([sample.label in network.cancer for sample in validation])
        threshold = screening_threshold(is_cancer, p_cancer, TARGET_RECALL)
        threshold_from = f"the highest with cancer recall >= {TARGET_RECALL} on val"

    sha256 = split_sha256(table)
    provenance = Provenance(
        network=network.name,
        sha256=network.sha256,
        split=split,
        split_sha256=sha256,
        same_split=None if network.split_sha256 is None else network.split_sha256 == sha256,
        left_out=dict(left_out),
        classes=network.classes,
        cancer=network.cancer,
        calibration=network.calibration,
        threshold=threshold,
        threshold_from=threshold_from,
        class_priors=network.class_priors,
        versions=network.versions,
        command=command,
    )
    predictions = Predictions(samples, outputs.logits, outputs.view_logits, outputs.ood)
    return evaluation_of(predictions, provenance), predictions


def evaluation_of(predictions: Predictions, provenance: Provenance) -> Evaluation:
    """All measures of predictions that are there already."""
    samples, logits = predictions.samples, predictions.logits
    rules = (provenance.classes, provenance.cancer, provenance.threshold)
    lesions, log_p = of_lesions(samples, logits, provenance.calibration)
    return Evaluation(
        provenance,
        lesions=measure(lesions, log_p, *rules, None, provenance.class_priors),
        images=measure(samples, logits, *rules, provenance.calibration, provenance.class_priors),
    )


def of_lesions(
    samples: Sequence[Sample], logits: Logits, calibration: Calibration | None
) -> tuple[list[Sample], Logits]:
    """One sample a lesion, its first, and the logarithm of its mean calibrated probabilities (lesions, C).

    samples: n. logits: (n, C). Raises DataError when images of a lesion have different labels.
    """
    names, first, lesion_of = np.unique(
        [sample.lesion_id for sample in samples], return_index=True, return_inverse=True
    )
    labels = np.array([sample.label for sample in samples])
    contrary = np.unique(lesion_of[labels != labels[first][lesion_of]])
    if contrary.size:
        raise DataError(f"lesions with images of different labels: {', '.join(names[contrary][:20])}")
    p = np.zeros((len(names), logits.shape[1]))
    np.add.at(p, lesion_of, probabilities(logits, calibration))
    p /= np.bincount(lesion_of)[:, None]
    return [samples[position] for position in first], np.log(np.clip(p, np.finfo(np.float64).tiny, None))


def measure(
    samples: Sequence[Sample],
    logits: Logits,
    classes: Sequence[str],
    cancer: Sequence[str],
    threshold: float,
    calibration: Calibration | None = None,
    class_priors: Sequence[float] = (),
    replicates: int = REPLICATES,
) -> Measures:
    """All measures, with intervals from a bootstrap over the samples' groups.

    samples: n, with labels in ``classes``. logits: (n, C). threshold: on P(cancer). class_priors: (C,), or
    empty, as `edgeskin.decision.decide.without_priors` takes them.
    """
    truth = targets(samples, classes)
    is_cancer = np.isin(classes, cancer)[truth]
    p = probabilities(logits, calibration)
    p_cancer = cancer_probability(p, classes, cancer)
    even = without_priors(p, class_priors)
    decided = even.argmax(axis=1)
    groups = [sample.group for sample in samples]
    weights = bootstrap_weights(groups, replicates)
    _, group_of = np.unique(groups, return_inverse=True)

    def share(of: Bools, found: Bools) -> Estimate:
        # Exact intervals hold for what is independent: no two of the same group.
        independent = len(np.unique(group_of[of])) == of.sum()
        return (estimate_share if independent else _drawn_share)(of, found, weights)

    def screening(at: float) -> Screening:
        found = p_cancer >= at
        return Screening(
            at,
            recall=share(is_cancer, found),
            precision=share(found, is_cancer),
            f1=estimate(f1, is_cancer, found, weights=weights),
            specificity=share(~is_cancer, ~found),
        )

    def one_class(c: int) -> OneClass:
        members, named = truth == c, decided == c
        return OneClass(
            images=int(members.sum()),
            recall=share(members, named),
            precision=share(named, members),
            auroc=estimate(auroc, members, even[:, c], weights=weights),
            referred=share(members, p_cancer >= threshold),
        )

    def subgroup(among: Bools) -> Subgroup:
        found = p_cancer >= threshold
        return Subgroup(
            images=int(among.sum()),
            cancers=int(is_cancer[among].sum()),
            cancer_auroc=estimate(auroc, is_cancer[among], p_cancer[among], weights=weights[:, among]),
            recall=share(is_cancer & among, found),
            specificity=share(~is_cancer & among, ~found),
        )

    def by_cancer(measured: Callable[..., Floats], *options: float) -> Estimate:
        return estimate(measured, is_cancer, p_cancer, *options, weights=weights)

    n_classes = len(classes)
    return Measures(
        images=len(samples),
        lesions=len({sample.lesion_id for sample in samples}),
        groups=len(set(groups)),
        accuracy=estimate(accuracy, truth, decided, weights=weights),
        balanced_accuracy=estimate(balanced_accuracy, truth, decided, n_classes, weights=weights),
        macro_f1=estimate(macro_f1, truth, decided, n_classes, weights=weights),
        cancer_auroc=by_cancer(auroc),
        cancer_partial_auroc=by_cancer(partial_auroc),
        sensitivity_at_95=by_cancer(sensitivity_at_specificity, 0.95),
        specificity_at_95=by_cancer(specificity_at_sensitivity, 0.95),
        negative_log_likelihood=estimate(negative_log_likelihood, truth, p, weights=weights),
        brier=by_cancer(brier),
        calibration_error=mirrored(by_cancer(calibration_error)),
        reliability=tuple(zip(*(part.tolist() for part in reliability(is_cancer, p_cancer)), strict=True)),
        screening=screening(threshold),
        classes={name: one_class(c) for c, name in enumerate(classes)},
        subgroups={
            kind: {name: subgroup(names == name) for name in np.unique(names[names != ""]).tolist()}
            for kind, names in _subgroups(samples).items()
        },
        thresholds=tuple(screening(at) for at in THRESHOLDS),
        confusion=tuple(tuple(row) for row in confusion(truth, decided, n_classes).astype(int).tolist()),
    )


def _drawn_share(of: Bools, found: Bools, weights: Floats) -> Estimate:
    return estimate(recall, of, found, weights=weights)


def _subgroups(samples: Sequence[Sample]) -> dict[str, npt.NDArray[np.str_]]:
    """What each image is by each division, (n,); empty where a division does not hold it."""
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
        # Which nevi are excised is a doctor's suspicion: these are the hard ones.
        "nevus": np.where(is_nevus, np.where(proven, "histology-proven", "others"), ""),
    }
