"""The confidence's numbers, some counted by scikit-learn."""

from pathlib import Path

from sklearn.metrics import roc_auc_score

from benchmarks.evaluation import confidence
from benchmarks.evaluation.committed import Committed
from benchmarks.evaluation.decided import decided


def test_the_auroc_is_scikit_learns(evaluations: dict[str, Committed]) -> None:
    val = decided(evaluations, "val", "int8")
    expected = roc_auc_score(val.is_wrong, -val.confidence)
    assert confidence.table(evaluations).rows[0][1].startswith(f"{expected:.3f} ")


def test_the_risk_coverage_curve_is_drawn(evaluations: dict[str, Committed], tmp_path: Path) -> None:
    confidence.draw(evaluations, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000
