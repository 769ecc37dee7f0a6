"""An evaluation as JSON, Markdown, a table on the terminal and a drawn confusion matrix."""

import csv
import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from edgeskin.bundle.manifest import read_calibration
from edgeskin.decision.decide import probabilities, without_priors
from edgeskin.taxonomy import full_name
from train.data.table import DataError, Sample, targets
from train.evaluate.evaluation import REPLICATES, Evaluation, Measures, Predictions, Provenance
from train.evaluate.metrics import Estimate

MELANOMA = "MEL"
TEXT_FIELDS = ("image_id", "label", "lesion_id", "group", "sex", "site", "dx_type", "source")


def write(evaluation: Evaluation, predictions: Predictions, out: Path) -> None:
    """Write logits.npz (logits, and what is known of each image but its file), from which all can be computed
    again, and what `write_report` writes.
    """
    out.mkdir(parents=True, exist_ok=True)
    # Fields that are not known are empty, or nan: arrays of text and numbers need no pickle.
    known = {
        field: np.array([getattr(sample, field) or "" for sample in predictions.samples])
        for field in TEXT_FIELDS
    }
    ages = np.array([sample.age for sample in predictions.samples], dtype=np.float32)
    kept = {"logits": predictions.logits}
    if predictions.view_logits is not None and predictions.view_logits.shape[1] > 1:
        # For how far the views part, to which half precision is enough.
        kept["view_logits"] = predictions.view_logits.astype(np.float16)
    if predictions.ood is not None:
        kept["ood"] = predictions.ood
    np.savez_compressed(out / "logits.npz", **known, age=ages, **kept)
    write_report(evaluation, out)


def write_report(evaluation: Evaluation, out: Path) -> None:
    """Write evaluation.json, evaluation.md, confusion.png and reliability.png."""
    (out / "evaluation.json").write_text(to_json(evaluation), encoding="utf-8")
    (out / "evaluation.md").write_text(markdown(evaluation), encoding="utf-8")
    draw_confusion(evaluation.images, out / "confusion.png")
    draw_reliability(evaluation, out / "reliability.png")


def write_isic(evaluation: Evaluation, predictions: Predictions, out: Path) -> None:
    """Write isic_submission.csv (what the class is decided by) and isic_truth.csv in the ISIC challenge's
    format, for `isic-challenge-scoring classification isic_truth.csv isic_submission.csv`.
    """
    classes = evaluation.provenance.classes
    p = probabilities(predictions.logits, evaluation.provenance.calibration)
    submitted = without_priors(p, evaluation.provenance.class_priors)
    truth = np.eye(len(classes))[targets(predictions.samples, classes)]
    for name, rows in (("isic_submission", submitted), ("isic_truth", truth)):
        with (out / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", *classes])
            writer.writerows(
                [sample.image_id, *row]
                for sample, row in zip(predictions.samples, rows.tolist(), strict=True)
            )


def read(folder: Path) -> tuple[Provenance, Predictions]:
    """What `write` stored, to measure again; the images themselves are not there."""
    try:
        content = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["provenance"]
        calibration = content["calibration"] and read_calibration(content["calibration"])
    except KeyError as error:
        raise DataError(f"{folder}: written by an earlier version; evaluate the network again") from error
    told = {name: tuple(content[name]) for name in ("classes", "cancer", "class_priors")}
    provenance = Provenance(**content | told | {"calibration": calibration})
    with np.load(folder / "logits.npz", allow_pickle=False) as stored:
        logits, ages = stored["logits"], stored["age"].tolist()
        view_logits, ood = (stored.get(name) for name in ("view_logits", "ood"))
        rows = zip(*(stored[field].tolist() for field in TEXT_FIELDS), ages, strict=True)
        samples = [
            Sample(
                image=Path(image_id),
                image_id=image_id,
                label=label,
                lesion_id=lesion_id,
                patient_id=None,
                group=group,
                age=None if math.isnan(age) else age,
                sex=sex or None,
                site=site or None,
                dx_type=dx_type or None,
                split=provenance.split,
                source=source,
            )
            for image_id, label, lesion_id, group, sex, site, dx_type, source, age in rows
        ]
    return provenance, Predictions(samples, logits, view_logits, ood)


def to_json(evaluation: Evaluation) -> str:
    """All of it; what is undefined is null."""
    content = _without_nan(dataclasses.asdict(evaluation))
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def summary(evaluation: Evaluation) -> Table:
    """The main measures, for a terminal."""
    warning = "not the split it was trained with" if evaluation.provenance.same_split is False else None
    title = f"{evaluation.provenance.network} on {evaluation.provenance.split}"
    rows = Table("measure", "by lesion", "by image", title=title, caption=warning)
    for (name, of_lesions), (_, of_images) in _both(evaluation):
        rows.add_row(name, text(of_lesions), text(of_images))
    return rows


def markdown(evaluation: Evaluation) -> str:
    """The whole evaluation, for people."""
    measures, provenance = evaluation.images, evaluation.provenance
    left_out = ", ".join(f"{count} {label}" for label, count in provenance.left_out.items()) or "none"
    same_split = {
        True: "the one the network was trained with",
        False: "not the one the network was trained with: other data, or images it may have seen",
        None: "whether the network was trained with it is not recorded",
    }[provenance.same_split]
    parts = [
        f"# {provenance.network} on {provenance.split}",
        "Research software, not a medical device.",
        f"{measures.images} images of {measures.lesions} lesions; left out for their labels: {left_out}. "
        f"{_calibrated(provenance)}; threshold on P(cancer) "
        f"{measures.screening.threshold:.6g}, {provenance.threshold_from}. Intervals: 95 %, "
        f"{REPLICATES} bootstrap replicates over {measures.groups} lesions (patients, where known).",
        f"By lesion, a lesion of several images has their mean probabilities ({evaluation.lesions.images} "
        "lesions). Intervals of small counts without two of a group are exact (Clopper-Pearson); that of the "
        "calibration error is the basic bootstrap's.",
        table(
            ("measure", "by lesion", "by image"),
            (
                (name, text(of_lesions), text(of_images))
                for (name, of_lesions), (_, of_images) in _both(evaluation)
            ),
        ),
        "All that follows is by image.",
        "## Classes\n\nRecall and precision of the class decided for"
        f"{', which is freed of the class priors' if provenance.class_priors else ''}; AUROC of the class "
        "against all others; referred: P(cancer) at or above the threshold.",
        table(
            ("class", "images", "recall", "precision", "AUROC", "referred"),
            (
                (name, str(one.images), *map(text, (one.recall, one.precision, one.auroc, one.referred)))
                for name, one in measures.classes.items()
            ),
        ),
        "## Cancer at other thresholds",
        table(
            ("threshold", "recall", "precision", "F1", "specificity"),
            (
                (f"{s.threshold:.2f}", *map(text, (s.recall, s.precision, s.f1, s.specificity)))
                for s in measures.thresholds
            ),
        ),
        "## Subgroups",
        table(
            ("by", "group", "images", "cancers", "cancer AUROC", "cancer recall", "specificity"),
            (
                (
                    kind,
                    name,
                    str(one.images),
                    str(one.cancers),
                    *map(text, (one.cancer_auroc, one.recall, one.specificity)),
                )
                for kind, groups in measures.subgroups.items()
                for name, one in groups.items()
            ),
        ),
        "## Calibration\n\n![Share of cancers where P(cancer) is as said](reliability.png)",
        "## Confusion\n\n![True classes in rows, predicted ones in columns](confusion.png)",
        "## Provenance",
        f"- command: `{provenance.command}`\n"
        f"- network: SHA-256 `{provenance.sha256}`\n"
        f"- split: SHA-256 `{provenance.split_sha256}`, {same_split}\n"
        f"- versions: {', '.join(f'{name} {version}' for name, version in provenance.versions.items())}",
    ]
    return "\n\n".join(parts) + "\n"


def draw_confusion(measures: Measures, figure: Path) -> None:
    """Counts in the cells, coloured by the share of their row."""
    from matplotlib.figure import Figure

    names = list(measures.classes)
    counts = np.array(measures.confusion)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    side = 2 + 0.6 * len(names)
    drawing = Figure(figsize=(side, side), layout="constrained")
    axis = drawing.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set(xlabel="predicted", ylabel="true")
    axis.set_xticks(range(len(names)), names)
    axis.set_yticks(range(len(names)), names)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, str(count), ha="center", va="center", color=color)
    drawing.savefig(figure, dpi=120)


def draw_reliability(evaluation: Evaluation, figure: Path) -> None:
    """The share of cancers against mean P(cancer), in bins of equally many images, and of lesions."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5, 5), layout="constrained")
    axis = drawing.subplots()
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1, label="as said")
    for unit, measures in (("lesions", evaluation.lesions), ("images", evaluation.images)):
        error = text(measures.calibration_error)
        axis.plot(*zip(*measures.reliability, strict=True), marker="o", label=f"{unit}, ECE {error}")
    axis.set(xlabel="mean P(cancer)", ylabel="share of cancers", xlim=(0, 1), ylim=(0, 1))
    axis.legend()
    drawing.savefig(figure, dpi=120)


def main_measures(measures: Measures) -> Iterable[tuple[str, Estimate]]:
    """The measures of an evaluation's first table, by name."""
    yield "cancer AUROC", measures.cancer_auroc
    yield "partial AUROC above 80 % sensitivity (0 to 0.2)", measures.cancer_partial_auroc
    yield "sensitivity at 95 % specificity", measures.sensitivity_at_95
    yield "specificity at 95 % sensitivity", measures.specificity_at_95
    yield "cancer recall at threshold", measures.screening.recall
    yield "cancer specificity at threshold", measures.screening.specificity
    yield "cancer precision at threshold", measures.screening.precision
    yield "cancer F1 at threshold", measures.screening.f1
    if MELANOMA in measures.classes:
        yield f"{full_name(MELANOMA)} referred at threshold", measures.classes[MELANOMA].referred
        yield f"{full_name(MELANOMA)} recall by class", measures.classes[MELANOMA].recall
        yield f"{full_name(MELANOMA)} AUROC", measures.classes[MELANOMA].auroc
    yield "balanced accuracy", measures.balanced_accuracy
    yield "macro-F1", measures.macro_f1
    yield "accuracy", measures.accuracy
    yield "negative log-likelihood", measures.negative_log_likelihood
    yield "Brier score of P(cancer)", measures.brier
    yield "calibration error of P(cancer)", measures.calibration_error


def _both(evaluation: Evaluation) -> Iterable[tuple[tuple[str, Estimate], tuple[str, Estimate]]]:
    return zip(main_measures(evaluation.lesions), main_measures(evaluation.images), strict=True)


def text(estimate: Estimate) -> str:
    """Value and interval, for people."""
    if math.isnan(estimate.value):
        return "undefined"
    undefined = f"; undefined in {estimate.undefined}" if estimate.undefined else ""
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f}{undefined})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _without_nan(value: Any) -> Any:
    """JSON has no nan: what is undefined becomes null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _calibrated(provenance: Provenance) -> str:
    return f"Calibrated by {provenance.calibration.method}" if provenance.calibration else "Not calibrated"
