"""The figures of an evaluation: confusion matrix and reliability diagram."""

from pathlib import Path

import numpy as np

from train.evaluate.bootstrap import text
from train.evaluate.evaluation import Evaluation
from train.evaluate.measures import Measures


def draw_confusion(measures: Measures, figure: Path) -> None:
    """Draw the confusion matrix with counts in the cells, coloured by the share of their row.

    Args:
        measures: The measures.
        figure: The PNG file to write.
    """
    # matplotlib is slow to import, and most commands draw nothing.
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
    """Draw the share of cancers against mean P(cancer), in bins of equal size, by image and by lesion.

    Args:
        evaluation: The evaluation.
        figure: The PNG file to write.
    """
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5, 5), layout="constrained")
    axis = drawing.subplots()
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1, label="perfect calibration")
    for unit, measures in (("lesions", evaluation.lesions), ("images", evaluation.images)):
        error = text(measures.calibration_error)
        axis.plot(*zip(*measures.reliability, strict=True), marker="o", label=f"{unit}, ECE {error}")
    axis.set(xlabel="mean P(cancer)", ylabel="share of cancers", xlim=(0, 1), ylim=(0, 1))
    axis.legend()
    drawing.savefig(figure, dpi=120)
