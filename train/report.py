"""An evaluation as JSON, Markdown, a table on the terminal and a drawn confusion matrix."""

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from edgeskin.taxonomy import full_name
from train.evaluate import REPLICATES, Evaluation, Measures, Predictions
from train.metrics import Estimate

MELANOMA = "MEL"


def write(evaluation: Evaluation, predictions: Predictions, out: Path) -> None:
    """Write evaluation.json, evaluation.md, confusion.png and logits.npz (image_ids, labels, logits)."""
    out.mkdir(parents=True, exist_ok=True)
    content = json.dumps(_without_nan(dataclasses.asdict(evaluation)), indent=2, allow_nan=False)
    (out / "evaluation.json").write_text(content + "\n", encoding="utf-8")
    (out / "evaluation.md").write_text(markdown(evaluation), encoding="utf-8")
    draw_confusion(evaluation.measures, out / "confusion.png")
    np.savez_compressed(
        out / "logits.npz",
        image_ids=np.array([sample.image_id for sample in predictions.samples]),
        labels=np.array([sample.label for sample in predictions.samples]),
        logits=predictions.logits,
    )


def summary(evaluation: Evaluation) -> Table:
    """The main measures, for a terminal."""
    warning = "not the split it was trained with" if evaluation.same_split is False else None
    title = f"{evaluation.network} on {evaluation.split}"
    table = Table("measure", "value", "95 % interval", title=title, caption=warning)
    for name, estimate in _main(evaluation.measures):
        table.add_row(name, *_cells(estimate))
    return table


def markdown(evaluation: Evaluation) -> str:
    """The whole evaluation, for people."""
    measures = evaluation.measures
    left_out = ", ".join(f"{count} {label}" for label, count in evaluation.left_out.items()) or "none"
    same_split = {
        True: "the one the network was trained with",
        False: "not the one the network was trained with: other data, or images it may have seen",
        None: "whether the network was trained with it is not recorded",
    }[evaluation.same_split]
    parts = [
        f"# {evaluation.network} on {evaluation.split}",
        "Research software, not a medical device.",
        f"{measures.images} images of {measures.lesions} lesions; left out for their labels: {left_out}. "
        f"Temperature {evaluation.temperature:.4g}; threshold on P(cancer) "
        f"{measures.screening.threshold:.6g}, {evaluation.threshold_from}. Intervals: 95 %, "
        f"{REPLICATES} bootstrap replicates over {measures.groups} lesions (patients, where known).",
        _table(
            ("measure", "value", "95 % interval"),
            ((name, *_cells(estimate)) for name, estimate in _main(measures)),
        ),
        "## Classes\n\nRecall and precision by the most probable class; referred: P(cancer) at or above the "
        "threshold.",
        _table(
            ("class", "images", "recall", "precision", "referred"),
            (
                (name, str(one.images), *map(_text, (one.recall, one.precision, one.referred)))
                for name, one in measures.classes.items()
            ),
        ),
        "## Cancer at other thresholds",
        _table(
            ("threshold", "recall", "precision", "F1", "specificity"),
            (
                (f"{s.threshold:.2f}", *map(_text, (s.recall, s.precision, s.f1, s.specificity)))
                for s in measures.thresholds
            ),
        ),
        "## Sources",
        _table(
            ("source", "images", "cancers", "cancer AUROC"),
            (
                (name, str(one.images), str(one.cancers), _text(one.cancer_auroc))
                for name, one in measures.sources.items()
            ),
        ),
        "## Confusion\n\n![True classes in rows, predicted ones in columns](confusion.png)",
        "## Provenance",
        f"- command: `{evaluation.command}`\n"
        f"- network: SHA-256 `{evaluation.sha256}`\n"
        f"- split: SHA-256 `{evaluation.split_sha256}`, {same_split}\n"
        f"- versions: {', '.join(f'{name} {version}' for name, version in evaluation.versions.items())}",
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


def _main(measures: Measures) -> Iterable[tuple[str, Estimate]]:
    yield "cancer AUROC", measures.cancer_auroc
    yield "cancer recall at threshold", measures.screening.recall
    yield "cancer specificity at threshold", measures.screening.specificity
    yield "cancer precision at threshold", measures.screening.precision
    yield "cancer F1 at threshold", measures.screening.f1
    if MELANOMA in measures.classes:
        yield f"{full_name(MELANOMA)} referred at threshold", measures.classes[MELANOMA].referred
        yield f"{full_name(MELANOMA)} recall by argmax", measures.classes[MELANOMA].recall
    yield "balanced accuracy", measures.balanced_accuracy
    yield "macro-F1", measures.macro_f1
    yield "accuracy", measures.accuracy


def _cells(estimate: Estimate) -> tuple[str, str]:
    if math.isnan(estimate.value):
        return "undefined", ""
    undefined = f"; undefined in {estimate.undefined}" if estimate.undefined else ""
    return f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}{undefined}"


def _text(estimate: Estimate) -> str:
    value, interval = _cells(estimate)
    return f"{value} ({interval})" if interval else value


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _without_nan(value: Any) -> Any:
    """JSON has no nan: what is undefined becomes null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
