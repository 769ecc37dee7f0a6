"""The figures of an evaluation and the curves of a run show the numbers that they are of."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from edgeskin.taxonomy import ISIC_2019
from train.evaluate.evaluation import Evaluation, evaluate
from train.evaluate.figures import plot_confusion, plot_reliability
from train.fit.curves import plot_curves


@pytest.fixture
def evaluation(shared_micro_bundle: Path, lesion_folder: Path) -> Evaluation:
    return evaluate(shared_micro_bundle, lesion_folder, "test")[0]


def test_the_confusion_matrix_holds_its_counts(
    evaluation: Evaluation, figures: list[Figure], tmp_path: Path
) -> None:
    plot_confusion(evaluation.images, tmp_path / "confusion.png")
    (axis,) = figures[0].axes
    counts = np.zeros((8, 8), int)
    for cell in axis.texts:
        column, row = cell.get_position()
        counts[row, column] = int(cell.get_text())
    np.testing.assert_array_equal(counts, evaluation.images.confusion)
    assert [label.get_text() for label in axis.get_yticklabels()] == list(ISIC_2019)


def test_the_reliability_diagram_holds_its_bins(
    evaluation: Evaluation, figures: list[Figure], tmp_path: Path
) -> None:
    plot_reliability(evaluation, tmp_path / "reliability.png")
    diagonal, *lines = figures[0].axes[0].get_lines()
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    for line, measures in zip(lines, (evaluation.lesions, evaluation.images), strict=True):
        np.testing.assert_allclose(line.get_xydata(), measures.reliability)


def test_curves_continue_over_a_resume(figures: list[Figure], tmp_path: Path) -> None:
    """The later log replaces an epoch that both have."""
    logs = {"version_0": "0,1.0,\n0,,0.5\n1,0.9,\n", "version_1": "1,0.8,\n1,,0.7\n"}
    for name, rows in logs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(f"epoch,train_loss,val_auroc\n{rows}", encoding="utf-8")
    plot_curves(tmp_path, tmp_path / "curves.png")
    curves = {axis.get_title(): axis.get_lines()[0].get_xydata().tolist() for axis in figures[0].axes}
    assert curves == {"train_loss": [[1, 1.0], [2, 0.8]], "val_auroc": [[1, 0.5], [2, 0.7]]}


def test_without_logs_there_is_no_figure(figures: list[Figure], tmp_path: Path) -> None:
    plot_curves(tmp_path, tmp_path / "curves.png")
    assert figures == []
