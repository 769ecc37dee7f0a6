"""The figures of an evaluation: confusion matrix and reliability diagram."""

from pathlib import Path

import numpy as np

from train.evaluate.bootstrap import text
from train.evaluate.evaluation import Evaluation
from train.evaluate.measures import Measures


def plot_confusion(measures: Measures, figure: Path) -> None:
    """Plot the confusion matrix with counts in the cells, coloured by the share of their row.

    Args:
        measures: The measures.
        figure: The PNG file to write.
    """
    # matplotlib is slow to import, and most commands plot nothing.
    from matplotlib.figure import Figure

    names = list(measures.classes)
    counts = np.array(measures.confusion)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    side = 2 + 0.6 * len(names)
    page = Figure(figsize=(side, side), layout="constrained")
    axis = page.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set(xlabel="predicted", ylabel="true")
    axis.set_xticks(range(len(names)), names)
    axis.set_yticks(range(len(names)), names)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, str(count), ha="center", va="center", color=color)
    page.savefig(figure, dpi=120)


def plot_reliability(evaluation: Evaluation, figure: Path) -> None:
    """Plot the share of cancers against mean P(cancer), in bins of equal size, by image and by lesion.

    Args:
        evaluation: The evaluation.
        figure: The PNG file to write.
    """
    from matplotlib.figure import Figure

    page = Figure(figsize=(5, 5), layout="constrained")
    axis = page.subplots()
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1, label="perfect calibration")
    for unit, measures in (("lesions", evaluation.lesions), ("images", evaluation.images)):
        error = text(measures.calibration_error)
        axis.plot(*zip(*measures.reliability, strict=True), marker="o", label=f"{unit}, ECE {error}")
    axis.set(xlabel="mean P(cancer)", ylabel="share of cancers", xlim=(0, 1), ylim=(0, 1))
    axis.legend()
    page.savefig(figure, dpi=120)
