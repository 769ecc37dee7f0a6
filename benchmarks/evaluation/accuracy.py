"""How accurate is the default bundle on the test split: all measures, by class, by risk and by subgroup?

Tables of the committed evaluations, which `benchmarks.evaluation.locked_test` makes.
"""

from benchmarks.evaluation.committed import PRECISIONS, Evaluations, find
from benchmarks.evaluation.locked_test import COMMAND
from benchmarks.tables import Table
from edgeskin.bundle.bundle import open_bundle
from edgeskin.decision.decide import decide
from edgeskin.results import RISKS
from edgeskin.taxonomy import full_name
from quantize.fitting.labels import labels_of
from train.evaluate.measures import Measures
from train.evaluate.report import main_measures, text

SUBGROUP_HEAD = ("by", "group", "images", "cancers", "cancer AUROC", "cancer sensitivity", "specificity")
WEAK = {
    ("source", "HAM10000"),
    ("source", "ISIC2018-Task1"),
    ("age", "under 40"),
    ("nevus", "histology-proven"),
    ("nevus", "without histology"),
}
NAMES = {"others": "without histology"}
"""Names of subgroups in tables, where their keys in evaluation.json are not clear."""


def all_measures(evaluations: Evaluations) -> Table:
    """Render every main measure, FP32 beside INT8, by lesion."""
    both = [main_measures(find(evaluations, f"test-{name}").evaluation.lesions) for name in PRECISIONS]
    return Table(
        "Test split, all measures",
        "Every main measure of the default bundle on the test split, by lesion.",
        COMMAND,
        ("measure", "INT8", "FP32"),
        [(name, text(int8), text(fp32)) for (name, int8), (_, fp32) in zip(*both, strict=True)],
    )


def classes(evaluations: Evaluations) -> Table:
    """Render INT8 by class."""
    return Table(
        "Test split, by class",
        "The default bundle (INT8) on the test split, by image: the recall and AUROC of each class, and the "
        "share of its images that are referred.",
        COMMAND,
        ("class", "images", "recall", "AUROC", "referred"),
        [
            (
                f"{name}, {full_name(name)}",
                str(one.images),
                text(one.recall),
                text(one.auroc),
                text(one.referred),
            )
            for name, one in find(evaluations, "test-int8").evaluation.images.classes.items()
        ],
    )


def risk(evaluations: Evaluations) -> Table:
    """Render what each risk level of INT8 holds."""
    predictions, manifest = find(evaluations, "test-int8").predictions, open_bundle().manifest
    rules = manifest.decision_rules["int8"]
    labels = labels_of(predictions.samples, manifest.classes, manifest.cancer_classes)
    decisions = decide(predictions.logits[:, None], rules)
    rows = []
    for number, name in enumerate(RISKS):
        here = decisions.risk == number
        cancers = int((labels.is_cancer & here).sum())
        of_all = cancers / int(labels.is_cancer.sum())
        rows.append((name, str(here.sum()), str(cancers), f"{cancers / here.sum():.1%}", f"{of_all:.1%}"))
    return Table(
        "Test split, by risk",
        "How many cancers each risk level of the default bundle (INT8) holds on the test split, by image.",
        COMMAND,
        ("risk", "images", "cancers", "share of cancers", "of all cancers"),
        rows,
    )


def subgroups(evaluations: Evaluations) -> Table:
    """Render INT8 by archive, age, sex, site, and by how nevi were diagnosed."""
    return Table(
        "Test split, by subgroup",
        "The default bundle (INT8) on subgroups of the test split, by image. Small groups have wide "
        "intervals.",
        COMMAND,
        SUBGROUP_HEAD,
        subgroup_rows(find(evaluations, "test-int8").evaluation.images),
    )


def weak_subgroups(evaluations: Evaluations) -> Table:
    """Render the subgroups where INT8 is weaker, beside the largest one."""
    rows = subgroup_rows(find(evaluations, "test-int8").evaluation.images)
    return Table(
        "Test split, weaker subgroups",
        "Subgroups of the test split where the default bundle (INT8) is weaker, beside their counterparts, "
        "by image.",
        COMMAND,
        SUBGROUP_HEAD,
        [row for row in rows if row[:2] in WEAK],
    )


def demographics(evaluations: Evaluations) -> Table:
    """Render age, sex and site of the images that were kept from training."""
    splits = {
        split: find(evaluations, f"{split}-int8").evaluation.images.subgroups
        for split in ("val", "test", "external")
    }
    rows = []
    for kind in ("age", "sex", "site"):
        for name in sorted({name for groups in splits.values() for name in groups[kind]}):
            found = [groups[kind].get(name) for groups in splits.values()]
            counts = (f"{one.images} ({one.cancers})" if one else "0" for one in found)
            rows.append((kind, name, *counts))
    return Table(
        "Age, sex and site",
        "Images of each evaluated split by age, sex and site, with the cancers among them in brackets.",
        find(evaluations, "val-int8").evaluation.provenance.command,
        ("by", "group", *splits),
        rows,
    )


def subgroup_rows(measures: Measures) -> list[tuple[str, ...]]:
    """List the cells of every subgroup, below SUBGROUP_HEAD."""
    return [
        (
            kind,
            NAMES.get(name, name),
            str(one.images),
            str(one.cancers),
            text(one.cancer_auroc),
            text(one.recall),
            text(one.specificity),
        )
        for kind, groups in measures.subgroups.items()
        for name, one in groups.items()
    ]
