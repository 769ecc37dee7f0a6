"""The tables of README, MODEL_CARD and docs, from committed arrays, measurements and the bundle."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, recall_score

from benchmarks.environment import RESULTS
from benchmarks.facts import FACTS
from benchmarks.quickness import QUICKNESS
from benchmarks.sureness import TABLES
from edgeskin.bundle.bundle import Precision, open_bundle
from edgeskin.bundle.manifest import Calibration
from edgeskin.decision.decide import cancer_probability, probabilities
from edgeskin.errors import SettingError
from edgeskin.taxonomy import full_name
from quantize.fitting.calibration import fit
from quantize.fitting.rules import Labels, labels_of
from quantize.gate import compare, paired_change
from train.config import FoldConfig
from train.data.split import left_out
from train.evaluate.evaluation import Evaluation, Measures, Predictions, measure
from train.evaluate.metrics import auroc, bootstrap_weights, negative_log_likelihood, recall, specificity
from train.evaluate.report import main_measures, table, text

PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")
SUBGROUP_HEAD = ("by", "group", "images", "cancers", "cancer AUROC", "cancer recall", "specificity")
PAD = "PAD-UFES-20"
PAD_FOLDS = 3
EXPERIMENTS = {
    "experiments/c-cross-entropy": "(c) cross-entropy",
    "experiments/a-as-published": "(a) MaxRecall as published",
    "experiments/b-one-rebalancer": "(b) MaxRecall, class weights alone",
}
SHIPPED = {
    "experiments/3-no-constancy-jpeg": "run 3, MaxRecall: bundle 0.2.0",
    "val-fp32": "run 4, cross-entropy: the default bundle",
}
COMPARED_CALIBRATION = "bias-corrected temperature"
COMPARED_THRESHOLD = 0.5
"""None of the measures told depends on it."""


@dataclass(frozen=True)
class Stored:
    """A committed evaluation and the predictions that it follows from."""

    evaluation: Evaluation
    predictions: Predictions


Evaluations = Mapping[str, Stored]
"""By folder, as ``test-int8`` or ``experiments/c-cross-entropy``."""


def results(stored: Evaluations, folder: str = "") -> str:
    """The test split, INT8 and FP32, by lesion and by image. folder: of the bundle's evaluations."""
    rows = []
    for precision in PRECISIONS:
        evaluation = _stored(stored, f"{folder}test-{precision}").evaluation
        for unit, measures in (("lesion", evaluation.lesions), ("image", evaluation.images)):
            rows.append(
                (
                    f"{precision.upper()}, by {unit}",
                    text(measures.cancer_auroc),
                    text(measures.screening.recall),
                    text(measures.screening.specificity),
                    text(measures.classes["MEL"].referred),
                    text(measures.balanced_accuracy),
                )
            )
    head = ("", "cancer AUROC", "cancer recall", "at specificity", "melanomas referred", "balanced accuracy")
    return table(head, rows)


def lite(stored: Evaluations) -> str:
    """What the lite bundle changes against the default one, INT8, each at its own threshold, paired."""
    rows = []
    for split in ("val", "test"):
        both = [_stored(stored, f"{folder}{split}-int8") for folder in ("", "lite/")]
        provenance = both[0].evaluation.provenance
        default, small = (one.predictions for one in both)
        labels = _same_images(default, small, provenance.classes, provenance.cancer)
        truth, weights = labels.is_cancer, bootstrap_weights(labels.lesions)
        p_cancer = [labels.p_cancer(one.predictions.logits, _calibration(one)) for one in both]
        found = [p >= one.evaluation.provenance.threshold for p, one in zip(p_cancer, both, strict=True)]
        rows.append(
            (
                split,
                str(len(truth)),
                text(paired_change(auroc, truth, *p_cancer, weights)),
                text(paired_change(recall, truth, *found, weights)),
                text(paired_change(specificity, truth, *found, weights)),
                f"{(truth & found[0] & ~found[1]).sum()}; {(truth & found[1] & ~found[0]).sum()}",
            )
        )
    head = ("split", "images", "cancer AUROC", "cancer recall", "specificity", "cancers lost; gained")
    return table(head, rows)


def _calibration(one: Stored) -> Calibration:
    calibration = one.evaluation.provenance.calibration
    assert calibration is not None  # a bundle's evaluation has one
    return calibration


def all_measures(stored: Evaluations) -> str:
    """Every main measure on the test split, FP32 beside INT8, by lesion."""
    both = [main_measures(_stored(stored, f"test-{name}").evaluation.lesions) for name in PRECISIONS]
    rows = ((name, text(int8), text(fp32)) for (name, int8), (_, fp32) in zip(*both, strict=True))
    return table(("test split, by lesion", "INT8", "FP32"), rows)


def classes(stored: Evaluations) -> str:
    """INT8 on the test split, by class."""
    rows = (
        (f"{name}, {full_name(name)}", str(one.images), text(one.recall), text(one.auroc), text(one.referred))
        for name, one in _stored(stored, "test-int8").evaluation.images.classes.items()
    )
    return table(("class, by image", "images", "recall", "AUROC", "referred"), rows)


def risk(stored: Evaluations) -> str:
    """What each answer of INT8 held on the test split, by image."""
    one, manifest = _stored(stored, "test-int8"), open_bundle().manifest
    variant = manifest.variants["int8"]
    labels = labels_of(one.predictions.samples, manifest.classes, manifest.cancer_classes)
    p_cancer = labels.p_cancer(one.predictions.logits, variant.calibration)
    first, *_, last = (point.threshold for point in variant.operating_points)
    level = np.digitize(p_cancer, (first, last))
    cancers = int(labels.is_cancer.sum())
    rows = []
    for number, name in enumerate(("LOW", "MEDIUM", "HIGH")):
        here = level == number
        held = int((labels.is_cancer & here).sum())
        rows.append((name, str(here.sum()), str(held), f"{held / here.sum():.1%}", f"{held / cancers:.1%}"))
    return table(("risk", "images", "of them cancers", "share", "of all cancers"), rows)


def weak_spots(stored: Evaluations) -> str:
    """Subgroups that a reader has to know of; all are in the report."""
    chosen = {
        ("source", "HAM10000"),
        ("source", "ISIC2018-Task1"),
        ("age", "under 40"),
        ("nevus", "histology-proven"),
        ("nevus", "others"),
    }
    rows = _subgroups(_stored(stored, "test-int8").evaluation.images)
    return table(SUBGROUP_HEAD, (row for row in rows if row[:2] in chosen))


def subgroups(stored: Evaluations) -> str:
    """INT8 on the test split: archive, age, sex, site, and nevi by how they were diagnosed."""
    return table(SUBGROUP_HEAD, _subgroups(_stored(stored, "test-int8").evaluation.images))


def external(stored: Evaluations) -> str:
    """Other sources, never tuned on, as they are."""
    rows = []
    for precision in PRECISIONS:
        groups = _subgroups(_stored(stored, f"external-{precision}").evaluation.images)
        rows += [(precision.upper(), *of_source) for kind, *of_source in groups if kind == "source"]
    return table(("precision", "source", *SUBGROUP_HEAD[2:]), rows)


def agreement(stored: Evaluations) -> str:
    """What INT8 changes, on every split that was read with both precisions; only val was used to choose."""
    head = (
        "split",
        "images",
        "cancers found by FP32",
        "of them lost by INT8; others gained",
        "change of cancer recall",
        "change of AUROC",
        "same class",
        "change of P(cancer): median, 99 %, 99.9 %, max",
        "McNemar p: cancers; others",
    )
    manifest = open_bundle().manifest
    rows = []
    for split in ("val", "test", "external"):
        int8, fp32 = (_stored(stored, f"{split}-{precision}").predictions for precision in PRECISIONS)
        labels = _same_images(int8, fp32, manifest.classes, manifest.cancer_classes)
        pairs = ((one.logits, manifest.variants[name]) for name, one in (("fp32", fp32), ("int8", int8)))
        compared = compare("native", labels, *pairs)
        shift, cancers = compared.shift, int(labels.is_cancer.sum())
        other = next(one.value for one in compared.checks if one.name == "share given another class")
        rows.append(
            (
                split,
                str(len(int8.samples)),
                f"{round(compared.fp32.recall * cancers)} of {cancers}",
                f"{len(compared.lost)}; {len(compared.gained)}",
                text(compared.recall_change),
                text(compared.auroc_change),
                f"{1 - other:.1%}",
                f"{shift.median:.3f}, {shift.p99:.3f}, {shift.p999:.3f}, {shift.max:.3f}",
                f"{compared.mcnemar_recall:.2g}; {compared.mcnemar_specificity:.2g}",
            )
        )
    return table(head, rows)


def pad_folds(stored: Evaluations) -> str:
    """PAD-UFES-20 in folds by patient, the network as it is, on the metrics of SkinGlanceCare."""
    one = _stored(stored, "external-int8")
    provenance, predictions = one.evaluation.provenance, one.predictions
    chosen = [i for i, sample in enumerate(predictions.samples) if sample.source == PAD]
    samples = [predictions.samples[i] for i in chosen]
    p = probabilities(predictions.logits[chosen], provenance.calibration)
    truth = np.array([provenance.classes.index(sample.label) for sample in samples])
    is_cancer = np.isin(provenance.classes, provenance.cancer)[truth]
    found = cancer_probability(p, provenance.classes, provenance.cancer) >= provenance.threshold
    decided = p.argmax(axis=1)
    folds = [left_out(samples, FoldConfig(PAD_FOLDS, number)) for number in range(PAD_FOLDS)]
    values = [
        (
            recall_score(is_cancer[fold], found[fold]),
            accuracy_score(truth[fold], decided[fold]),
            f1_score(truth[fold], decided[fold], average="macro", labels=np.unique(truth), zero_division=0.0),
        )
        for fold in folds
    ]
    mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
    told = [f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, spread, strict=True)]
    return table(
        (f"{PAD}, {PAD_FOLDS} folds, mean ± SD", "images", "cancer recall", "accuracy", "macro-F1"),
        [
            ("edgeskin INT8", str(len(samples)), *told),
            ("SkinGlanceCare, as published", "not told", "0.81", "0.49", "0.45"),
        ],
    )


def leaky_twin(stored: Evaluations) -> str:
    """The same recipe split by lesion and split by image."""
    names = {"c-cross-entropy": "by lesion (clean)", "c-cross-entropy-leaky": "by image (leaky)"}
    rows = []
    for name, told in names.items():
        measures = _stored(stored, f"experiments/{name}").evaluation.images
        rows.append(
            (
                told,
                str(measures.images),
                text(measures.cancer_auroc),
                text(measures.specificity_at_95),
                text(measures.balanced_accuracy),
                text(measures.classes["MEL"].recall),
            )
        )
    head = (
        "split",
        "val images",
        "cancer AUROC",
        "specificity at 95 % recall",
        "balanced accuracy",
        "MEL recall",
    )
    return table(head, rows)


def experiments(stored: Evaluations) -> str:
    """The losses on one short schedule, those that have been run."""
    return _compared({name: told for name, told in EXPERIMENTS.items() if name in stored}, stored)


def shipped(stored: Evaluations) -> str:
    """The default bundle's network and that of the bundle before, FP32 in eight views."""
    return _compared(SHIPPED, stored)


def _compared(names: Mapping[str, str], stored: Evaluations) -> str:
    """Networks on the same validation images, each calibrated there with a bias a class; the others are
    paired with the first. Class decisions with and without the class priors.
    """
    base = _stored(stored, next(iter(names))).predictions
    rows = []
    for name, told in names.items():
        one = _stored(stored, name)
        provenance, predictions = one.evaluation.provenance, one.predictions
        labels = _same_images(predictions, base, provenance.classes, provenance.cancer)
        fitted = [fit(COMPARED_CALIBRATION, of.logits, labels.targets) for of in (base, predictions)]
        before, after = (
            probabilities(of.logits, calibration)
            for of, calibration in zip((base, predictions), fitted, strict=True)
        )
        rules = (provenance.classes, provenance.cancer, COMPARED_THRESHOLD)
        plain, freed = (
            measure(predictions.samples, predictions.logits, *rules, fitted[1], priors)
            for priors in ((), tuple(after.mean(axis=0).tolist()))
        )
        weights = bootstrap_weights(labels.lesions)
        is_class = np.isin(labels.classes, labels.cancer_classes)
        cancer = (p[:, is_class].sum(axis=1) for p in (before, after))
        changes = (
            paired_change(auroc, labels.is_cancer, *cancer, weights),
            paired_change(negative_log_likelihood, labels.targets, before, after, weights),
        )
        auroc_change, loss_change = ("" if predictions is base else text(change) for change in changes)
        rows.append(
            (
                told,
                text(plain.cancer_auroc),
                auroc_change,
                text(plain.specificity_at_95),
                f"{plain.balanced_accuracy.value:.3f}; {text(freed.balanced_accuracy)}",
                f"{plain.classes['MEL'].recall.value:.3f}; {text(freed.classes['MEL'].recall)}",
                f"{plain.negative_log_likelihood.value:.3f}",
                loss_change,
            )
        )
    head = (
        "val, by image",
        "cancer AUROC",
        "against the first, paired",
        "specificity at 95 % recall",
        "balanced accuracy: most probable class; freed of priors",
        "MEL recall: the same",
        "NLL",
        "against the first, paired",
    )
    return table(head, rows)


def people(stored: Evaluations) -> str:
    """Age, sex and site of the images that were kept from training."""
    splits = {
        split: _stored(stored, f"{split}-int8").evaluation.images.subgroups
        for split in ("val", "test", "external")
    }
    rows = []
    for kind in ("age", "sex", "site"):
        names = sorted({name for groups in splits.values() for name in groups[kind]})
        for name in names:
            cells = [groups[kind].get(name) for groups in splits.values()]
            told = [f"{one.images} ({one.cancers})" if one else "0" for one in cells]
            rows.append((kind, name, *told))
    return table(("", "", *(f"{split}: images (cancers)" for split in splits)), rows)


def _stored(stored: Evaluations, name: str) -> Stored:
    if name not in stored:
        raise SettingError(f"{RESULTS / name}: no evaluation there; make it with python -m train evaluate")
    return stored[name]


def _same_images(
    one: Predictions, other: Predictions, classes: Sequence[str], cancer: Sequence[str]
) -> Labels:
    """The labels of two networks' predictions, which have to be of the same images in the same order."""
    labels = labels_of(one.samples, classes, cancer)
    if labels.image_ids != tuple(sample.image_id for sample in other.samples):
        raise SettingError("two networks' predictions are of different images; evaluate both again")
    return labels


BLOCKS: dict[str, Callable[[Evaluations], str]] = {
    "results": results,
    "lite-results": partial(results, folder="lite/"),
    "lite": lite,
    "all-measures": all_measures,
    "classes": classes,
    "risk": risk,
    "weak-spots": weak_spots,
    "subgroups": subgroups,
    "external": external,
    "agreement": agreement,
    "pad-folds": pad_folds,
    "leaky-twin": leaky_twin,
    "experiments": experiments,
    "shipped": shipped,
    "people": people,
    **{name: lambda _, tell=tell: tell() for name, tell in (FACTS | QUICKNESS).items()},
    **{
        name: lambda stored, tell=tell: tell({folder: one.predictions for folder, one in stored.items()})
        for name, tell in TABLES.items()
    },
}


def _subgroups(measures: Measures) -> Sequence[tuple[str, ...]]:
    return [
        (
            kind,
            name,
            str(one.images),
            str(one.cancers),
            text(one.cancer_auroc),
            text(one.recall),
            text(one.specificity),
        )
        for kind, groups in measures.subgroups.items()
        for name, one in groups.items()
    ]
