"""What did other recipes of training reach on the validation split?

Tables of the committed logs and evaluations in `benchmarks/evaluation/results/experiments`.
"""

import csv
from collections.abc import Mapping

import numpy as np

from benchmarks.evaluation.committed import EVALUATIONS, Evaluations, find
from benchmarks.evaluation.comparisons import same_images
from benchmarks.tables import Table
from edgeskin.decision.calibration import probabilities
from quantize.fitting.calibration import fit
from quantize.gate import paired_change
from train.evaluate.bootstrap import bootstrap_weights
from train.evaluate.evaluation import rules_at
from train.evaluate.measures import measure
from train.evaluate.metrics import auroc, negative_log_likelihood
from train.evaluate.report import text

EXPERIMENTS = EVALUATIONS / "experiments"
LOSSES = {
    "experiments/c-cross-entropy": "(c) cross-entropy",
    "experiments/a-as-published": "(a) MaxRecall as published",
    "experiments/b-one-rebalancer": "(b) MaxRecall, class weights alone",
}
SHIPPED = {
    "experiments/3-no-constancy-jpeg": "run 3, MaxRecall: bundle 0.2.0",
    "val-fp32": "run 4, cross-entropy: the default bundle",
}
CALIBRATION = "bias-corrected temperature"
THRESHOLD = 0.5
"""Needed to measure, though none of the measures in the tables depends on it."""


def runs_table() -> Table:
    """Render the selected epoch of each run, from its log."""
    rows = []
    for path in sorted(EXPERIMENTS.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            epochs = [row for row in csv.DictReader(file) if row["val_cancer_auroc"]]
        best = max(epochs, key=lambda row: float(row["val_cancer_auroc"]))
        measures = ("cancer_auroc", "specificity_at_95", "balanced_accuracy")
        values = (f"{float(best[f'val_{name}']):.4f}" for name in measures)
        rows.append((path.stem, str(len(epochs)), str(int(best["epoch"]) + 1), *values))
    return Table(
        "Training runs",
        "The epoch that each run selected on validation, by cancer AUROC, from its log.",
        "python -m train fit",
        ("run", "epochs", "selected", "cancer AUROC", "specificity at 95% sensitivity", "balanced accuracy"),
        rows,
    )


def losses_table(evaluations: Evaluations) -> Table:
    """Render the losses on one short schedule."""
    return _compared(
        "Losses",
        "Three losses on one short schedule (six epochs at 128 px, one view, one seed each)",
        LOSSES,
        evaluations,
    )


def shipped_table(evaluations: Evaluations) -> Table:
    """Render the default bundle's network and that of bundle 0.2.0."""
    return _compared(
        "Shipped networks", "The networks of two bundles, FP32 in eight views", SHIPPED, evaluations
    )


def _compared(title: str, caption: str, names: Mapping[str, str], evaluations: Evaluations) -> Table:
    """Compare networks on the same validation images, each calibrated there and paired with the first."""
    base = find(evaluations, next(iter(names))).predictions
    rows = []
    for name, words in names.items():
        committed = find(evaluations, name)
        provenance, predictions = committed.evaluation.provenance, committed.predictions
        classes, cancer_classes = provenance.rules.classes, provenance.rules.cancer_classes
        labels = same_images(predictions, base, classes, cancer_classes)
        calibrations = [fit(CALIBRATION, of.logits, labels.targets) for of in (base, predictions)]
        before = probabilities(base.logits, calibrations[0])
        after = probabilities(predictions.logits, calibrations[1])
        plain, corrected = (
            measure(
                predictions.samples,
                predictions.logits,
                rules_at(THRESHOLD, classes, cancer_classes, calibrations[1], priors),
            )
            for priors in ((), tuple(after.mean(axis=0).tolist()))
        )
        weights = bootstrap_weights(labels.lesions)
        is_class = np.isin(labels.classes, labels.cancer_classes)
        cancer = (before[:, is_class].sum(axis=1), after[:, is_class].sum(axis=1))
        changes = (
            paired_change(auroc, labels.is_cancer, *cancer, weights),
            paired_change(negative_log_likelihood, labels.targets, before, after, weights),
        )
        auroc_change, loss_change = ("" if predictions is base else text(change) for change in changes)
        rows.append(
            (
                words,
                text(plain.cancer_auroc),
                auroc_change,
                text(plain.specificity_at_95),
                f"{plain.balanced_accuracy.value:.3f}; {text(corrected.balanced_accuracy)}",
                f"{plain.classes['MEL'].recall.value:.3f}; {text(corrected.classes['MEL'].recall)}",
                f"{plain.negative_log_likelihood.value:.3f}",
                loss_change,
            )
        )
    return Table(
        title,
        f"{caption}, on validation, by image, each calibrated there. Class decisions are by the most "
        "probable class, and after prior correction. Brackets hold 95% intervals.",
        find(evaluations, next(iter(names))).evaluation.provenance.command,
        (
            "network",
            "cancer AUROC",
            "change against the first, paired",
            "specificity at 95% sensitivity",
            "balanced accuracy: most probable class; prior-corrected",
            "melanoma recall: most probable class; prior-corrected",
            "log loss",
            "change against the first, paired",
        ),
        rows,
    )
