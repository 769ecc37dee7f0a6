"""How accurate is the default bundle on sources that it was never trained, selected or tuned on?

Tables of the committed evaluations ``external-int8`` and ``external-fp32``.
"""

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, recall_score

from benchmarks.evaluation.accuracy import SUBGROUP_HEAD, subgroup_rows
from benchmarks.evaluation.committed import PRECISIONS, Evaluations, find
from benchmarks.tables import Table
from edgeskin.decision.decide import decide
from train.config import FoldConfig
from train.data.split import left_out

PAD = "PAD-UFES-20"
FOLDS = 3


def table(evaluations: Evaluations) -> Table:
    """Render both precisions by source."""
    rows = []
    for precision in PRECISIONS:
        groups = subgroup_rows(find(evaluations, f"external-{precision}").evaluation.images)
        rows += [(precision.upper(), *cells) for kind, *cells in groups if kind == "source"]
    return Table(
        "External sources",
        "The default bundle on sources never used for training, selection or tuning, by image. PAD-UFES-20 "
        "are smartphone photos, which are out of scope.",
        find(evaluations, "external-int8").evaluation.provenance.command,
        ("precision", "source", *SUBGROUP_HEAD[2:]),
        rows,
    )


def folds_table(evaluations: Evaluations) -> Table:
    """Render PAD-UFES-20 in folds by patient, on the metrics of SkinGlanceCare."""
    committed = find(evaluations, "external-int8")
    provenance, predictions = committed.evaluation.provenance, committed.predictions
    chosen = [i for i, sample in enumerate(predictions.samples) if sample.source == PAD]
    samples = [predictions.samples[i] for i in chosen]
    rules = provenance.rules
    decisions = decide(predictions.logits[chosen][:, None], rules)
    truth = np.array([rules.classes.index(sample.label) for sample in samples])
    is_cancer, found = rules.is_cancer[truth], decisions.is_referred
    # The most probable class, as SkinGlanceCare decides, without prior correction.
    predicted = decisions.probabilities.argmax(axis=1)
    folds = [left_out(samples, FoldConfig(FOLDS, number)) for number in range(FOLDS)]
    values = [
        (
            recall_score(is_cancer[fold], found[fold]),
            accuracy_score(truth[fold], predicted[fold]),
            f1_score(
                truth[fold], predicted[fold], average="macro", labels=np.unique(truth), zero_division=0.0
            ),
        )
        for fold in folds
    ]
    mean, deviation = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
    return Table(
        "PAD-UFES-20 in folds",
        f"The default bundle (INT8, as it is) on {FOLDS} folds of PAD-UFES-20 by patient, mean ± SD, beside "
        "what SkinGlanceCare published. The publication names neither its images nor its threshold, so "
        "only orders of magnitude compare.",
        provenance.command,
        ("system", "images", "cancer sensitivity", "accuracy", "macro-F1"),
        [
            (
                "edgeskin INT8",
                str(len(samples)),
                *(f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, deviation, strict=True)),
            ),
            ("SkinGlanceCare, as published", "unknown", "0.81", "0.49", "0.45"),
        ],
    )
