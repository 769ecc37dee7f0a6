"""The tables of README, MODEL_CARD and docs, from committed arrays, measurements and the bundle."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta
from sklearn.metrics import accuracy_score, f1_score, recall_score

from benchmarks.machine import RESULTS
from edgeskin.bundle import Manifest, Precision, open_bundle
from edgeskin.decision import cancer_probability, probabilities
from edgeskin.errors import SettingError
from edgeskin.taxonomy import full_name
from quantize.calibrate import fit_variant, labels_of
from quantize.gate import Comparison, compare
from train.config import FoldConfig
from train.evaluate import Evaluation, Measures, Predictions, measure
from train.metrics import auroc, bootstrap_weights, estimate
from train.report import main_measures, table, text
from train.split import left_out

PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")
PAD = "PAD-UFES-20"
PAD_FOLDS = 3
EXPERIMENTS = {
    "a-as-published": "(a) MaxRecall as published",
    "b-one-rebalancer": "(b) MaxRecall, class weights alone",
    "c-cross-entropy": "(c) cross-entropy",
}


@dataclass(frozen=True)
class Stored:
    """A committed evaluation and the predictions that it follows from."""

    evaluation: Evaluation
    predictions: Predictions


Evaluations = Mapping[str, Stored]
"""By folder, as ``test-int8`` or ``experiments/c-cross-entropy``."""


def results(stored: Evaluations) -> str:
    """The test split, INT8 and FP32, by lesion and by image."""
    rows = []
    for precision in PRECISIONS:
        evaluation = stored[f"test-{precision}"].evaluation
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


def all_measures(stored: Evaluations) -> str:
    """Every main measure on the test split, FP32 beside INT8, by lesion."""
    both = [main_measures(stored[f"test-{precision}"].evaluation.lesions) for precision in PRECISIONS]
    rows = ((name, text(int8), text(fp32)) for (name, int8), (_, fp32) in zip(*both, strict=True))
    return table(("test split, by lesion", "INT8", "FP32"), rows)


def classes(stored: Evaluations) -> str:
    """INT8 on the test split, by class."""
    rows = (
        (f"{name}, {full_name(name)}", str(one.images), text(one.recall), text(one.auroc), text(one.referred))
        for name, one in stored["test-int8"].evaluation.images.classes.items()
    )
    return table(("class, by image", "images", "recall", "AUROC", "referred"), rows)


def subgroups(stored: Evaluations) -> str:
    """INT8 on the test split: archive, age, sex, site, and nevi by how they were diagnosed."""
    head = ("by", "group", "images", "cancers", "cancer AUROC", "cancer recall", "specificity")
    return table(head, _subgroups(stored["test-int8"].evaluation.images))


def external(stored: Evaluations) -> str:
    """Other sources, never tuned on, as they are."""
    head = ("precision", "by", "source", "images", "cancers", "cancer AUROC", "cancer recall", "specificity")
    rows = []
    for precision in PRECISIONS:
        groups = _subgroups(stored[f"external-{precision}"].evaluation.images)
        rows += [(precision.upper(), *row) for row in groups if row[0] == "source"]
    return table((head[0], *head[2:]), ((row[0], *row[2:]) for row in rows))


def agreement(stored: Evaluations) -> str:
    """What INT8 changes, on every split that was read with both precisions; only val was used to choose."""
    head = (
        "split",
        "images",
        "cancers found by FP32, of them lost",
        "gained",
        "same class",
        "change of P(cancer): median, 99 %, 99.9 %, max",
        "change of AUROC",
        "McNemar p, cancers; others",
    )
    rows = []
    for split in ("val", "test", "external"):
        compared, found = _compared(stored, split)
        shift, lost = compared.shift, len(compared.lost)
        # One-sided, exact (Clopper-Pearson): how many may be lost at most, where that many were.
        most = beta.ppf(0.95, lost + 1, found - lost) if lost < found else 1.0
        same = 1 - next(one.value for one in compared.checks if one.name == "share given another class")
        rows.append(
            (
                split,
                str(len(stored[f"{split}-int8"].predictions.samples)),
                f"{found}, {lost} (at most {most:.1%} with 95 % confidence)",
                str(len(compared.gained)),
                f"{same:.1%}",
                f"{shift.median:.3f}, {shift.p99:.3f}, {shift.p999:.3f}, {shift.max:.3f}",
                text(compared.auroc_change),
                f"{compared.mcnemar_recall:.2g}; {compared.mcnemar_specificity:.2g}",
            )
        )
    return table(head, rows)


def pad_folds(stored: Evaluations) -> str:
    """PAD-UFES-20 in folds by patient, the network as it is, on the metrics of SkinGlanceCare."""
    evaluation, predictions = stored["external-int8"].evaluation, stored["external-int8"].predictions
    provenance = evaluation.provenance
    chosen = [i for i, sample in enumerate(predictions.samples) if sample.source == PAD]
    samples = [predictions.samples[i] for i in chosen]
    p = probabilities(predictions.logits[chosen], provenance.temperature)
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
        measures = stored[f"experiments/{name}"].evaluation.images
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
    """Three losses on the same short schedule; class decisions with and without the class priors."""
    base = stored["experiments/c-cross-entropy"]
    rows = []
    for name, told in EXPERIMENTS.items():
        if (one := stored.get(f"experiments/{name}")) is None:
            continue
        provenance, predictions = one.evaluation.provenance, one.predictions
        labels = labels_of(predictions.samples, provenance.classes, provenance.cancer)
        variant = fit_variant(predictions.logits, labels)
        rules = (provenance.classes, provenance.cancer, variant.operating_points[0].threshold)
        plain, freed = (
            measure(predictions.samples, predictions.logits, *rules, variant.temperature, priors)
            for priors in ((), variant.class_priors)
        )
        scores, base_scores = (
            labels.p_cancer(logits, 1.0) for logits in (predictions.logits, base.predictions.logits)
        )

        def change(
            weights: Any = None, truth: Any = labels.is_cancer, new: Any = scores, old: Any = base_scores
        ) -> Any:
            return auroc(truth, new, weights) - auroc(truth, old, weights)

        rows.append(
            (
                told,
                text(one.evaluation.images.cancer_auroc),
                text(estimate(change, weights=bootstrap_weights(labels.lesions))) if one is not base else "",
                text(plain.specificity_at_95),
                f"{plain.balanced_accuracy.value:.3f}, {text(freed.balanced_accuracy)}",
                f"{plain.classes['MEL'].recall.value:.3f}, {text(freed.classes['MEL'].recall)}",
                f"{plain.negative_log_likelihood.value:.3f} at T = {variant.temperature:.2f}",
            )
        )
    head = (
        "val, by image",
        "cancer AUROC",
        "against (c), paired",
        "specificity at 95 % recall",
        "balanced accuracy: most probable, freed of priors",
        "MEL recall: the same",
        "NLL",
    )
    return table(head, rows)


def invariance(_: Evaluations) -> str:
    """How far the answer moves when the picture changes and the lesion does not."""
    content = _measured("invariance")
    _of_the_default_bundle("invariance.json", content["bundle_sha256"])
    rows = (
        (
            name,
            str(one["pairs"]),
            f"{one['median_change']:.3f}, {one['p95_change']:.3f}, {one['largest_change']:.3f}",
            str(one["decisions_changed"]),
            f"{one['cancers_found_before']} and {one['cancers_found_after']} of {one['cancers']}",
            f"{one['benign_referred_before']} and {one['benign_referred_after']} of "
            f"{one['pairs'] - one['cancers']}",
        )
        for name, one in content["results"].items()
    )
    head = (
        "change (INT8)",
        "pairs",
        "moves P(cancer) by: median, 95 %, max",
        "decisions changed",
        "cancers found before and after",
        "benign referred before and after",
    )
    return table(head, rows)


def speed(_: Evaluations) -> str:
    """INT8 and FP32 on one machine, from bench.json and cold_start.json."""
    bench, cold_start = _measured("bench"), _measured("cold_start")
    if cold_start["bundle_sha256"] != bench["settings"]["bundle_sha256"]:
        raise SettingError("cold_start.json and bench.json are of two bundles; measure both again")
    cold = cold_start["results"]
    rows = []
    for row in sorted(bench["rows"], key=lambda row: row["precision"], reverse=True):
        m, name = row["median"], row["precision"]
        rows.append(
            (
                name.upper(),
                f"{row['model_bytes'] / 1e6:.1f} MB",
                f"{m['p50_ms']:.1f} ms",
                f"{m['peak_mb']:.0f} MB",
                f"{cold[f'predict {name}']['median'] / 1e3:.2f} s",
            )
        )
    machine, settings = bench["machine"], bench["settings"]
    head = (
        f"{machine['processor']}, {machine['isa']}, {settings['threads']} threads",
        "model",
        f"network, {settings['views']} views, p50",
        "peak memory",
        "whole `predict` process",
    )
    told = table(head, rows)
    return f"{told}\n\nINT8 is {bench['speedup']:.2f} times as fast as FP32 there."


def bundle(_: Evaluations) -> str:
    """What the default bundle is."""
    opened = open_bundle()
    manifest = opened.manifest
    run, seen = manifest.training["run"], manifest.preprocessing
    size = {precision: manifest.files[f"{precision}.bin"][1] for precision in PRECISIONS}
    points = "; ".join(
        f"{precision.upper()} {point.name} {point.threshold:.4f}"
        for precision in PRECISIONS
        for point in manifest.variants[precision].operating_points
    )
    rows = [
        ("bundle", f"{manifest.name} {manifest.version}, manifest SHA-256 `{opened.sha256}`"),
        ("network", f"{run['config']['model']['backbone']} of timm, and a head of two linear layers"),
        ("weights", ", ".join(f"{name.upper()} {bytes_ / 1e6:.1f} MB" for name, bytes_ in size.items())),
        ("started from", f"{run['initial_weights']['source']}"),
        (
            "picture",
            f"centre square, {seen.size} px, {seen.views} views averaged, colour constancy: "
            f"{seen.color_constancy.replace('_', ' ')}",
        ),
        ("classes", ", ".join(f"{name} ({full_name(name)})" for name in manifest.classes)),
        ("counted as cancer", ", ".join(manifest.cancer_classes)),
        ("thresholds on P(cancer)", points),
        ("split", f"SHA-256 `{manifest.training['split_sha256']}`"),
        ("trained on", f"{run['images']['train']} images, selected on {run['images']['val']}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())),
    ]
    return table(("", "default bundle"), rows)


def data(_: Evaluations) -> str:
    """Images by split, class and archive, as the manifest has them."""
    images = _manifest().training["images"]
    archives = sorted({archive for split in images.values() for of in split.values() for archive in of})
    rows = []
    for split in ("train", "val", "test"):
        for name in _manifest().classes:
            of = images[split][name]
            cells = [str(of.get(archive, "")) for archive in archives]
            rows.append((split, name, *cells, str(sum(of.values()))))
        total = Counter(
            {archive: sum(of.get(archive, 0) for of in images[split].values()) for archive in archives}
        )
        rows.append((split, "all", *(str(total[archive]) for archive in archives), str(total.total())))
    return table(("split", "class", *archives, "all"), rows)


def people(stored: Evaluations) -> str:
    """Age, sex and site of the images that were kept from training."""
    splits = {
        split: stored[f"{split}-int8"].evaluation.images.subgroups for split in ("val", "test", "external")
    }
    rows = []
    for kind in ("age", "sex", "site"):
        names = sorted({name for groups in splits.values() for name in groups[kind]})
        for name in names:
            cells = [groups[kind].get(name) for groups in splits.values()]
            told = [f"{one.images} ({one.cancers})" if one else "0" for one in cells]
            rows.append((kind, name, *told))
    return table(("", "", *(f"{split}: images (cancers)" for split in splits)), rows)


def runs(_: Evaluations) -> str:
    """The selected epoch of each run, from its log."""
    rows = []
    for path in sorted((RESULTS / "experiments").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            epochs = [row for row in csv.DictReader(file) if row["val_cancer_auroc"]]
        best = max(epochs, key=lambda row: float(row["val_cancer_auroc"]))
        told = [
            f"{float(best[f'val_{name}']):.4f}"
            for name in ("cancer_auroc", "specificity_at_95", "balanced_accuracy")
        ]
        rows.append((path.stem, str(len(epochs)), str(int(best["epoch"]) + 1), *told))
    head = ("run", "epochs", "selected", "cancer AUROC", "specificity at 95 % recall", "balanced accuracy")
    return table(head, rows)


BLOCKS: dict[str, Callable[[Evaluations], str]] = {
    "results": results,
    "speed": speed,
    "bundle": bundle,
    "all-measures": all_measures,
    "classes": classes,
    "subgroups": subgroups,
    "external": external,
    "agreement": agreement,
    "pad-folds": pad_folds,
    "leaky-twin": leaky_twin,
    "experiments": experiments,
    "invariance": invariance,
    "data": data,
    "people": people,
    "runs": runs,
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


def _compared(stored: Evaluations, split: str) -> tuple[Comparison, int]:
    """INT8 against FP32 on a split, and how many cancers FP32 found."""
    int8, fp32 = (stored[f"{split}-{precision}"].predictions for precision in PRECISIONS)
    manifest = _manifest()
    labels = labels_of(int8.samples, manifest.classes, manifest.cancer_classes)
    if labels.image_ids != tuple(sample.image_id for sample in fp32.samples):
        raise SettingError(f"{split}-int8 and {split}-fp32 are of different images; evaluate both again")
    variants = manifest.variants
    p_cancer = labels.p_cancer(fp32.logits, variants["fp32"].temperature)
    found = (p_cancer >= variants["fp32"].operating_points[0].threshold) & labels.is_cancer
    pairs = ((fp32.logits, variants["fp32"]), (int8.logits, variants["int8"]))
    return compare("native", labels, *pairs), int(found.sum())


def _manifest() -> Manifest:
    return open_bundle().manifest


def _of_the_default_bundle(name: str, sha256: str) -> None:
    if sha256 != open_bundle().sha256:
        raise SettingError(f"{name} is of another bundle than the default one; measure it again")


def _measured(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content
