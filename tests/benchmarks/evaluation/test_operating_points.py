"""What the operating points kept on the test split, counted again."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmarks.evaluation import operating_points
from benchmarks.evaluation.committed import Evaluations
from benchmarks.evaluation.decided import decided
from edgeskin.bundle.bundle import open_bundle


def test_what_the_screening_point_kept(evaluations: Evaluations) -> None:
    """Lesion by lesion in plain Python."""
    test = decided(evaluations, "test", "int8")
    threshold = open_bundle().manifest.decision_rules["int8"].operating_points[0].threshold
    worst: dict[str, float] = {}
    for lesion, p, is_cancer in zip(test.lesions, test.p_cancer, test.is_cancer, strict=True):
        if is_cancer:
            worst[lesion] = min(worst.get(lesion, 1.0), p)
    found = np.mean([p >= threshold for p in worst.values()])
    assert operating_points.table(evaluations).rows[0][4].startswith(f"{found:.3f} ")


def test_validation_keeps_the_rates_of_the_manifest(evaluations: Evaluations) -> None:
    """The thresholds were chosen on it, by cross-fitted scores."""
    for precision in ("int8", "fp32"):
        val = decided(evaluations, "val", precision)
        assert val.referred[val.is_cancer].mean() == pytest.approx(val.rules.operating_points[0].recall)
        assert (val.ood > val.rules.ood_threshold).mean() == pytest.approx(0.01, abs=0.001)
        assert (val.confidence < val.rules.confidence.low).mean() == pytest.approx(0.2, abs=0.03)


def test_the_decision_curve_is_the_net_benefit(
    evaluations: Evaluations, tmp_path: Path, figures: list[Figure]
) -> None:
    """Counted at one threshold: true positives less false ones by the odds of the threshold, an image."""
    operating_points.plot(evaluations, tmp_path / "curve.png")
    test = decided(evaluations, "test", "int8")
    lines = {line.get_label(): line.get_xydata() for line in figures[0].axes[0].get_lines()}
    threshold, benefit = lines["by P(cancer)"][10]
    found = test.p_cancer >= threshold
    gained = (found & test.is_cancer).sum() - (found & ~test.is_cancer).sum() * threshold / (1 - threshold)
    assert benefit == pytest.approx(gained / len(found))
    assert benefit > max(lines["refer all"][10, 1], 0)
    assert not lines["refer none"][:, 1].any()
