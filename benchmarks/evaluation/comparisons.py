"""What does a network change against another on the same images: INT8 against FP32, lite against default?

Paired tables of the committed evaluations.
"""

from collections.abc import Sequence

from benchmarks.evaluation.committed import PRECISIONS, Evaluations, find
from benchmarks.tables import Table
from edgeskin.bundle.bundle import open_bundle
from edgeskin.decision.decide import decide
from edgeskin.errors import SettingError
from quantize.fitting.labels import Labels, labels_of
from quantize.gate import compare, paired_change
from train.evaluate.bootstrap import bootstrap_weights
from train.evaluate.evaluation import Predictions
from train.evaluate.metrics import auroc, recall, specificity
from train.evaluate.report import text


def precision_table(evaluations: Evaluations) -> Table:
    """Render what INT8 changes on every split that was read with both precisions."""
    manifest = open_bundle().manifest
    rows = []
    for split in ("val", "test", "external"):
        int8, fp32 = (find(evaluations, f"{split}-{precision}").predictions for precision in PRECISIONS)
        labels = same_images(int8, fp32, manifest.classes, manifest.cancer_classes)
        compared = compare(
            "native",
            labels,
            (fp32.logits[:, None], manifest.decision_rules["fp32"]),
            (int8.logits[:, None], manifest.decision_rules["int8"]),
        )
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
    return Table(
        "INT8 against FP32",
        "What quantization to INT8 changes in the default bundle, by image, each precision at its own "
        "threshold. Only val was used for choices. Brackets hold paired 95% intervals.",
        find(evaluations, "val-int8").evaluation.provenance.command,
        (
            "split",
            "images",
            "cancers found by FP32",
            "of them lost by INT8; others gained",
            "change of cancer sensitivity",
            "change of AUROC",
            "same class",
            "change of P(cancer): median, 99%, 99.9%, largest",
            "McNemar p: cancers; benign",
        ),
        rows,
    )


def lite_table(evaluations: Evaluations) -> Table:
    """Render what the lite bundle changes against the default one, INT8."""
    rows = []
    for split in ("val", "test"):
        both = [find(evaluations, f"{folder}{split}-int8") for folder in ("", "lite/")]
        rules = both[0].evaluation.provenance.rules
        labels = same_images(both[0].predictions, both[1].predictions, rules.classes, rules.cancer_classes)
        truth, weights = labels.is_cancer, bootstrap_weights(labels.lesions)
        before, after = (
            decide(one.predictions.logits[:, None], one.evaluation.provenance.rules) for one in both
        )
        p_cancer = before.cancer_probability, after.cancer_probability
        found = before.is_referred, after.is_referred
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
    return Table(
        "Lite bundle against default bundle",
        "What the lite bundle changes against the default one, INT8, by image, each at its own threshold. "
        "Brackets hold paired 95% intervals.",
        find(evaluations, "lite/val-int8").evaluation.provenance.command,
        ("split", "images", "cancer AUROC", "cancer sensitivity", "specificity", "cancers lost; gained"),
        rows,
    )


def same_images(
    one: Predictions, other: Predictions, classes: Sequence[str], cancer: Sequence[str]
) -> Labels:
    """Return the labels of two networks' predictions.

    Raises:
        SettingError: They are not of the same images in the same order.
    """
    labels = labels_of(one.samples, classes, cancer)
    if labels.image_ids != tuple(sample.image_id for sample in other.samples):
        raise SettingError("two networks' predictions are of different images; evaluate both again")
    return labels
