"""How good a trained network is on one split, with lesion-clustered 95 % intervals."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeskin.decision import cancer_probability, probabilities
from edgeskin.errors import SettingError
from train.data import DataError, Sample, known, read_table, select, targets
from train.metrics import (
    Estimate,
    accuracy,
    auroc,
    balanced_accuracy,
    bootstrap_weights,
    confusion,
    estimate,
    f1,
    macro_f1,
    precision,
    recall,
    screening_threshold,
    specificity,
)
from train.predict import Logits, open_network, predict
from train.split import assign_splits, split_sha256

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
    """images: of this class. recall, precision: by argmax. referred: share with P(cancer) >= threshold."""

    images: int
    recall: Estimate
    precision: Estimate
    referred: Estimate


@dataclass(frozen=True)
class OneSource:
    """cancer_auroc within one archive, where no difference between archives can help."""

    images: int
    cancers: int
    cancer_auroc: Estimate


@dataclass(frozen=True)
class Measures:
    """All that is measured on a set of images.

    By argmax: accuracy, balanced_accuracy, macro_f1, classes, confusion (rows true, columns predicted).
    By P(cancer): cancer_auroc, screening, thresholds, sources.
    groups: lesions, patients where they are known; what the bootstrap draws.
    """

    images: int
    lesions: int
    groups: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    cancer_auroc: Estimate
    screening: Screening
    classes: Mapping[str, OneClass]
    sources: Mapping[str, OneSource]
    thresholds: tuple[Screening, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Predictions:
    """samples: n, whose labels are classes of the network, and their logits (n, C)."""

    samples: Sequence[Sample]
    logits: Logits


@dataclass(frozen=True)
class Evaluation:
    """Measures of one network on one split, and what it takes to have them again.

    sha256: of a run's weights file, or of a bundle's manifest, which holds the hashes of its files.
    same_split: whether the table was split as when the network was trained; None when not recorded.
    left_out: images of the split by label, where the label is no class of the network.
    threshold_from: where the threshold on P(cancer) comes from.
    """

    network: str
    sha256: str
    split: str
    split_sha256: str
    same_split: bool | None
    left_out: Mapping[str, int]
    temperature: float
    threshold_from: str
    measures: Measures
    versions: Mapping[str, str]
    command: str


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
    if threshold is not None and not 0 <= threshold <= 1:
        raise SettingError(f"threshold {threshold}: choose 0 to 1")
    network = open_network(folder, precision)
    table = assign_splits(read_table(data, network.classes), seed=network.seed)
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
        raise SettingError(f"{data}: no split 'val' to fit the threshold on; give --threshold")

    logits = predict(network, samples)
    if threshold is not None:
        threshold_from = "given"
    elif network.threshold is not None:
        threshold, threshold_from = network.threshold, "the bundle's screening point"
    else:
        fitted_on = logits if split == "val" else predict(network, validation)
        p_cancer = cancer_probability(
            probabilities(fitted_on, network.temperature), network.classes, network.cancer
        )
        is_cancer = np.array([sample.label in network.cancer for sample in validation])
        threshold = screening_threshold(is_cancer, p_cancer, TARGET_RECALL)
        threshold_from = f"the highest with cancer recall >= {TARGET_RECALL} on val"

    sha256 = split_sha256(table)
    evaluation = Evaluation(
        network=network.name,
        sha256=network.sha256,
        split=split,
        split_sha256=sha256,
        same_split=None if network.split_sha256 is None else network.split_sha256 == sha256,
        left_out=dict(left_out),
        temperature=network.temperature,
        threshold_from=threshold_from,
        measures=measure(samples, logits, network.classes, network.cancer, threshold, network.temperature),
        versions=network.versions,
        command=command,
    )
    return evaluation, Predictions(samples, logits)


def measure(
    samples: Sequence[Sample],
    logits: Logits,
    classes: Sequence[str],
    cancer: Sequence[str],
    threshold: float,
    temperature: float = 1.0,
    replicates: int = REPLICATES,
) -> Measures:
    """All measures, with intervals from a bootstrap over the samples' groups.

    samples: n, with labels in ``classes``. logits: (n, C). threshold: on P(cancer).
    """
    truth, decided = targets(samples, classes), logits.argmax(axis=1)
    is_cancer = np.isin(classes, cancer)[truth]
    p_cancer = cancer_probability(probabilities(logits, temperature), classes, cancer)
    sources = np.array([sample.source for sample in samples])
    groups = [sample.group for sample in samples]
    weights = bootstrap_weights(groups, replicates)

    def screening(at: float) -> Screening:
        found = p_cancer >= at
        measured = (
            estimate(m, is_cancer, found, weights=weights) for m in (recall, precision, f1, specificity)
        )
        return Screening(at, *measured)

    def one_class(c: int) -> OneClass:
        members, named = truth == c, decided == c
        return OneClass(
            images=int(members.sum()),
            recall=estimate(recall, members, named, weights=weights),
            precision=estimate(precision, members, named, weights=weights),
            referred=estimate(recall, members, p_cancer >= threshold, weights=weights),
        )

    def one_source(name: str) -> OneSource:
        of = sources == name
        area = estimate(auroc, is_cancer[of], p_cancer[of], weights=weights[:, of])
        return OneSource(int(of.sum()), int(is_cancer[of].sum()), area)

    n_classes = len(classes)
    return Measures(
        images=len(samples),
        lesions=len({sample.lesion_id for sample in samples}),
        groups=len(set(groups)),
        accuracy=estimate(accuracy, truth, decided, weights=weights),
        balanced_accuracy=estimate(balanced_accuracy, truth, decided, n_classes, weights=weights),
        macro_f1=estimate(macro_f1, truth, decided, n_classes, weights=weights),
        cancer_auroc=estimate(auroc, is_cancer, p_cancer, weights=weights),
        screening=screening(threshold),
        classes={name: one_class(c) for c, name in enumerate(classes)},
        sources={name: one_source(name) for name in np.unique(sources).tolist()},
        thresholds=tuple(screening(at) for at in THRESHOLDS),
        confusion=tuple(tuple(row) for row in confusion(truth, decided, n_classes).astype(int).tolist()),
    )
