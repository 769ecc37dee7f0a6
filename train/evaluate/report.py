"""An evaluation as JSON, as Markdown, as a table on the terminal, and stored with its predictions."""

import csv
import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from edgeskin.bundle.manifest import Calibration
from edgeskin.bundle.plain_data import from_plain
from edgeskin.decision.decide import decide
from edgeskin.taxonomy import full_name
from train.data.table import DataError, Sample, targets
from train.evaluate.bootstrap import Estimate
from train.evaluate.bootstrap import text as text
from train.evaluate.evaluation import Evaluation, Predictions, Provenance, rules_at
from train.evaluate.figures import plot_confusion, plot_reliability
from train.evaluate.measures import REPLICATES, Measures

MELANOMA = "MEL"
PROVENANCE_FIELDS = (
    "network", "sha256", "split", "split_sha256", "same_split", "left_out", "threshold_from", "versions",
    "command",
)  # fmt: skip
"""Fields of `Provenance` that evaluation.json holds as they are."""
TEXT_FIELDS = ("image_id", "label", "lesion_id", "group", "sex", "site", "dx_type", "source")


def write(evaluation: Evaluation, predictions: Predictions, out: Path) -> None:
    """Write an evaluation and its predictions into a folder.

    logits.npz holds the logits and the table's fields of each image except its file, from which everything
    can be computed again. The other files are those of `write_report`.
    """
    out.mkdir(parents=True, exist_ok=True)
    # Fields that are not known are empty, or nan: arrays of text and numbers need no pickle.
    arrays: dict[str, Any] = {
        field: np.array([getattr(sample, field) or "" for sample in predictions.samples])
        for field in TEXT_FIELDS
    }
    ages = np.array([sample.age for sample in predictions.samples], dtype=np.float32)
    arrays |= {"age": ages, "logits": predictions.logits}
    if predictions.view_logits is not None and predictions.view_logits.shape[1] > 1:
        # Half precision is enough for the spread of the views.
        arrays["view_logits"] = predictions.view_logits.astype(np.float16)
    if predictions.ood is not None:
        arrays["ood"] = predictions.ood
    np.savez_compressed(out / "logits.npz", **arrays)
    write_report(evaluation, out)


def write_report(evaluation: Evaluation, out: Path) -> None:
    """Write evaluation.json, evaluation.md, confusion.png and reliability.png."""
    (out / "evaluation.json").write_text(to_json(evaluation), encoding="utf-8")
    (out / "evaluation.md").write_text(markdown(evaluation), encoding="utf-8")
    plot_confusion(evaluation.images, out / "confusion.png")
    plot_reliability(evaluation, out / "reliability.png")


def write_isic(evaluation: Evaluation, predictions: Predictions, out: Path) -> None:
    """Write isic_submission.csv and isic_truth.csv in the format of the ISIC challenge.

    `isic-challenge-scoring classification isic_truth.csv isic_submission.csv` scores them. The submission
    holds the prior-corrected probabilities, which classes are predicted from.
    """
    rules = evaluation.provenance.rules
    classes = rules.classes
    submitted = decide(predictions.logits[:, None], rules).balanced_probabilities
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
    """Read what `write` stored, to measure again; the images themselves are not stored.

    Raises:
        DataError: An earlier version wrote the folder.
    """
    try:
        content = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["provenance"]
        calibration = content["calibration"] and from_plain(Calibration, content["calibration"])
        classes, cancer, priors = (tuple(content[name]) for name in ("classes", "cancer", "class_priors"))
        provenance = Provenance(
            **{name: content[name] for name in PROVENANCE_FIELDS},
            rules=rules_at(content["threshold"], classes, cancer, calibration, priors),
        )
    except KeyError as error:
        raise DataError(f"{folder}: written by an earlier version; evaluate the network again") from error
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
    """The whole evaluation; undefined values are null."""
    content = {
        "provenance": plain_provenance(evaluation.provenance),
        "lesions": dataclasses.asdict(evaluation.lesions),
        "images": dataclasses.asdict(evaluation.images),
    }
    return json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n"


def plain_provenance(provenance: Provenance) -> dict[str, Any]:
    """The provenance as `to_json` writes it: the parts of its rules are keys of their own."""
    rules = provenance.rules
    return {
        "network": provenance.network,
        "sha256": provenance.sha256,
        "split": provenance.split,
        "split_sha256": provenance.split_sha256,
        "same_split": provenance.same_split,
        "left_out": dict(provenance.left_out),
        "classes": rules.classes,
        "cancer": rules.cancer_classes,
        "calibration": dataclasses.asdict(rules.calibration) if provenance.is_calibrated else None,
        "threshold": rules.screening_threshold,
        "threshold_from": provenance.threshold_from,
        "class_priors": rules.class_priors,
        "versions": dict(provenance.versions),
        "command": provenance.command,
    }


def summary(evaluation: Evaluation) -> Table:
    """The main measures as a table for the terminal."""
    warning = "not the split it was trained with" if evaluation.provenance.same_split is False else None
    title = f"{evaluation.provenance.network} on {evaluation.provenance.split}"
    rows = Table("measure", "by lesion", "by image", title=title, caption=warning)
    for (name, of_lesions), (_, of_images) in _both(evaluation):
        rows.add_row(name, text(of_lesions), text(of_images))
    return rows


def markdown(evaluation: Evaluation) -> str:
    """The whole evaluation as Markdown."""
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
        f"{measures.images} images of {measures.lesions} lesions. Left out because of their labels: "
        f"{left_out}. {_calibrated(provenance)}. Threshold on P(cancer): "
        f"{measures.screening.threshold:.6g} ({provenance.threshold_from}).",
        "By lesion: the probabilities of a lesion's images are averaged "
        f"({evaluation.lesions.images} lesions). Intervals are 95% intervals of {REPLICATES} bootstrap "
        f"replicates over {measures.groups} lesions (patients, where known). Those of small counts of "
        "independent images are exact (Clopper-Pearson). That of the calibration error is the basic "
        "bootstrap interval.",
        table(
            ("measure", "by lesion", "by image"),
            (
                (name, text(of_lesions), text(of_images))
                for (name, of_lesions), (_, of_images) in _both(evaluation)
            ),
        ),
        "The rest of this report is by image.",
        "## Classes\n\nRecall and precision of the predicted class"
        f"{', after prior correction' if provenance.rules.class_priors else ''}; AUROC of each class against "
        "all other classes; referred: P(cancer) at or above the threshold.",
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
        "## Calibration\n\n![Share of cancers against P(cancer)](reliability.png)",
        "## Confusion\n\n![True classes in rows, predicted ones in columns](confusion.png)",
        "## Provenance",
        f"- command: `{provenance.command}`\n"
        f"- network: SHA-256 `{provenance.sha256}`\n"
        f"- split: SHA-256 `{provenance.split_sha256}`, {same_split}\n"
        f"- versions: {', '.join(f'{name} {version}' for name, version in provenance.versions.items())}",
    ]
    return "\n\n".join(parts) + "\n"


def main_measures(measures: Measures) -> Iterable[tuple[str, Estimate]]:
    """The measures of an evaluation's first table, by name."""
    yield "cancer AUROC", measures.cancer_auroc
    yield "partial AUROC above 80% sensitivity (0 to 0.2)", measures.cancer_partial_auroc
    yield "sensitivity at 95% specificity", measures.sensitivity_at_95
    yield "specificity at 95% sensitivity", measures.specificity_at_95
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


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _without_nan(value: Any) -> Any:
    """Replace nan, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _calibrated(provenance: Provenance) -> str:
    method = provenance.rules.calibration.method
    return f"Calibrated by {method}" if provenance.is_calibrated else "Not calibrated"
