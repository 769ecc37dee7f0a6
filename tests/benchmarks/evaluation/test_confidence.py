"""The confidence's numbers, some counted by scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from benchmarks.evaluation import confidence
from benchmarks.evaluation.committed import Evaluations
from benchmarks.evaluation.decided import decided


def test_the_auroc_is_scikit_learns(evaluations: Evaluations) -> None:
    val = decided(evaluations, "val", "int8")
    expected = roc_auc_score(val.is_wrong, -val.confidence)
    assert confidence.table(evaluations).rows[0][1].startswith(f"{expected:.3f} ")


def test_risk_coverage_curves_end_at_the_share_of_wrong_decisions(
    evaluations: Evaluations, tmp_path: Path, figures: list[Figure]
) -> None:
    confidence.plot(evaluations, tmp_path / "curve.png")
    test = decided(evaluations, "test", "int8")
    lines = {line.get_label(): line.get_xydata() for line in figures[0].axes[0].get_lines()}
    assert set(lines) == {"confidence", "margin alone", "decisiveness alone"}
    for points in lines.values():
        assert points[-1] == pytest.approx([1, test.is_wrong.mean()])
    # Of the most confident half a smaller share is wrong.
    coverage, risk = lines["confidence"].T
    assert np.interp(0.5, coverage, risk) < test.is_wrong.mean()
